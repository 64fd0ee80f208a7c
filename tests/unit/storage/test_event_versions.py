"""Versions of events in the lake: which one counts at an instant, and which tables have any."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from include.handoffs import Interval
from include.storage.canonical import EVENTS, REPLACED
from include.storage.lake import Lake
from include.storage.versions import counting
from include.tenants.namespace import TenantRef

TENANT = TenantRef("shop", "eu", "pool")
START = datetime(2024, 1, 29, tzinfo=UTC)  # the fourth day is in another month
DAY = timedelta(days=1)


def put(
    lake: Lake, day: int, rows: dict[str, float], *, versions: bool, source: str = "pos"
) -> int:
    """Make events, amounts by one-letter ids, all that arrived on a day."""
    interval = Interval(START + day * DAY, START + (day + 1) * DAY)
    told = [
        {
            "tenant_id": TENANT.id,
            "source": source,
            "event_id": name,
            "event": "Order Completed",
            "amount": amount,
            "event_timestamp": START,
            "created_timestamp": interval.start,
            "month": f"{interval.start:%Y-%m}",
        }
        for name, amount in rows.items()
    ]
    batches = pa.Table.from_pylist(told, EVENTS).to_batches()
    written = lake.replace_slice(TENANT, "events", source, interval, batches, versions=versions)
    return written.version


def told(lake: Lake, *columns: str, version: int | None = None, day: int = 99) -> list[str]:
    """What is read, as known on a day: id and amount, and the day of replacement if asked for."""
    names = ["event_id", "amount", *columns]
    known = START + day * DAY
    rows = lake.read(TENANT, "events", version=version, columns=names, known_at=known).to_pylist()
    found = []
    for row in rows:
        replaced = row.get(REPLACED)
        until = f"<{(replaced - START) // DAY}" if replaced else ""
        found.append(f"{row['event_id']}{row['amount']:g}{until}")
    return found


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Three days: `a` is corrected twice, back to what it was in the end; `b` never."""
    lake = Lake(tmp_path)
    put(lake, 0, {"a": 1, "b": 2}, versions=True)
    put(lake, 3, {"a": 5}, versions=True)
    put(lake, 4, {"a": 1}, versions=True)
    return lake


def test_a_read_has_the_last_version_known(lake: Lake) -> None:
    """Whoever does not ask for versions sees each event once, as it was known then."""
    assert told(lake, day=2) == ["a1", "b2"]
    assert told(lake, day=3) == ["b2", "a5"]
    assert told(lake, day=4) == ["b2", "a1"]


def test_whoever_asks_has_all_versions(lake: Lake) -> None:
    """Each with when the next one became known; what became known later is none."""
    assert told(lake, REPLACED) == ["a1<3", "b2", "a5<4", "a1"]
    assert told(lake, REPLACED, day=3) == ["a1<3", "b2", "a5"]
    rows = lake.read(TENANT, "events", columns=["event_id", "created_timestamp", REPLACED])
    for day, counts in ((-1, 0), (0, 2), (2, 2), (3, 2), (4, 2)):
        assert sum(counting(rows, START + day * DAY).to_pylist()) == counts


def test_of_other_sources_the_first_arrival_stays(lake: Lake) -> None:
    """Where a file does not apply corrections, what came twice counts as it came first."""
    put(lake, 1, {"a": 7}, versions=False, source="web")
    put(lake, 2, {"a": 8}, versions=False, source="web")
    assert told(lake) == ["b2", "a7", "a1"]
    assert told(lake, REPLACED) == ["a1<3", "b2", "a7", "a5<4", "a1"]
    assert lake.versioned(TENANT, "events") == ("pos",)


def test_an_older_version_of_the_table_means_what_it_meant(tmp_path: Path) -> None:
    """A table from before corrections were applied is read as it was then."""
    lake = Lake(tmp_path)
    put(lake, 0, {"a": 1}, versions=False)
    before = put(lake, 1, {"a": 2}, versions=False)
    assert told(lake, REPLACED, version=before) == ["a1"]
    put(lake, 2, {"a": 3}, versions=True)
    assert told(lake, REPLACED, version=before) == ["a1"]
    assert told(lake) == ["a3"]


def test_once_applied_always_applied(lake: Lake) -> None:
    """A file that refuses corrections from now on takes back none that is there."""
    put(lake, 5, {"b": 9}, versions=False)
    assert lake.versioned(TENANT, "events") == ("pos",)
    assert told(lake) == ["a1", "b9"]


def test_a_rewritten_slice_makes_no_version_of_the_table(lake: Lake) -> None:
    """The table says once which sources have versions."""
    before = lake.version(TENANT, "events")
    put(lake, 3, {"a": 5}, versions=True)
    assert lake.version(TENANT, "events") == before


def test_a_table_says_whether_something_was_corrected(lake: Lake) -> None:
    """Of what was known at an instant, by another; an event that came and changed in between was
    not known."""
    newest = lake.version(TENANT, "events").version

    def corrects(after: int, until: int) -> bool:
        return lake.corrects(TENANT, "events", START + after * DAY, START + until * DAY, newest)

    assert [corrects(0, 2), corrects(0, 3), corrects(3, 4), corrects(4, 9), corrects(-1, 9)] == [
        *(False, True, True, False, False)
    ]
    found = lake.arrivals(TENANT, "events", START - DAY, START + 9 * DAY)
    assert sorted(zip(found["event_id"].to_pylist(), found["amount"].to_pylist(), strict=True)) == [
        ("a", 1.0),
        ("b", 2.0),
    ]
