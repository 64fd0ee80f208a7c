"""Delta's log tells instants only; what had its time goes from the files too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from include.handoffs import Interval
from include.storage.canonical import ATTRIBUTES, EVENTS
from include.storage.lake import Lake
from include.tenants.namespace import TenantRef, lake_table

A = TenantRef("tenant-a", "eu", "pool")
START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def event(at: datetime, user: str) -> dict[str, object]:
    return {
        "tenant_id": A.id, "source": "pos", "event_id": f"id-of-{user}", "event": "Order Completed",
        "user_id": user, "event_timestamp": at, "created_timestamp": at, "month": f"{at:%Y-%m}",
    }  # fmt: skip


def fact(at: datetime, user: str, value: str, entity: str = "user") -> dict[str, object]:
    return {
        "tenant_id": A.id, "source": "pos", "event_id": f"{user}-{value}", "entity": entity,
        "entity_id": user, "name": "city", "value": value, "valid_from": at,
        "created_timestamp": at, "month": f"{at:%Y-%m}",
    }  # fmt: skip


def rows(*found: dict[str, object], schema: pa.Schema = EVENTS) -> pa.Table:
    return pa.Table.from_pylist(list(found), schema=schema)


def log_of(table: Path) -> bytes:
    """All bytes of the log, checkpoints too."""
    import pyarrow.parquet as pq

    parts = [path.read_bytes() for path in sorted((table / "_delta_log").iterdir())]
    decoded = [
        str(pq.read_table(path).to_pylist()).encode()
        for path in (table / "_delta_log").glob("*.parquet")
    ]
    return b"".join(parts + decoded)


@pytest.mark.parametrize("table", ["events", "landing_events", "attributes"])
def test_a_new_table_notes_instants_only(tmp_path: Path, table: str) -> None:
    """No id, name or value stands in the log; files are still skipped by when they arrived."""
    lake = Lake(tmp_path)
    for day, user in enumerate(("secret-anna", "secret-ben")):
        at = START + day * DAY
        row = event(at, user) if table.endswith("events") else fact(at, user, "secret-town")
        schema = EVENTS if table.endswith("events") else ATTRIBUTES
        batches = rows(row, schema=schema).to_batches()
        lake.replace_slice(A, table, "pos", Interval(at, at + DAY), batches)
    home = tmp_path / lake_table(A, table)
    DeltaTable(str(home)).create_checkpoint()
    assert b"secret" not in log_of(home)
    actions = pa.table(DeltaTable(str(home)).get_add_actions(flatten=True))
    assert actions["min.created_timestamp"].null_count == 0
    assert lake.same_until(A, table, 1, 2, START)


def test_facts_that_had_their_time_go(tmp_path: Path) -> None:
    """Superseded ones, and those of users without events; the newest of a user who is there stays,
    and so does an item's. Again changes nothing."""
    lake, late = Lake(tmp_path), START + 400 * DAY
    interval = Interval(late, late + DAY)
    lake.replace_slice(A, "events", "pos", interval, rows(event(late, "here")).to_batches())
    given = [
        [fact(START, "here", "old"), fact(START, "gone", "old"), fact(START, "i", "x", "item")],
        [fact(START + DAY, "here", "newer"), fact(START + DAY, "i", "y", "item")],
        [fact(late, "here", "newest"), fact(late, "new", "first")],
    ]
    for found in given:
        at = found[0]["created_timestamp"]
        assert isinstance(at, datetime)
        batches = rows(*found, schema=ATTRIBUTES).to_batches()
        lake.replace_slice(A, "attributes", "pos", Interval(at, at + DAY), batches)
    before = START + 30 * DAY
    assert lake.forget_facts(A, "attributes", "events", before, unread=True) == 3
    left = lake.read(A, "attributes", columns=["entity_id", "value"]).to_pylist()
    assert [tuple(one.values()) for one in left] == [
        ("here", "newer"), ("i", "y"), ("here", "newest"), ("new", "first"),
    ]  # fmt: skip
    version = lake.version(A, "attributes")
    assert lake.forget_facts(A, "attributes", "events", before, unread=True) == 0
    assert lake.version(A, "attributes") == version
    data = b"".join(path.read_bytes() for path in tmp_path.rglob("*.parquet"))
    assert b"gone" not in data
