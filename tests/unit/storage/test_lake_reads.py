"""The lake: slices replaced whole, read as of an instant, each row once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from include.errors import IntegrityError
from include.handoffs import Interval
from include.storage.canonical import EVENTS
from include.storage.lake import Lake
from include.tenants.namespace import TenantRef

TENANT = TenantRef("shop", "eu", "pool")
START = datetime(2024, 1, 29, tzinfo=UTC)  # the first week ends in another month
WEEK = timedelta(days=7)


def week(number: int) -> Interval:
    """A week from `START` on."""
    return Interval(START + number * WEEK, START + (number + 1) * WEEK)


def batches(created: datetime, ids: str, **changes: Any) -> list[pa.RecordBatch]:
    """Events of one letter each, all known from the same instant on."""
    given = {
        "tenant_id": TENANT.id,
        "source": "pos",
        "event": "Order Completed",
        "event_timestamp": created,
        "created_timestamp": created,
        "month": f"{created:%Y-%m}",
        **changes,
    }
    table = pa.Table.from_pylist([{"event_id": one, **given} for one in ids], EVENTS)
    return list(table.to_batches())


def put(lake: Lake, number: int, ids: str, **changes: Any) -> int:
    """Replace a week's slice; its rows arrive an hour after it began. Returns the version."""
    interval = week(number)
    rows = batches(interval.start + timedelta(hours=1), ids, **changes)
    return lake.replace_slice(TENANT, "events", "pos", interval, rows).version


def seen(lake: Lake, **arguments: Any) -> list[tuple[str, int]]:
    """Ids and the weeks they arrived in, as read."""
    found = lake.read(TENANT, "events", columns=["event_id", "created_timestamp"], **arguments)
    return [
        (row["event_id"], (row["created_timestamp"] - START) // WEEK) for row in found.to_pylist()
    ]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_row_delivered_twice_is_read_once_as_it_first_arrived(
    tmp_path: Path, order: tuple[int, int]
) -> None:
    """It does not matter which of the two weeks was loaded first."""
    lake = Lake(tmp_path)
    for number in order:
        put(lake, number, ("ab", "bc")[number])
    assert seen(lake) == [("a", 0), ("b", 0), ("c", 1)]


def test_equal_ids_of_different_sources_are_different_rows(tmp_path: Path) -> None:
    """An id means something within its source only."""
    lake = Lake(tmp_path)
    put(lake, 0, "a")
    rows = batches(START + timedelta(hours=2), "a", source="web")
    lake.replace_slice(TENANT, "events", "web", week(0), rows)
    assert lake.read(TENANT, "events")["source"].to_pylist() == ["pos", "web"]


def test_only_what_was_known_is_read(tmp_path: Path) -> None:
    """A row known at the very instant counts, a later one does not."""
    lake = Lake(tmp_path)
    put(lake, 0, "a")
    put(lake, 1, "b")
    at = week(1).start + timedelta(hours=1)
    assert seen(lake, known_at=at) == [("a", 0), ("b", 1)]
    assert seen(lake, known_at=at - timedelta(microseconds=1)) == [("a", 0)]


def test_the_same_slice_again_makes_no_version(tmp_path: Path) -> None:
    """Nothing is written where nothing changes, also for a slice without rows."""
    lake = Lake(tmp_path)
    first = put(lake, 0, "ab")
    assert put(lake, 0, "ba") == first
    assert put(lake, 1, "") == first
    assert lake.version(TENANT, "events").rows == 2


def test_a_slice_without_rows_makes_no_table(tmp_path: Path) -> None:
    """A table begins with its first row."""
    assert put(Lake(tmp_path), 0, "") == -1


def test_a_replaced_slice_is_gone_and_its_neighbours_are_not(tmp_path: Path) -> None:
    """One commit takes the old rows out and puts the new ones in; old versions stay readable."""
    lake = Lake(tmp_path)
    put(lake, 0, "ab")
    before = put(lake, 1, "cd")
    after = put(lake, 0, "e")
    assert seen(lake) == [("e", 0), ("c", 1), ("d", 1)]
    assert after == before + 1
    assert seen(lake, version=before) == [("a", 0), ("b", 0), ("c", 1), ("d", 1)]


@pytest.mark.parametrize("changes", [{"tenant_id": "other"}, {"source": "web"}])
def test_a_row_of_somebody_elses_is_refused(tmp_path: Path, changes: dict[str, str]) -> None:
    """Neither another tenant's nor another source's rows are written, and no table begins."""
    lake = Lake(tmp_path)
    with pytest.raises(IntegrityError, match="do not belong to slice shop/pos"):
        put(lake, 0, "a", **changes)
    assert lake.version(TENANT, "events").version == -1


def test_a_row_outside_the_interval_is_refused(tmp_path: Path) -> None:
    """A replace would not cover it: every rerun would add it once more."""
    rows = batches(week(1).start, "a")
    with pytest.raises(IntegrityError, match="do not belong"):
        Lake(tmp_path).replace_slice(TENANT, "events", "pos", week(0), rows)


def test_a_path_never_leaves_the_tenants_folder(tmp_path: Path) -> None:
    """Whatever a plain file is called."""
    for path in ("../other/secret", "/etc/passwd", "a/../../x"):
        with pytest.raises(IntegrityError, match="leads out"):
            Lake(tmp_path).put(TENANT, path, b"")


def test_a_file_that_changed_is_not_parsed(tmp_path: Path) -> None:
    """Its digest is compared before anybody reads it, and it belongs to one tenant."""
    lake = Lake(tmp_path)
    stored = lake.put(TENANT, "models/a.json", b"{}")
    assert lake.get(TENANT, stored) == b"{}"
    lake.file_path(TENANT, stored.path).write_bytes(b"{ }")
    with pytest.raises(IntegrityError, match="not what was recorded"):
        lake.get(TENANT, stored)
    with pytest.raises(IntegrityError, match="belongs to shop"):
        lake.get(TenantRef("other", "eu", "pool"), stored)
