"""Handoffs survive XCom and the registry of runs."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from include.handoffs import (
    Candidate,
    Interval,
    Learnt,
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
FILE = StoredObject("acme", "features/churn/x.parquet", "ab" * 32, 3)
TABLE = TableVersion("acme", "events", 7, 100, "0123456789abcdef")


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
                learnt=(Learnt("mix__share_item_category_top2", ("food", "books")),),
            ),
            "cd" * 32,
            FILE,
        ),
        Materialized("acme", AT, ("recency", "spend")),
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
