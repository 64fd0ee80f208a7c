from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from include.features.histories import histories, shortened
from include.features.inputs import Inputs
from include.features.reach import Reach
from include.handoffs import TableVersion
from include.storage.canonical import ATTRIBUTES, EVENTS, TIMESTAMP
from include.tenants.namespace import TenantRef

START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
WEEK = timedelta(days=7)


def day(number: float) -> datetime:
    return START + number * DAY


def inputs(
    *rows: tuple[str, str, float] | tuple[str, str, float, float],
    facts: tuple[tuple[float, float], ...] = (),
) -> Inputs:
    """Rows are source, event, day of the event and, where it is later, of its arrival."""
    known = [(source, event, at, late[0] if late else at) for source, event, at, *late in rows]
    version = TableVersion("shop", "events", 1, len(rows), "")
    return Inputs(
        TenantRef("shop", "us", "pool"),
        "UTC",
        day(999),
        (version, version),
        table(EVENTS, known),
        pa.table(
            {
                "entity": pa.array(["item"] * len(facts)),
                "name": pa.array(["category"] * len(facts)),
                "valid_from": pa.array([day(one) for one, _ in facts], TIMESTAMP),
                "created_timestamp": pa.array([day(one) for _, one in facts], TIMESTAMP),
            }
        )
        if facts
        else ATTRIBUTES.empty_table(),
    )


def table(schema: pa.Schema, rows: list[Any]) -> pa.Table:
    return pa.table(
        {
            "source": pa.array([row[0] for row in rows], pa.string()),
            "event": pa.array([row[1] for row in rows], pa.string()),
            "event_timestamp": pa.array([day(row[2]) for row in rows], TIMESTAMP),
            "created_timestamp": pa.array([day(row[3]) for row in rows], TIMESTAMP),
        }
    )


def test_history_begins_where_the_source_begins() -> None:
    """A rare event of an old source has a long history, however late it came first."""
    rows = inputs(("pay", "Paid", 0), ("pay", "Disputed", 50))
    assert histories(rows, day(60), day(60)).events == {"Paid": 60 * DAY, "Disputed": 60 * DAY}
    assert histories(rows, day(40), day(60)).events == {"Paid": 40 * DAY, "Disputed": 40 * DAY}


def test_a_second_source_of_the_same_events_makes_no_young_history() -> None:
    """A shop that opens on the web is not young, nor is one that renames its till."""
    rows = inputs(("till", "Ordered", 0), ("web", "Ordered", 50))
    assert histories(rows, day(60), day(60)).events == {"Ordered": 60 * DAY}


def test_what_had_not_begun_has_no_history() -> None:
    """Events of a source that began later were not there: they have a length of nothing."""
    rows = inputs(("till", "Ordered", 0), ("mail", "Opened", 50))
    before = histories(rows, day(40), day(60))
    assert before.events == {"Ordered": 40 * DAY, "Opened": timedelta(0)}
    assert before.of_events(Reach(WEEK, ("Ordered", "Opened"))) == timedelta(0)
    assert before.of_events(Reach(WEEK, ("Ordered", "Never"))) == 40 * DAY
    assert before.of_events(Reach(WEEK, ("Never",))) == 40 * DAY


def test_only_what_was_known_counts() -> None:
    """A past that was delivered later was no history at the time."""
    rows = inputs(("till", "Ordered", 30), ("till", "Ordered", 0, 50))
    assert histories(rows, day(40), day(60)).events == {"Ordered": 10 * DAY}
    assert histories(rows, day(60), day(60)).events == {"Ordered": 60 * DAY}


def test_attributes_have_histories_of_their_own() -> None:
    """An attribute counts from when events could look it up."""
    rows = inputs(("till", "Ordered", 0), facts=((0, 20), (30, 30)))
    found = histories(rows, day(60), day(60))
    assert found.attributes == {"item.category": 40 * DAY}
    assert found.of_attributes(Reach(WEEK, ("Ordered",), ("item.category",))) == 40 * DAY
    assert found.of_attributes(Reach(WEEK, ("Ordered",))) is None


def test_inputs_are_cut_to_the_length_of_another_instant() -> None:
    """Each kind of event keeps as many days as it had, the first instant included."""
    rows = inputs(
        *(("till", "Ordered", at) for at in range(0, 60, 10)),
        *(("mail", "Opened", at) for at in (35, 45, 55)),
    )
    then = histories(rows, day(40), day(60))
    cut = shortened(rows, day(60), then)
    kept = cut.events.select(["event", "event_timestamp"]).to_pylist()
    assert [(row["event"], (row["event_timestamp"] - START).days) for row in kept] == [
        *(("Ordered", at) for at in (20, 30, 40, 50)),
        ("Opened", 55),
    ]
    assert shortened(rows, day(40), then).events.num_rows == 9
