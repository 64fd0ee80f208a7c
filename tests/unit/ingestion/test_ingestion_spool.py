"""The spool: few rows in memory and many in a file come out the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.dataset as ds
from hypothesis import given, settings
from hypothesis import strategies as st

from include.ingestion.spool import SliceSpool
from include.storage.canonical import EVENTS

START = datetime(2024, 1, 1, tzinfo=UTC)
ROWS = st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 3)), max_size=15)
EARLIER = st.sets(st.sampled_from("abcdef"), max_size=3)


def events(rows: list[tuple[str, int]]) -> pa.Table:
    """Events of an id and an hour of arrival; the amount says which row it was."""
    return pa.Table.from_pylist(
        [
            {
                "tenant_id": "shop",
                "source": "pos",
                "event_id": name,
                "event": "Order Completed",
                "amount": float(number),
                "event_timestamp": START,
                "created_timestamp": START + timedelta(hours=hour),
                "month": "2024-01",
            }
            for number, (name, hour) in enumerate(rows)
        ],
        EVENTS,
    )


def once(rows: list[tuple[str, int]], earlier: set[str], few: int) -> list[float]:
    """Which rows remain, in order."""
    known = ds.dataset(events([(name, 0) for name in sorted(earlier)]))
    with SliceSpool(EVENTS, few) as spool:
        for row in range(0, len(rows), 4):
            spool.add(events(rows).slice(row, 4))
        found = spool.sorted_once(known)
        remaining = pa.Table.from_batches(found.batches(), EVENTS)
        assert found.rows == len(remaining)
    return list(remaining["amount"].to_pylist())


@settings(max_examples=30, deadline=None)
@given(ROWS, EARLIER)
def test_each_id_remains_once_at_its_first_arrival(
    rows: list[tuple[str, int]], earlier: set[str]
) -> None:
    """In memory or through a file: earlier ids are gone, of equal ids the first arrival stays."""
    first: dict[str, int] = {}
    for number, (name, hour) in enumerate(rows):
        if name not in earlier and (name not in first or hour < rows[first[name]][1]):
            first[name] = number
    order = sorted(first, key=lambda name: (rows[first[name]][1], name))
    expected = [float(first[name]) for name in order]
    assert once(rows, earlier, few=100) == expected
    assert once(rows, earlier, few=0) == expected
