"""What arrived in the lake since an instant, and whether what had arrived by then still stands."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from include.handoffs import Interval
from include.storage.canonical import EVENTS
from include.storage.lake import Lake
from include.tenants.namespace import TenantRef

TENANT = TenantRef("shop", "eu", "pool")
START = datetime(2024, 1, 29, tzinfo=UTC)  # the fourth day is in another month
DAY = timedelta(days=1)


def put(lake: Lake, day: int, ids: str, source: str = "pos") -> int:
    """Make one-letter events all that arrived on a day, an hour after it began."""
    interval = Interval(START + day * DAY, START + (day + 1) * DAY)
    created = interval.start + timedelta(hours=1)
    row = {
        "tenant_id": TENANT.id,
        "source": source,
        "event": "Order Completed",
        "event_timestamp": START,
        "created_timestamp": created,
        "month": f"{created:%Y-%m}",
    }
    rows = pa.Table.from_pylist([{"event_id": one, **row} for one in ids], EVENTS)
    return lake.replace_slice(TENANT, "events", source, interval, rows.to_batches()).version


def arrived(lake: Lake, after: int, until: int, version: int | None = None) -> str:
    """Ids of what arrived between the ends of two days."""
    bounds = (START + (day + 1) * DAY for day in (after, until))
    found = lake.arrivals(TENANT, "events", *bounds, version=version)
    assert found.schema.equals(EVENTS)
    return "".join(found["event_id"].to_pylist())


def test_arrivals_are_the_rows_created_since(tmp_path: Path) -> None:
    """After one instant, up to another, across months, in the order of arrival."""
    lake = Lake(tmp_path)
    assert arrived(lake, 0, 9) == ""
    for day, ids in enumerate(["ab", "dc", "e", "f", "g"]):
        put(lake, day, ids)
    assert arrived(lake, 0, 3) == "cdef"
    assert arrived(lake, 3, 4) == "g"
    assert arrived(lake, 4, 9) == ""


def test_what_had_arrived_before_is_no_arrival(tmp_path: Path) -> None:
    """A row delivered again is told by source and id."""
    lake = Lake(tmp_path)
    put(lake, 0, "ab")
    put(lake, 1, "bc")
    put(lake, 1, "a", source="web")
    assert arrived(lake, 0, 1) == "ca"
    assert len(lake.arrivals(TENANT, "events", START, START + 2 * DAY)) == 4


def test_arrivals_of_a_version_stay_what_they_were(tmp_path: Path) -> None:
    """What is written later is not in a pinned version."""
    lake = Lake(tmp_path)
    version = put(lake, 0, "ab")
    put(lake, 1, "c")
    assert arrived(lake, -1, 9, version) == "ab"


def test_new_slices_leave_what_was_known_as_it_was(tmp_path: Path) -> None:
    """Another day, another source or the same slice again change nothing of the days before."""
    lake = Lake(tmp_path)
    first = put(lake, 0, "ab")
    put(lake, 1, "c")
    put(lake, 0, "ab")
    last = put(lake, 1, "d", source="web")
    assert lake.same_until(TENANT, "events", first, last, START + DAY)
    assert not lake.same_until(TENANT, "events", first, last, START + 2 * DAY)


def test_a_slice_that_is_loaded_again_differently_is_noticed(tmp_path: Path) -> None:
    """Rows added to, changed in or erased from a day that was known."""
    lake = Lake(tmp_path)
    first = put(lake, 0, "ab")
    second = put(lake, 0, "ac")
    assert not lake.same_until(TENANT, "events", first, second, START + DAY)
    put(lake, 1, "d")
    lake.forget(TENANT, "events", START + DAY)
    newest = lake.version(TENANT, "events").version
    assert not lake.same_until(TENANT, "events", second, newest, START + DAY)


def test_a_table_that_was_not_there_had_nothing(tmp_path: Path) -> None:
    """Its first rows are news of their own time only, and a version nobody has is not the same."""
    lake = Lake(tmp_path)
    assert lake.same_until(TENANT, "events", -1, -1, START)
    version = put(lake, 1, "a")
    assert lake.same_until(TENANT, "events", -1, version, START + DAY)
    assert not lake.same_until(TENANT, "events", -1, version, START + 2 * DAY)
    assert not lake.same_until(TENANT, "events", 17, version, START)
