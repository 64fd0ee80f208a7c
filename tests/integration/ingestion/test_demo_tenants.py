"""The demo's tenants: their files are good and their outside world is made once."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from include.handoffs import Interval
from include.ingestion.stage import ingest
from include.runtime import demo_sources
from include.storage.lake import Lake
from include.storage.migrate import migrate
from include.stores.postgres.slices import PostgresSlices
from include.tenants.loader import load_fleet
from include.use_cases import names
from tests.integration.ingestion.conftest import Shops

pytestmark = pytest.mark.integration

FOLDER = Path(demo_sources.__file__).parents[1] / "tenants" / "config"
WEEK = Interval(datetime(2017, 10, 9, tzinfo=UTC), datetime(2017, 10, 16, tzinfo=UTC))


def test_every_demo_tenant_is_valid_and_the_range_is_there() -> None:
    """Seven stores: one silo, one in another region, one that refuses pooling."""
    fleet = load_fleet(FOLDER, names())
    assert fleet.problems == {}
    assert sorted(fleet.tenants) == [f"store-{n}" for n in (292, 356, 361, 367, 381, 406, 415)]
    tenants = fleet.tenants.values()
    assert [t.id for t in tenants if t.isolation == "silo"] == ["store-292"]
    assert [t.id for t in tenants if not t.pooling.consent] == ["store-356"]
    assert {t.region for t in tenants} == {"us-east", "eu-west"}


@pytest.mark.parametrize("tenant_id", ["store-292", "store-356", "store-406"])
def test_a_store_is_ingested_from_where_it_keeps_its_data(
    shops: Shops, monkeypatch: pytest.MonkeyPatch, tenant_id: str
) -> None:
    """Postgres, JSON lines and the package's Parquet give every sale of the store, once."""
    for _ in range(2):
        demo_sources.prepare_postgres(shops.postgres.dsn("postgres"))
        demo_sources.prepare_files(shops.folder / "demo" / "store-356")
    monkeypatch.setenv("TENANTRY_HOME", str(shops.folder))
    monkeypatch.delenv("TENANTRY_SOURCES")  # what is allowed without a list is all the demo needs
    tenant = load_fleet(FOLDER, names())[tenant_id]
    migrate(tenant.ref)
    lake = Lake(shops.folder / "lake")

    def connect(connection_id: str) -> psycopg.Connection[Any]:
        return psycopg.connect(shops.postgres.dsn(connection_id, connection_id))

    found = ingest(tenant, WEEK, lake=lake, slices=PostgresSlices(), connect=connect)
    sales = demo_sources._sales(int(tenant_id.removeprefix("store-"))).to_pylist()
    before = [s for s in sales if s["transaction_timestamp"].tz_localize(UTC) < WEEK.end]
    assert found.events.rows == len(before) > 0
    assert found.quarantined == found.duplicates == 0
    assert found.attributes.rows == 92_331
    landed = lake.read(tenant.ref, "landing_events", columns=["amount", "event_timestamp"])
    total = sum(s["sales_value"] for s in before)
    assert sum(landed["amount"].to_pylist()) == pytest.approx(total)
    assert max(landed["event_timestamp"].to_pylist()) < WEEK.end
