from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from include.errors import ConfigError, UnknownNameError
from include.monitoring.live import awaiting_labels
from include.monitoring.live_metrics import known_metrics
from include.registry.predictions import Part
from include.registry.two_way import Swing
from include.scoring.ranks import SCHEMA
from tests.watched import POLICY, Watched, week

HORIZON = timedelta(days=30)


def awaiting(tenant: Watched, now: datetime) -> list[datetime]:
    ports = (tenant.stores.predictions, tenant.stores.live_metrics)
    return awaiting_labels(*ports, tenant.config.ref, "churn", now - HORIZON, "auc")


def rows(scores: list[tuple[str, float]]) -> pa.Table:
    """Predictions of users, as they are ranked."""
    columns = ("entity_id", "item_id", "rank", "score", "baseline_score")
    ranked = [(user, "", rank, score, None) for rank, (user, score) in enumerate(scores, start=1)]
    return pa.Table.from_pylist(
        [dict(zip(columns, row, strict=True)) for row in ranked], schema=SCHEMA
    )


def labels_of(users: list[str], positive: set[str]) -> pa.Table:
    return pa.table({"entity_id": users, "label": [int(u in positive) for u in users]})


def test_matured_labels_measure_model_and_baseline(tenant: Watched) -> None:
    """Perfect scores have an area of 1, reversed baseline scores of 0; strangers don't count."""
    users = [f"u{i}" for i in range(10)]
    scores = [(user, 1.0 - i / 10) for i, user in enumerate(users)]
    tenant.store(week(1), scores, baseline={u: -s for u, s in scores})
    given = labels_of([*users, "stranger"], {"u0", "u1", "u2", "stranger"})
    found = tenant.measure(week(1), given, week(6))
    assert found is not None
    assert (found.value, found.baseline, found.labels, found.version) == (1.0, 0.0, 10, "1")
    assert tenant.measure(week(1), given, week(6)) == found
    assert tenant.stores.live_metrics.history(tenant.config.ref, "churn") == [found]


def test_the_challengers_answers_are_not_the_champions(tenant: Watched) -> None:
    """Of an instant that two versions answered in an experiment, the champion's half counts."""
    users = [f"u{i}" for i in range(20)]
    arms = {"champion": ("1", 1.0, users[::2]), "challenger": ("9", -1.0, users[1::2])}
    parts = [
        Part(rows([(user, sign * (1.0 - int(user[1:]) / 20)) for user in half]), version, 1, arm)
        for arm, (version, sign, half) in arms.items()
    ]
    tenant.stores.predictions.replace(
        tenant.config.ref, "churn", week(1), parts, feature_fingerprint="f"
    )
    given = labels_of(users, set(users[:6]))
    found = tenant.measure(week(1), given, week(6))
    assert found is not None
    assert (found.version, found.value, found.labels) == ("1", 1.0, 10)


def test_nothing_is_measured_where_nothing_can_be(tenant: Watched) -> None:
    """No prediction, or labels all alike, give no figure, and are not asked for again."""
    for number, positive in ((1, set[str]()), (2, {"u0", "u1"}), (3, set[str]())):
        if number < 3:
            tenant.store(week(number), [("u0", 0.2), ("u1", 0.4)])
        waiting = awaiting(tenant, week(9))
        assert waiting == ([week(number)] if number < 3 else [])
        assert not tenant.measure(week(number), labels_of(["u0", "u1"], positive), week(9))
    history = tenant.stores.live_metrics.history(tenant.config.ref, "churn")
    assert [(one.metric, str(one.value), one.labels) for one in history] == [("auc", "nan", 0)] * 3
    assert known_metrics(history, "1", "auc", week(9)) == []


def test_a_ranking_hits_with_its_first_ten(tenant: Watched) -> None:
    """An item in tenth place is a hit, in eleventh none; who bought nothing does not count."""
    items = [f"i{rank:02}" for rank in range(1, 13)]
    offered = [
        {
            "entity_id": user,
            "item_id": item,
            "rank": rank,
            "score": 1 / rank,
            "baseline_score": float(rank),
        }
        for user in ("ann", "bob", "cat")
        for rank, item in enumerate(items, start=1)
    ]
    part = Part(pa.Table.from_pylist(offered, schema=SCHEMA), "4")
    tenant.stores.predictions.replace(
        tenant.config.ref, "recommendation", week(1), [part], feature_fingerprint="f"
    )
    bought = {
        "entity_id": ["ann", "bob", "cat"],
        "item_id": ["i10", "i11", "i01"],
        "label": [1, 1, 0],
    }
    found = tenant.measure(week(1), pa.table(bought), week(6), "hit@10", use_case="recommendation")
    assert found is not None
    assert (found.value, found.baseline, found.labels) == (0.5, 1.0, 2)


def test_instants_wait_until_their_labels_mature_and_are_measured(tenant: Watched) -> None:
    """An instant is due a horizon later, and no longer once it has been measured."""
    for number in (1, 2, 3):
        tenant.store(week(number), [("u0", 0.9), ("u1", 0.1)])

    def due() -> list[object]:
        return list(awaiting(tenant, week(7)))

    assert due() == [week(1), week(2)]
    given = labels_of(["u0", "u1"], {"u0"})
    tenant.measure(week(1), given, week(7))
    assert due() == [week(2)]


def test_a_model_that_fails_live_asks_for_a_retrain(tenant: Watched) -> None:
    """Calm features, but live areas far below the promotion's interval, are drift."""
    users = [f"u{i:03}" for i in range(200)]
    positive = {user for i, user in enumerate(users) if i % 2}
    for number in (0, 1):
        tenant.store(week(number), [(user, i / 200) for i, user in enumerate(users)])
        tenant.measure(week(number), labels_of(users, positive), week(number + 5))
    still = Swing(0.02**2, 40)  # as known when it was promoted
    champion = tenant.champion(metric="auc", value=0.86, low=0.82, high=0.90, swing=still)
    early = tenant.monitor(tenant.score(week(5)), champion=champion)
    assert early.verdict == "stable"
    late = tenant.monitor(tenant.score(week(6)), champion=champion)
    assert (late.verdict, late.decision) == ("drift", "retrain")
    assert "auc fell to 0.5" in late.reason
    assert [e.as_of for e in tenant.stores.retrains.open_requests(tenant.config.ref)] == [week(6)]
    assert tenant.figures()["performance"]["promoted"] == 0.86


def test_one_week_is_no_decay_where_weeks_swing(tenant: Watched) -> None:
    """A live area far below the promotion's, of two hundred entities: of one week it says nothing,
    nor do two where weeks are known to swing that far; after ten of the same model two do."""
    users = [f"u{i:03}" for i in range(200)]

    def live(number: int, skill: float, version: str) -> None:
        noise = np.random.default_rng(number).normal(size=200)
        scores = [
            (u, float(skill * (i % 2) + n))
            for i, (u, n) in enumerate(zip(users, noise, strict=True))
        ]
        tenant.store(week(number), scores, version)
        positive = {user for i, user in enumerate(users) if i % 2}
        tenant.measure(week(number), labels_of(users, positive), week(number + 5))

    known = {"metric": "auc", "value": 0.86, "low": 0.82, "high": 0.90}
    live(1, 0.0, "1")
    live(2, 0.0, "1")
    alone, swinging = (
        tenant.monitor(tenant.score(week(at)), champion=tenant.champion(swing=swing, **known))
        for at, swing in ((6, Swing(0.02**2, 40)), (7, Swing(0.2**2, 40)))
    )
    assert (alone.verdict, swinging.verdict) == ("stable", "stable")
    for number in range(2, 12):
        live(number, 1.6, "2")
    live(12, 0.0, "2")
    live(13, 0.0, "2")
    champion = tenant.champion("2", **known)
    calm = tenant.monitor(tenant.score(week(17), "2"), champion=champion)
    fallen = tenant.monitor(tenant.score(week(18), "2"), champion=champion)
    assert (calm.verdict, fallen.verdict) == ("stable", "drift")
    assert "auc fell to" in fallen.reason


def test_ill_formed_questions_are_refused(tenant: Watched) -> None:
    """Unknown metrics and labels without their columns are errors that name what is known."""
    with pytest.raises(UnknownNameError, match="known: auc, average_precision"):
        tenant.measure(week(1), labels_of([], set()), week(6), "f1")
    with pytest.raises(ConfigError, match="got columns: label"):
        tenant.measure(week(1), pa.table({"label": [1]}), week(6))


def test_outcomes_that_become_far_more_frequent_are_drift(tenant: Watched) -> None:
    """A metric that knows only order stays, but the probabilities are wrong: that is drift too."""
    users = [f"u{i:03}" for i in range(400)]
    order = [(user, 0.05 + 0.3 * i / 400) for i, user in enumerate(users)]
    positive = {user for i, user in enumerate(users) if (i * 7919) % 400 < 100 + i / 2}
    for number in (0, 1):
        tenant.store(week(number), order)
        found = tenant.measure(week(number), labels_of(users, positive), week(6))
    assert found is not None
    usual = {"metric": "auc", "value": found.value, "low": 0.0, "high": 1.0}
    usual["calibration_swing"] = Swing(0.1**2, 40)  # type: ignore[assignment]
    reference = tenant.champion().read()
    rates = pa.array(np.linspace(0.05, 0.35, reference.num_rows))
    reference = reference.set_column(reference.num_columns - 1, "prediction", rates)
    policy = replace(POLICY, prediction_threshold=99.0)
    for rate, verdict in ((0.2, "drift"), (0.4, "stable"), (float("nan"), "stable")):
        champion = tenant.champion(reference=reference, outcome_rate=rate, **usual)
        assert tenant.monitor(tenant.score(week(6)), champion=champion, policy=policy).verdict == (
            verdict
        ), rate
    assert "calibration" not in tenant.figures()
