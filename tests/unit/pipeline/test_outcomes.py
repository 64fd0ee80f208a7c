"""What an entity's answer was worth, per task."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from include import use_cases
from include.pipeline.outcomes import Answered, entity_outcome, pseudonym, truth_of
from include.registry.predictions import Prediction
from include.storage.canonical import EVENTS
from include.use_cases.declaration import Baseline, History, UseCase

AS_OF = datetime(2024, 1, 1, tzinfo=UTC)
CHURN, RANKING = use_cases.get("churn"), use_cases.get("recommendation")
BASKETS: UseCase = replace(
    RANKING,
    task="association",
    entity="item_id",
    estimators=("bought_together",),
    baselines=(Baseline("popularity"),),
    history=History(10),
    items=None,
    exposure=None,
    texts=None,
)


def like(task: Any) -> UseCase:
    """A use case of which only the task is read."""
    found = object.__new__(UseCase)
    object.__setattr__(found, "task", task)
    return found


@pytest.mark.parametrize(
    ("said", "was", "worth"),
    [(0.9, 1.0, 0.99), (0.9, 0.0, 0.19), (1.7, 1.0, 1.0), (-3.0, 1.0, 0.0), (0.5, 0.0, 0.75)],
)
def test_a_probability_loses_its_squared_error(said: float, was: float, worth: float) -> None:
    """What lies beyond certainty counts as certain."""
    assert entity_outcome(CHURN, [Prediction("ann", "", 1, said)], was) == pytest.approx(worth)


@pytest.mark.parametrize(
    ("said", "was", "worth"),
    [(8.0, 10.0, 0.8), (10.0, 8.0, 0.8), (0.0, 0.5, 0.5), (0.0, 0.0, 1.0), (-5.0, 5.0, 0.0)],
)
def test_a_total_loses_its_share_of_the_greater(said: float, was: float, worth: float) -> None:
    """It is bounded, and small totals are not blown up."""
    assert entity_outcome(
        like("regression"), [Prediction("ann", "", 1, said)], was
    ) == pytest.approx(worth)


def test_a_list_hits_or_does_not() -> None:
    """One wanted item among the first ten is a hit; beyond, or without a list, there is none."""
    rows = [Prediction("ann", f"i{n}", n, 1 / n) for n in range(1, 13)]
    for wanted, worth in (({"i10"}, 1.0), ({"i11"}, 0.0), (set(), 0.0)):
        assert entity_outcome(RANKING, rows, wanted) == worth
        assert entity_outcome(BASKETS, [], wanted) == 0.0


def test_wanted_items_come_from_what_happened_afterwards() -> None:
    """Of a ranking what an entity took, of an association what stood in a basket with the item."""
    lines = [("ann", "b1", "x"), ("ann", "b1", "y"), ("bob", "b2", "y"), ("bob", "b2", "z")]
    at = AS_OF + timedelta(days=1)
    rows = [
        {
            "tenant_id": "dora",
            "source": "s",
            "event_id": str(n),
            "event": RANKING.outcomes[0],
            "user_id": user,
            "group_id": basket,
            "item_id": item,
            "event_timestamp": at,
            "created_timestamp": at,
            "month": "2024-01",
        }
        for n, (user, basket, item) in enumerate(lines)
    ]
    events = pa.Table.from_pylist(rows, schema=EVENTS)
    known = AS_OF + RANKING.label.horizon
    people = [Prediction(name, "", 1, 0.0) for name in ("ann", "bob", "cat")]
    found = truth_of(RANKING, events, Answered(AS_OF, people, []), known)
    assert found == {"ann": {"x", "y"}, "bob": {"y", "z"}, "cat": set()}
    items = [Prediction(name, "", 1, 0.0) for name in ("x", "y", "w")]
    found = truth_of(BASKETS, events, Answered(AS_OF, [], items), known)
    assert found == {"x": {"y"}, "y": {"x", "z"}, "w": set()}


def test_outcomes_do_not_name_their_entity() -> None:
    """The same customer has another name with every tenant and use case."""
    names = {pseudonym(t, c, "ann") for t in ("dora", "emil") for c in ("churn", "demand")}
    assert len(names) == 4
    assert not any("ann" in name for name in names)
    assert pseudonym("dora", "churn", "ann") in names
