"""Every group of tables in memory: for tests, and what the ports mean."""

from __future__ import annotations

from include.stores import Stores
from include.stores.memory.incidents import InMemoryIncidents
from include.stores.memory.promotions import InMemoryPromotions
from include.stores.memory.slices import InMemorySlices


def in_memory() -> Stores:
    """Empty stores, which last as long as the process."""
    return Stores(
        promotions=InMemoryPromotions(),
        incidents=InMemoryIncidents(),
        slices=InMemorySlices(),
    )
