"""Every group of tables in Postgres, reached through `storage.postgres` alone."""

from __future__ import annotations

from include.stores import Stores
from include.stores.postgres.incidents import PostgresIncidents
from include.stores.postgres.promotions import PostgresPromotions
from include.stores.postgres.slices import PostgresSlices


def in_postgres() -> Stores:
    """The stores of the Postgres that this process's environment names."""
    return Stores(
        promotions=PostgresPromotions(),
        incidents=PostgresIncidents(),
        slices=PostgresSlices(),
    )
