"""The fast engine: its bytes depend on nothing but a row's own events, whatever path they take."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from include.features import in_memory, vectorized
from include.features.declarations import (
    ALL_HISTORY,
    TENANT,
    USER,
    Aggregation,
    Entity,
    EventStream,
)
from include.features.spine import Spine
from include.features.vectorized import cells, history
from include.features.vectorized.columns import EventColumns
from include.features.vectorized.spine_index import SpineIndex
from include.features.views import FeatureService, FeatureView
from include.storage.canonical import ATTRIBUTES, EVENTS, TIMESTAMP

START = datetime(2024, 3, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WINDOWS = (6 * HOUR, 3 * DAY, ALL_HISTORY)
STREAM = EventStream(("Order Completed",))
FUNCTIONS = (
    *(Aggregation(name, None, WINDOWS) for name in ("count", "days_active")),
    *(Aggregation(name, None, WINDOWS) for name in ("time_since_first", "time_since_last")),
    *(Aggregation(name, "amount", WINDOWS) for name in ("sum", "mean", "std", "min", "max")),
    *(Aggregation(name, "group_id", WINDOWS) for name in ("first", "last", "distinct_count")),
)
Delays = Callable[[random.Random], timedelta]

DELAYS: dict[str, Delays] = {
    "at once": lambda rng: timedelta(0),
    "a constant delay": lambda rng: 2 * DAY,
    "a little late": lambda rng: timedelta(minutes=rng.randrange(600)),
    "sometimes very late": lambda rng: 5 * DAY if rng.random() < 0.1 else timedelta(0),
    "known in reverse": lambda rng: timedelta(0),  # see `orders`
}


def service(entity: Entity = USER) -> FeatureService:
    return FeatureService("all", (FeatureView("v", entity, STREAM, FUNCTIONS),))


def orders(seed: int, delay: Delays, size: int = 300, users: int = 4) -> pa.Table:
    rng = random.Random(seed)
    rows = []
    for number in range(size):
        at = START + timedelta(minutes=15 * rng.randrange(4 * 24 * 10))
        known = at + delay(rng)
        if delay is DELAYS["known in reverse"]:
            known = START + 10 * DAY + (START + 10 * DAY - at)
        rows.append(event(number, f"u{rng.randrange(users)}", at, known, rng))
    return pa.Table.from_pylist(rows, EVENTS)


def event(
    number: int, user: str, at: datetime, known: datetime, rng: random.Random
) -> dict[str, Any]:
    return {
        "tenant_id": "acme",
        "source": "s",
        "event_id": f"e{number:04d}",
        "event": "Order Completed",
        "user_id": user,
        "group_id": rng.choice(["b1", "b2", "b3", None]),
        "amount": rng.choice([0.1, 0.2, -0.3, 1 / 3, 1e16, -1e16, 7.77, None]),
        "event_timestamp": at,
        "created_timestamp": known,
        "month": "2024-03",
    }


def spine(users: int = 4) -> Spine:
    rows = [(f"u{u}", START + n * 11 * HOUR) for n in range(50) for u in range(users)]
    random.Random(1).shuffle(rows)
    names, instants = zip(*rows, strict=True)
    return Spine(pa.table({"user_id": names, "as_of": pa.array(instants, TIMESTAMP)}))


def compute(events: pa.Table, asked: Spine, of: FeatureService | None = None) -> pa.Table:
    return vectorized.compute(of or service(), asked, events, ATTRIBUTES.empty_table(), "UTC")


@pytest.mark.parametrize("delay", DELAYS.values(), ids=DELAYS)
def test_late_events_are_seen_as_by_the_reference(delay: Delays) -> None:
    """However late events become known, sums too are those of the reference, to the bit."""
    events, asked = orders(1, delay), spine()
    ours = compute(events, asked)
    reference = in_memory.compute(service(), asked, events, ATTRIBUTES.empty_table(), "UTC")
    deviations = [name for name in ours.column_names if "_std_" in name]
    assert ours.drop(deviations).equals(reference.drop(deviations))
    for name in deviations:
        found, wanted = ours[name].to_numpy(), reference[name].to_numpy()
        assert np.allclose(found, wanted, rtol=1e-14, atol=0, equal_nan=True)


def test_rows_that_see_gaps_are_told_apart() -> None:
    """A cell is scattered where an event it does not see lies between those it sees."""
    rng = random.Random(2)
    rows = [
        event(0, "u0", START, START, rng),
        event(1, "u0", START + HOUR, START + 9 * HOUR, rng),
        event(2, "u0", START + 2 * HOUR, START + 2 * HOUR, rng),
    ]
    columns = EventColumns(pa.Table.from_pylist(rows, EVENTS), ATTRIBUTES.empty_table(), None)
    asked = Spine(
        pa.table(
            {
                "user_id": ["u0"] * 3,
                "as_of": pa.array([START + h * HOUR for h in (2, 3, 10)], TIMESTAMP),
            }
        )
    )
    ((_, made),) = history.histories(SpineIndex(asked, ("user_id",)), columns, STREAM, ties=False)
    of_all = cells.Selection(made(), None).cells([ALL_HISTORY])
    assert of_all.sizes.tolist() == [1, 2, 3]
    assert of_all.scattered.tolist() == [1]


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("delay", DELAYS.values(), ids=DELAYS)
def test_blocks_change_nothing(
    delay: Delays, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entities taken one at a time or in threads, and pairs a few at a time: the same bytes."""
    events, asked = orders(3, delay), spine()
    whole = compute(events, asked)
    monkeypatch.setattr(history, "_BLOCK", 1)
    monkeypatch.setattr(history, "_CHUNK", 7)
    monkeypatch.setattr(vectorized, "_BLOCKS_PER_THREAD", 1)
    monkeypatch.setattr(pa, "cpu_count", lambda: threads)
    monkeypatch.setattr(cells, "_PAIRS_PER_CHUNK", 5)
    assert compute(events, asked).equals(whole)


def test_a_hot_user_changes_nobody_else() -> None:
    """Thousands of another user's events, of extreme amounts, leave a user's bytes as they were."""
    own, asked = orders(4, DELAYS["a little late"], 100), spine()
    rng = random.Random(5)
    hot = [
        event(1000 + n, "hot", START + n * HOUR / 60, START + n * HOUR / 50, rng)
        | {"amount": rng.choice([1e300, 5e-324, -3.7])}
        for n in range(10_000)
    ]
    both = pa.concat_tables([own, pa.Table.from_pylist(hot, EVENTS)])
    assert compute(both, asked).equals(compute(own, asked))


def test_a_hot_user_is_summed_over_every_window() -> None:
    """One user with all events: running totals at each instant, however long the history."""
    size = 20_000
    at = np.datetime64("2024-03-01", "us") + np.arange(size) * np.timedelta64(1, "m")
    events = pa.table(
        {
            "source": pa.repeat("s", size),
            "event_id": [str(n) for n in range(size)],
            "event": pa.repeat("Order Completed", size),
            "user_id": pa.repeat("u", size),
            "amount": np.full(size, 0.1),
            "event_timestamp": pa.array(at).cast(TIMESTAMP),
            "created_timestamp": pa.array(at).cast(TIMESTAMP),
        }
    )
    functions = (Aggregation("count", None, WINDOWS), Aggregation("max", "amount", WINDOWS))
    of = FeatureService("hot", (FeatureView("v", USER, STREAM, functions),))
    asked = pa.table({"user_id": pa.repeat("u", size), "as_of": pa.array(at).cast(TIMESTAMP)})
    result = compute(events, Spine(asked), of)
    before = np.arange(size)
    assert np.array_equal(result["v__count_all"], before)
    assert np.array_equal(result["v__count_6h"], np.minimum(before, 360))
    assert result["v__max_amount_3d"].null_count == 1


def test_first_and_last_of_one_instant_go_by_event_id_and_source() -> None:
    """Of events of one instant the order is that of event_id, then of source."""
    rng = random.Random(6)
    rows = [
        event(number, "u0", START, START, rng) | {"source": source, "group_id": basket}
        for number, source, basket in ((2, "a", "mid"), (1, "z", "low"), (2, "b", "high"))
    ]
    asked = Spine.at({"user_id": ["u0"]}, START + DAY)
    result = compute(pa.Table.from_pylist(rows, EVENTS), asked)
    assert result["v__first_group_id_all"].to_pylist() == ["low"]
    assert result["v__last_group_id_all"].to_pylist() == ["high"]


def test_instants_at_both_ends_of_the_calendar() -> None:
    """Events of the years 1 and 9999 among thousands of users are found like any other."""
    rng = random.Random(7)
    instants = [datetime(1, 2, 1, tzinfo=UTC), START, datetime(9999, 11, 1, tzinfo=UTC)]
    rows = [
        event(number, f"u{number % 50}", at, at, rng) | {"amount": 1.0}
        for number, at in enumerate(instants * 50)
    ]
    asked = Spine.at({"user_id": [f"u{n}" for n in range(51)]}, START + DAY)
    result = compute(pa.Table.from_pylist(rows, EVENTS), asked)
    assert result["v__sum_amount_all"].to_pylist() == [2.0] * 50 + [0.0]
    assert result["v__sum_amount_6h"].to_pylist() == [0.0] * 51


@pytest.mark.parametrize("entity", [USER, TENANT])
def test_nobody_and_nothing_are_answered(entity: Entity) -> None:
    """No rows, no events, and rows that ask for nobody."""
    events, nobody = orders(8, DELAYS["at once"], 5), Spine.at({"user_id": [None, None]}, START)
    of = service(entity)
    assert compute(events, Spine.at({"user_id": []}, START), of).num_rows == 0
    assert compute(events.slice(0, 0), nobody, of)["v__count_all"].to_pylist() == [0, 0]
    wanted = [0, 0] if entity == USER else [5, 5]
    late = Spine.at({"user_id": [None, None]}, START + 30 * DAY)
    assert compute(events, late, of)["v__count_all"].to_pylist() == wanted
