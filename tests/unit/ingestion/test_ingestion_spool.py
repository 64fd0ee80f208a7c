"""The spool: few rows in memory and many in a file come out the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.dataset as ds
from hypothesis import given, settings
from hypothesis import strategies as st

from include.ingestion.corrections import VALUES, CorrectionRule
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


Counts = tuple[list[float], int, list[float]]


def sifted(
    rows: list[tuple[str, int]], before: pa.Table, there: pa.Table, few: int, rule: CorrectionRule
) -> Counts:
    """Which rows remain, in order; how many repeat another; and which are set aside."""
    with SliceSpool(EVENTS, few) as spool:
        for row in range(0, len(rows), 4):
            spool.add(events(rows).slice(row, 4))
        found = spool.sifted(ds.dataset(before), ds.dataset(there), rule)
        remaining = pa.Table.from_batches(found.kept.batches(), EVENTS)
        changed = pa.Table.from_batches(found.changed.batches(), spool.schema)
        assert found.kept.rows == len(remaining)
    assert changed["position"].to_pylist() == changed["amount"].to_pylist()
    return remaining["amount"].to_pylist(), found.repeated, sorted(changed["amount"].to_pylist())


@settings(max_examples=30, deadline=None)
@given(ROWS, EARLIER, st.booleans())
def test_each_id_remains_once_at_its_first_arrival(
    rows: list[tuple[str, int]], earlier: set[str], compared: bool
) -> None:
    """In memory or through a file: earlier ids are gone, of equal ids the first arrival stays; the
    others are set aside where values are compared, as they differ in all, and repeats elsewhere."""
    first: dict[str, int] = {}
    for number, (name, hour) in enumerate(rows):
        if name not in earlier and (name not in first or hour < rows[first[name]][1]):
            first[name] = number
    order = sorted(first, key=lambda name: (rows[first[name]][1], name))
    others = sorted(float(number) for number in range(len(rows)) if number not in first.values())
    expected = ([float(first[name]) for name in order], len(others), [])
    if compared:
        expected = (expected[0], 0, others)
    before = events([(name, 0) for name in sorted(earlier)])
    place = EVENTS.get_field_index("amount")
    before = before.set_column(
        place, EVENTS.field(place), pa.array([-1.0] * len(before), pa.float64())
    )
    rule = CorrectionRule(VALUES) if compared else CorrectionRule()
    for few in (100, 0):
        assert sifted(rows, before, EVENTS.empty_table(), few, rule) == expected
