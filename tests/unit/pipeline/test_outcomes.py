"""What an entity's answer was worth, per task."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from include import use_cases
from include.handoffs import LostDays
from include.pipeline.outcomes import (
    AnsweredInstant,
    entity_outcome,
    outcomes_of,
    pseudonym,
    record_outcomes,
    truth_of,
)
from include.registry.predictions import Prediction
from include.storage.canonical import EVENTS
from include.storage.lake import Lake
from include.stores.memory import in_memory
from include.tenants.namespace import TenantRef
from include.use_cases.declaration import Baseline, ItemHistory, UseCase
from tests.trials import CASE, MONDAY, Shop, monday

AS_OF = datetime(2024, 1, 1, tzinfo=UTC)
DORA = TenantRef("dora", "eu", "pool")
CHURN, RANKING = use_cases.get("churn"), use_cases.get("recommendation")
BASKETS: UseCase = replace(
    RANKING,
    task="association",
    entity="item_id",
    estimators=("bought_together",),
    baselines=(Baseline("popularity"),),
    history=ItemHistory(10),
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
    found = truth_of(RANKING, events, AnsweredInstant(AS_OF, people, []), known)
    assert found == {"ann": {"x", "y"}, "bob": {"y", "z"}, "cat": set()}
    items = [Prediction(name, "", 1, 0.0) for name in ("x", "y", "w")]
    found = truth_of(BASKETS, events, AnsweredInstant(AS_OF, [], items), known)
    assert found == {"x": {"y"}, "y": {"x", "z"}, "w": set()}


def test_outcomes_do_not_name_their_entity() -> None:
    """The same customer has another name with every tenant and use case."""
    names = {pseudonym(t, c, "ann") for t in ("dora", "emil") for c in ("churn", "demand")}
    assert len(names) == 4
    assert not any("ann" in name for name in names)
    assert pseudonym("dora", "churn", "ann") in names


def answer(entity: str, score: float, version: str, arm: str | None = None) -> Prediction:
    """A score of one entity, in an experiment where an arm is named."""
    return Prediction(entity, "", 1, score, None, version, 4 if arm else None, arm)


def test_in_an_experiment_everybody_counts_for_an_arm_and_the_champions_for_a_pair() -> None:
    """An entity that its arm had nothing to say to has an outcome, too; one whose label is not
    known has none. Pairs are of those that the champion served."""
    served = [answer("ann", 0.9, "1", "champion"), answer("bob", 0.8, "2", "challenger")]
    shadow = [answer(name, 0.5, "2") for name in ("ann", "bob", "cat", "dan")]
    truth = {"ann": 1.0, "bob": 1.0, "cat": 0.0}
    found = outcomes_of(DORA, CHURN, AnsweredInstant(AS_OF, served, shadow), truth)
    name = {one: pseudonym("dora", "churn", one) for one in truth}
    assert (found.as_of, found.experiment, found.versions) == (AS_OF, 4, ("1", "2"))
    assert [(one.entity, one.challenger, round(one.outcome, 6)) for one in found.arms] == [
        (name["ann"], False, 0.99),
        (name["bob"], True, 0.96),
        (name["cat"], False, 0.0),
    ]
    assert [(one.entity, round(one.champion, 6), one.challenger) for one in found.pairs] == [
        (name["ann"], 0.99, 0.75),
        (name["cat"], 0.0, 0.75),
    ]


def test_without_an_experiment_there_are_pairs_alone() -> None:
    """And without anybody in the shadow, or served, nothing to compare."""
    truth = {"ann": 1.0}
    served, shadow = [answer("ann", 0.9, "1")], [answer("ann", 0.5, "2")]
    found = outcomes_of(DORA, CHURN, AnsweredInstant(AS_OF, served, shadow), truth)
    assert (found.experiment, found.arms, len(found.pairs)) == (None, (), 1)
    for answered in (AnsweredInstant(AS_OF, served, []), AnsweredInstant(AS_OF, [], shadow)):
        found = outcomes_of(DORA, CHURN, answered, truth)
        assert (found.arms, found.versions, found.pairs) == ((), ("", ""), ())


def test_outcomes_are_kept_once_their_labels_are_known(tmp_path: Path) -> None:
    """Of instants with a challenger; what lost days touch waits, and comes last."""
    shop = Shop(Lake(tmp_path), stores=in_memory())
    shop.promote(shop.add("fair"), monday(0))
    shop.score(0)  # nobody challenges
    shop.promote(shop.add("fair", fingerprint="f1"), monday(1), challenger=shop.add("good"))
    scored = [shop.score(week) for week in range(5)]

    def kept(week: int, *lost: LostDays) -> list[int]:
        record_outcomes(shop.run(monday(week)), scored[week], lost)
        measured = shop.stores.outcomes.measured(shop.ref, CASE.name)
        return [(at - MONDAY).days // 7 for at in measured]

    assert kept(1) == []
    assert kept(2) == [1]
    assert kept(2) == [1]
    lost = LostDays("orders", monday(2) + timedelta(days=1), monday(2) + timedelta(days=2))
    assert kept(3, lost) == [1]
    assert record_outcomes(shop.run(monday(4)), scored[4], [lost]) == 0
    assert record_outcomes(shop.run(monday(4)), scored[4]) == 2
    assert record_outcomes(shop.run(monday(4)), scored[4]) == 0
    assert kept(4) == [1, 2, 3]
