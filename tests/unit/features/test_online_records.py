"""Records: folded into fewer, written as bytes and read back, they give the same features."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.features.conditions import at_least, equals
from include.features.declarations import (
    ALL_HISTORY,
    ITEM,
    USER,
    Aggregation,
    AttributeLookup,
    EventStream,
)
from include.features.online.codec import decode, encode
from include.features.online.folding import fold, merge
from include.features.online.layout import Layout, layouts
from include.features.online.records import Records, entities_of, records_of
from include.features.online.reductions import History, steps
from include.features.views import FeatureView
from include.storage.canonical import ATTRIBUTES, EVENTS

START = datetime(2024, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
STREAM = EventStream(("Order Completed",), (at_least("amount", -1e300),))


def layout_of(*aggregations: Aggregation) -> Layout:
    """The layout of one view of users."""
    (layout,) = layouts([FeatureView("v", USER, STREAM, aggregations)], "eu", "UTC")
    return layout


def records(layout: Layout, rows: list[tuple[str, float, float]]) -> Records:
    """Records of events (user, amount, days after the start), by user."""
    table = pa.Table.from_pylist(
        [
            {
                "source": "s",
                "event_id": f"e{number}",
                "event": "Order Completed",
                "user_id": user,
                "item_id": f"i{number % 3}",
                "amount": amount,
                "event_timestamp": START + days * DAY,
                "created_timestamp": START + days * DAY,
            }
            for number, (user, amount, days) in enumerate(rows)
        ],
        pa.schema([field.with_nullable(True) for field in EVENTS]),
    )
    entities = entities_of(table, layout.join_keys)
    found = records_of(layout, table, ATTRIBUTES.empty_table())
    return Records(layout, entities.of_event[found.entity], found.fields, found.words)


def instant(days: float) -> int:
    """Microseconds since 1970."""
    return (START + days * DAY - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


amounts = st.one_of(
    st.sampled_from([0.1, 0.2, 7.77, 1e16, -1e16, 1e300, -1e300, 5e-324, 1.7e308, -1.7e308]),
    st.floats(-1e290, 1e290),
)


@settings(deadline=None, derandomize=True)
@given(st.lists(st.lists(amounts, max_size=12), min_size=1, max_size=5))
def test_sums_are_rounded_once(batches: list[list[float]]) -> None:
    """As the offline engines': what two windows see alike cancels to 0 on all of them."""
    rows = [(f"u{n}", amount, n) for n, some in enumerate(batches) for amount in some]
    windows = (99 * DAY, ALL_HISTORY)
    total = Aggregation("sum", "amount", windows)
    layout = layout_of(total)
    found = records(layout, rows)
    users = list(dict.fromkeys(user for user, *_ in rows))
    (step,) = steps(layout, [(total, window) for window in windows])
    with np.errstate(all="ignore"):
        answers = History(found, len(users), instant(50)).answers(step.question)
    for number, user in enumerate(users):
        terms = [Fraction(a) for u, a, _ in rows if u == user and a >= -1e300]
        try:
            wanted = float(sum(terms))
        except OverflowError:
            wanted = math.nan
        for answer in answers:
            assert answer[number] == wanted or (math.isnan(answer[number]) and math.isnan(wanted))


@settings(deadline=None, derandomize=True)
@given(st.lists(st.lists(amounts, max_size=12), min_size=1, max_size=5))
def test_merged_sums_are_exact(batches: list[list[float]]) -> None:
    """However many numbers are merged in however many steps, their sum does not change a bit."""
    layout = layout_of(Aggregation("sum", "amount"))
    found: Records | None = None
    for batch in batches:
        new = records(layout, [("ann", amount, 1.0) for amount in batch])
        parts = [new] if found is None else [found, new]
        fields = np.concatenate([part.fields for part in parts])
        found = merge(Records(layout, np.zeros(len(fields), dtype=np.int64), fields, new.words))
    assert found is not None
    summands = [Fraction(amount) for batch in batches for amount in batch]
    summands = [one for one in summands if one >= Fraction(-1e300)]
    merged = [Fraction(value) for value in found.fields["sum amount number"].tolist()]
    assert sum(merged) == sum(summands)
    assert found.fields["n"].sum() == len(summands)


def test_ordinary_numbers_become_a_record_or_two() -> None:
    """A thousand prices of one instant are added up."""
    layout = layout_of(Aggregation("sum", "amount"), Aggregation("max", "amount"))
    prices = [round(0.01 * (number * 7919 % 5000), 2) for number in range(1000)]
    merged = merge(records(layout, [("ann", price, 1.0) for price in prices]))
    assert len(merged) <= 3
    assert math.fsum(merged.fields["sum amount number"].tolist()) == math.fsum(prices)
    assert set(merged.fields["max amount number"]) == {max(prices)}


def test_what_no_window_reaches_any_more_is_dropped() -> None:
    """Without a feature over all history, records older than the longest window go."""
    layout = layout_of(Aggregation("sum", "amount", (2 * DAY, 5 * DAY)))
    rows = [("ann", 1.0, day) for day in (0, 1, 5, 6)]
    assert len(fold(records(layout, rows), instant(6.5))) == 2
    assert len(fold(records(layout, rows), instant(6))) == 3


def test_old_records_keep_what_all_history_reads() -> None:
    """Of many old events the count and both ends in time remain, not what only windows read."""
    layout = layout_of(
        Aggregation("count"),
        Aggregation("time_since_first"),
        Aggregation("distinct_count", "item_id", (DAY,)),
    )
    folded = fold(records(layout, [("ann", 1.0, day) for day in range(30)]), instant(30))
    assert folded.fields["at"].tolist() == [instant(day) for day in (0, 28, 29)]
    assert folded.fields["n"].tolist() == [1, 28, 1]


def test_the_last_value_of_all_history_is_kept_by_name() -> None:
    """Old events lose their ids, but for the one that is the last."""
    layout = layout_of(Aggregation("last", "item_id"))
    folded = fold(records(layout, [("ann", 1.0, 3), ("ann", 1.0, 3), ("ann", 1.0, 1)]), instant(9))
    codes = folded.fields["event_id"]
    named = [folded.words[code].as_py() for code in codes.tolist() if code < len(folded.words)]
    assert named == ["e1"]


@settings(deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(st.sampled_from(["ann", "bob", "cät", ""]), st.just(1.0), st.integers(0, 20)),
        max_size=20,
    )
)
def test_bytes_are_read_back_as_they_were(rows: list[tuple[str, float, float]]) -> None:
    """Every entity's records and words survive, each entity apart from the others."""
    layout = layout_of(
        Aggregation("last", "item_id"), Aggregation("distinct_count", "item_id", (3 * DAY,))
    )
    folded = fold(records(layout, rows), instant(21))
    back = decode(layout, list(encode(folded)))
    assert back.entity.tolist() == folded.entity.tolist()
    for name in layout.dtype.names or ():
        if name in layout.texts:
            left, right = (
                [None if c >= len(r.words) else r.words[c].as_py() for c in r.fields[name].tolist()]
                for r in (back, folded)
            )
            assert left == right
        else:
            assert back.fields[name].tolist() == folded.fields[name].tolist()


def test_a_layout_survives_as_json() -> None:
    """What is recorded in Postgres is the layout, to its key."""
    stream = EventStream(("A", "B"), (equals("item.x", "1"),), (AttributeLookup("item", "x"),))
    aggregations = (
        Aggregation("mean", "amount", (DAY, ALL_HISTORY)),
        Aggregation("count", None, (DAY,), (at_least("quantity", 2.5),), "many"),
    )
    (layout,) = layouts([FeatureView("v", ITEM, stream, aggregations)], "eu", "Asia/Kathmandu")
    again = Layout.from_json(json.loads(json.dumps(layout.to_json())))
    assert again == layout
    assert again.key == layout.key


@pytest.mark.parametrize(
    "change",
    [
        {"timezone": "Europe/Vienna"},
        {"region": "us"},
        {"join_keys": ("item_id",)},
        {"longest": 9 * DAY},
        {"stream": EventStream(("Order Completed",))},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_changes_the_records_changes_the_key(change: dict[str, object]) -> None:
    """Partial aggregates of another meaning are never read."""
    layout = layout_of(Aggregation("count", windows=(DAY,)))
    assert replace(layout, **change).key != layout.key  # type: ignore[arg-type]


def test_views_of_one_stream_share_their_records() -> None:
    """One layout per stream and entity holds what all its views need, and no name or owner."""
    one = FeatureView("one", USER, STREAM, (Aggregation("count", windows=(DAY,)),))
    two = FeatureView("two", USER, STREAM, (Aggregation("sum", "amount", (3 * DAY,)),))
    item = FeatureView("item", ITEM, STREAM, (Aggregation("count", windows=(DAY,)),))
    found = layouts([one, two, item], "eu", "UTC")
    assert list(found.values()) == [[one, two], [item]]
    assert next(iter(found)).longest == 3 * DAY
    (renamed,) = layouts([replace(one, name="x", owner="me", ttl=DAY)], "eu", "UTC")
    (plain,) = layouts([one], "eu", "UTC")
    assert renamed.key == plain.key


@pytest.mark.parametrize("keys", [("user_id",), ("user_id", "item_id"), ("item_id", "user_id")])
def test_an_event_of_nobody_takes_nobodys_key(keys: tuple[str, ...]) -> None:
    """Events with a null join key are left out, and before others they do not take their place."""
    users, items = [None, "ann", "ann", None, "bob"], ["tea", None, "tea", "ale", "tea"]
    events = pa.table({"user_id": pa.array(users), "item_id": pa.array(items)})
    found = entities_of(events, keys)
    for row, event in enumerate(events.select(keys).to_pylist()):
        if None in event.values():
            assert found.of_event[row] == -1
        else:
            assert found.keys(found.of_event[[row]]) == [json.dumps(list(event.values()))]
