"""Simulated source files through the real ingestion and quality stages."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from benchmarks.quality.simulated import simulate_tenant
from include import use_cases
from include.handoffs import Interval
from include.ingestion.stage import ingest
from include.pipeline import translate
from include.quality.inspection import check
from include.simulate.faults import Duplicates, FraudPattern, Late, Leak
from include.simulate.simulation import open_tenant
from include.simulate.sources import Format, write_sources
from include.simulate.world import TenantPlan, World
from include.storage.lake import Lake
from include.stores.memory import in_memory
from include.tenants.loader import load_tenant

pytestmark = pytest.mark.integration

FAULTS = (Late(0.3), Duplicates(0.05), Leak("hint"), FraudPattern("night", 0.02))


def no_database(connection_id: str) -> AbstractContextManager[psycopg.Connection[Any]]:
    """Simulated tenants have files only."""
    raise AssertionError(connection_id)


def plain(table: pa.Table, key: str) -> list[dict[str, Any]]:
    """Rows in one order; JSON as values."""
    rows = table.sort_by([(key, "ascending")]).to_pylist()
    if "properties" in table.column_names:
        rows = [{**row, "properties": json.loads(row["properties"] or "{}")} for row in rows]
    return rows


@pytest.mark.parametrize(
    ("business", "format"),
    [
        ("shop", "parquet"),
        ("media", "parquet"),
        ("crm", "csv"),
        ("payments", "parquet"),
        ("learning", "csv"),
        ("jobs", "parquet"),
    ],
)
def test_what_was_simulated_is_what_is_accepted(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    business: str,
    format: Format,
) -> None:
    """The lake's events and facts are the simulated ones, each event once; nothing is set aside."""
    monkeypatch.setenv("TENANTRY_TENANTS", str(tmp_path))  # beside which their data may lie
    plan = TenantPlan(f"sim-{business}", 25)
    world = World(3, business, (plan,), days=42, faults=FAULTS)
    written = write_sources(open_tenant(world, plan.id), tmp_path, ("churn",), format, users=10)
    tenant = load_tenant(written.file, use_cases.names())
    lake, stores = Lake(tmp_path / "lake"), in_memory()
    interval = Interval(world.instant(35), world.instant(42))
    ingested = ingest(tenant, interval, lake=lake, slices=stores.slices, connect=no_database)
    checked = check(
        tenant,
        ingested,
        [],
        delivered=translate.delivered(stores.slices.recorded(tenant.ref)),
        lake=lake,
        checks=stores.checks,
        incidents=stores.incidents,
    )
    assert (ingested.quarantined, checked.quarantined) == (0, 0)
    assert ingested.duplicates > 0
    assert ingested.late > 0

    known = simulate_tenant(world, plan.id)
    arrived = pc.less(known.events["created_timestamp"], pa.scalar(world.instant(42)))
    rows = known.events.filter(arrived).to_pandas().drop_duplicates("event_id")
    expected = pa.Table.from_pandas(rows, known.events.schema, preserve_index=False)
    events = lake.dataset(tenant.ref, "events").to_table()
    found = plain(events.select(expected.column_names), "event_id")
    assert found == plain(expected, "event_id")
    facts = lake.dataset(tenant.ref, "attributes").to_table()
    assert len(known.attributes) > 0
    assert plain(facts.select(known.attributes.column_names), "event_id") == plain(
        known.attributes, "event_id"
    )
    assert interval.end - timedelta(days=42) == tenant.history_start
