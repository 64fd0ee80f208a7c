from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from include.monitoring import effects
from include.monitoring.effects import PromotedRetrain
from include.monitoring.retrain_effect import WINDOWS, Measurement, RetrainEffect
from tests.watched import Watched, week

USERS = [f"u{i:03}" for i in range(300)]
POSITIVE = {user for i, user in enumerate(USERS) if i % 3 == 0}
LABELS = pa.table({"entity_id": USERS, "label": [int(u in POSITIVE) for u in USERS]})


def scores(skill: float, seed: int) -> list[tuple[str, float]]:
    """Scores that know the labels to some extent."""
    noise = np.random.default_rng(seed).normal(size=len(USERS))
    return [
        (u, float(1 / (1 + np.exp(-(skill * (u in POSITIVE) + n)))))
        for u, n in zip(USERS, noise, strict=True)
    ]


def table(rows: list[tuple[str, float]]) -> pa.Table:
    users, values = zip(*rows, strict=True)
    return pa.table({"entity_id": users, "item_id": [""] * len(users), "score": values})


def retrained(tenant: Watched, outcome: Any = "promoted") -> PromotedRetrain:
    """A retrain at week 2 that replaced version 1 by version 2."""
    ref = tenant.config.ref
    tenant.stores.retrains.record(
        ref, "churn", week(2), decision="retrain", reason="drift", details={"model_version": "1"}
    )
    tenant.stores.retrains.finish(ref, "churn", week(2), outcome, details={"version": "2"})
    return PromotedRetrain(week(2), "1", "2")


def measured(tenant: Watched, number: int, version: str, skill: float) -> None:
    tenant.store(week(number), scores(skill, number), version)
    tenant.measure(week(number), LABELS, week(number + 4))


def from_history(tenant: Watched, as_of: datetime) -> list[RetrainEffect]:
    ports = {"retrains": tenant.stores.retrains, "live_metrics": tenant.stores.live_metrics}
    return effects.settle_from_history(tenant.config.ref, "churn", "auc", as_of, 30, **ports)


def unsettled(tenant: Watched) -> list[PromotedRetrain]:
    return effects.unsettled(tenant.config.ref, "churn", tenant.stores.retrains)


def with_old_scores(
    tenant: Watched, retrain: PromotedRetrain, number: int, old: list[tuple[str, float]], **how: Any
) -> RetrainEffect | None:
    """What the week's labels say, which both versions have scored."""
    return effects.settle_with_old_scores(
        tenant.config.ref,
        "churn",
        retrain,
        tenant.served(week(number)),
        LABELS,
        table(old),
        retrains=tenant.stores.retrains,
        metric="auc",
        as_of=week(number),
        **how,
    )


@pytest.mark.parametrize(
    ("new", "old", "effect"),
    [(2.0, 0.3, "helped"), (0.3, 2.0, "hurt"), (1.0, 1.0, "no difference")],
)
def test_both_versions_on_the_same_labels_tell_whether_it_helped(
    tenant: Watched, new: float, old: float, effect: str
) -> None:
    """The old version's scores of the same entities, against the new one's, with the interval."""
    retrained(tenant)
    ref = tenant.config.ref
    for number in range(3, 3 + WINDOWS):
        (retrain,) = unsettled(tenant)
        assert len(retrain.measured) == number - 3
        tenant.store(week(number), scores(new, number), "2")
        found = with_old_scores(tenant, retrain, number, scores(old, 10 + number))
        assert found is not None
        (entry,) = tenant.stores.retrains.history(ref, "churn")
        assert entry.effect == found
        said = found.told("UTC")
        if number == 3:  # what happened in that week happened to all
            assert found.name == ""
            assert said.startswith("not known by one window: auc ")
            assert "on the same labels, 300 labels of 2024-01-22" in said
    assert (found.name, found.method, found.labels) == (effect, "same labels", 1_200)
    assert unsettled(tenant) == []
    assert said.startswith(f"{effect}: auc {found.difference:+.3f} (95 % {found.low:+.3f} to ")
    assert "on the same labels, 1200 labels of 4 windows until 2024-02-12" in said


def test_windows_within_a_horizon_are_one(tenant: Watched) -> None:
    """The labels of two weeks that share days add nothing to each other."""
    retrained(tenant)
    ref = tenant.config.ref
    for number, counts in ((3, True), (4, False), (6, False), (7, True)):
        (retrain,) = unsettled(tenant)
        tenant.store(week(number), scores(2.0, number), "2")
        old = scores(0.3, 10 + number)
        found = with_old_scores(tenant, retrain, number, old, reach=timedelta(days=28))
        assert (found is not None) is counts
    (entry,) = tenant.stores.retrains.history(ref, "churn")
    assert entry.effect is not None
    assert [one.as_of for one in entry.effect.windows] == [week(3), week(7)]


def test_a_gain_that_swings_is_no_gain() -> None:
    """Windows that say the opposite of each other come to no difference, each sure of itself."""
    gains = (0.2, -0.1, 0.15, -0.12)
    windows = [Measurement(week(n), gain, 0.01, 900) for n, gain in enumerate(gains)]
    found = effects.judge_effect("same labels", "auc", windows)
    assert found.name == "no difference"
    assert found.high - found.low > 10 * 0.01


def test_without_the_old_versions_scores_the_weeks_before_stand_in(tenant: Watched) -> None:
    """The last figures of the old version and the first of the new; a better answer replaces."""
    retrain = retrained(tenant)
    ref = tenant.config.ref
    measured(tenant, 0, "1", 0.2)
    measured(tenant, 1, "1", 0.2)
    assert from_history(tenant, week(9)) == []
    measured(tenant, 3, "2", 2.0)
    measured(tenant, 4, "2", 2.0)
    assert from_history(tenant, week(6)) == []  # not mature yet
    (found,) = from_history(tenant, week(9))
    assert (found.name, found.method, found.as_of) == ("helped", "before and after", week(4))
    assert from_history(tenant, week(9)) == []
    (entry,) = tenant.stores.retrains.history(ref, "churn")
    assert "not the model alone" in entry.effect.told("UTC")
    for number in (3, 4):
        assert with_old_scores(tenant, retrain, number, scores(2.0, number)) is not None
        (retrain,) = unsettled(tenant)
    (entry,) = tenant.stores.retrains.history(ref, "churn")
    assert entry.effect is not None
    assert (entry.effect.name, entry.effect.method) == ("no difference", "same labels")


def test_what_was_not_promoted_or_not_predicted_has_no_effect(tenant: Watched) -> None:
    """A retrain that kept the champion, and predictions of another version, settle nothing."""
    retrain = retrained(tenant, "kept")
    assert unsettled(tenant) == []
    tenant.store(week(3), scores(1.0, 1), "7")
    assert with_old_scores(tenant, retrain, 3, scores(1.0, 2)) is None


def test_monitoring_settles_what_matured(tenant: Watched) -> None:
    """The stage itself enters the effect once both versions have live figures."""
    retrained(tenant)
    for number, version, skill in ((0, "1", 0.2), (1, "1", 0.2), (3, "2", 2.0), (4, "2", 2.0)):
        measured(tenant, number, version, skill)
    champion = tenant.champion("2", as_of=week(2), metric="auc", value=0.8, low=0.7, high=0.9)
    tenant.monitor(tenant.score(week(8), version="2"), champion=champion)
    settled, decided = tenant.stores.retrains.history(tenant.config.ref, "churn")
    assert settled.effect is not None
    assert (settled.effect.name, decided.effect) == ("helped", None)
