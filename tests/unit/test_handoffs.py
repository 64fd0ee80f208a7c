"""Handoffs survive XCom and the registry of runs."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from include.handoffs import (
    Candidate,
    Hole,
    Ingested,
    Interval,
    Materialized,
    Recipe,
    RecordedSet,
    Replayed,
    Scored,
    StoredObject,
    TableVersion,
    Trained,
    instant,
    pack,
    unpack,
)

AT = datetime(2024, 3, 4, tzinfo=UTC)
WEEK = timedelta(days=7)
FILE = StoredObject("acme", "features/churn/x.parquet", "ab" * 32, 3)
TABLE = TableVersion("acme", "events", 7, 100, "0123456789abcdef")


def ingested(*holes: Hole) -> Ingested:
    """A week with what was loaded before it."""
    return Ingested("acme", Interval(AT, AT + WEEK), TABLE, TABLE, 1_200, 0, 3, 2, 1_210, 7, holes)


def test_intervals_of_a_hole_are_told_as_one_stretch() -> None:
    """By source, and apart where something was loaded between them."""
    weeks = [Hole("pos", AT - n * WEEK, AT - (n - 1) * WEEK) for n in (5, 4, 2)]
    told = "1,210 rows read: 1,200 new, 2 late, 0 duplicates, 3 quarantined, 7 outside the interval"
    assert str(ingested()) == told
    assert str(ingested(*weeks, Hole("web", AT - WEEK, AT))) == (
        f"{told}; loaded first, as no run had: pos 2024-01-29 00:00 UTC to 2024-02-12 00:00 UTC, "
        "pos 2024-02-19 00:00 UTC to 2024-02-26 00:00 UTC, "
        "web 2024-02-26 00:00 UTC to 2024-03-04 00:00 UTC"
    )


@pytest.mark.parametrize(
    "handoff",
    [
        Scored("acme", "churn", AT, "3", "f" * 16, FILE, TABLE, TABLE, 12),
        RecordedSet(
            Recipe(
                "acme",
                "UTC",
                "churn",
                "f" * 16,
                TABLE,
                TABLE,
                AT,
                "ab" * 32,
            ),
            "cd" * 32,
            FILE,
        ),
        Materialized("acme", AT, ("recency", "spend")),
        ingested(Hole("pos", AT - WEEK, AT)),
        Replayed("acme", "churn", AT, (AT, AT), 100, 0, 7, ()),
        Trained(
            "acme",
            "churn",
            AT,
            "drift",
            (Candidate("own", "lightgbm", FILE, FILE, "", 0.9, 0.8, 1.0),),
            FILE,
            10,
            5,
        ),
    ],
)
def test_a_handoff_comes_back_from_json_as_it_was(handoff: object) -> None:
    """Nested references, tuples and instants keep their types through JSON."""
    assert unpack(json.loads(json.dumps(pack(handoff)))) == handoff


def trained(value: float, low: float, high: float) -> Trained:
    """A training whose one candidate has this figure."""
    candidate = Candidate("own", "lightgbm", FILE, FILE, "", value, low, high)
    return Trained("acme", "churn", AT, "drift", (candidate,), FILE, 10, 5)


@given(st.tuples(*(st.floats(allow_nan=False) for _ in range(3))))
@example((0.5, -1e300, 1e300))
@example((0.5, -math.inf, math.inf))
def test_a_figure_of_any_size_can_be_sent(figures: tuple[float, float, float]) -> None:
    """Postgres writes 1e300 as an integer of 301 digits, and Airflow sends integers of 64 bits."""

    def as_postgres_writes_it(text: str) -> float | int:
        number = Decimal(text)
        return float(text) if "." in f"{number:f}" else int(number)

    before = trained(*figures)
    kept = json.loads(json.dumps(pack(before), allow_nan=False), parse_float=as_postgres_writes_it)
    assert unpack(msgspec.msgpack.decode(msgspec.msgpack.encode(kept))) == before


def test_how_much_a_call_had_to_do_is_not_kept() -> None:
    """A task that was killed and run again leaves the handoff of an undisturbed one."""
    first, again = (Materialized("acme", AT, ("spend",), entities, 7) for entities in (5, 0))
    assert pack(first) == pack(again)
    assert unpack(pack(first)) == Materialized("acme", AT, ("spend",))


def test_what_is_no_handoff_is_refused_by_name() -> None:
    """A stale or foreign value is named instead of failing somewhere later."""
    with pytest.raises(ValueError, match="'datetime' is no handoff"):
        unpack({"handoff": "datetime"})


def test_a_handoff_of_an_earlier_release_is_read() -> None:
    """A field that was added since, with a default, may be missing."""
    scored = Scored("acme", "churn", AT, "3", "f" * 16, FILE, TABLE, TABLE, 12)
    before = {key: value for key, value in pack(scored).items() if key != "pool"}
    assert unpack(before) == scored


def test_an_interval_ends_after_its_start() -> None:
    """An empty or reversed interval cannot be made."""
    with pytest.raises(ValueError, match="not after its start"):
        Interval(AT, AT)


@pytest.mark.parametrize(
    "text", ["2024-03-04", "2024-03-04T00:00:00Z", "2024-03-04T01:00:00+01:00", "2024-03-04 00:00"]
)
def test_an_instant_without_offset_means_utc(text: str) -> None:
    """The Airflow form, the command line and the API spell the same instant differently."""
    assert instant(text) == AT
