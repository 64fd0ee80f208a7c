"""What the port to retrains promises, on its twin in memory and on the real Postgres."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from include.errors import UnknownNameError
from include.monitoring.retrain_effect import Measurement, Method, RetrainEffect
from include.monitoring.retrains import RetrainRequest, Retrains
from include.stores.memory.retrains import InMemoryRetrains
from include.stores.postgres.retrains import PostgresRetrains
from include.tenants.namespace import TenantRef
from tests.unused import unused

pytestmark = pytest.mark.integration

HOUR = timedelta(hours=1)


def week(number: int) -> datetime:
    """A Monday of 2024."""
    return datetime(2024, 1, 1, tzinfo=UTC) + number * timedelta(days=7)


@pytest.fixture(params=["memory", "postgres"])
def retrains(request: pytest.FixtureRequest) -> Retrains:
    """Each of the two in turn."""
    if request.param == "memory":
        return InMemoryRetrains()
    request.getfixturevalue("database")
    return PostgresRetrains()


@pytest.fixture
def tenant() -> TenantRef:
    """A tenant that no other test has used."""
    return TenantRef(unused("emma"), "eu", "pool")


def ask(
    retrains: Retrains,
    tenant: TenantRef,
    as_of: datetime,
    use_case: str = "churn",
    **changes: Any,
) -> bool:
    given: dict[str, Any] = {"decision": "retrain", "reason": "drift", "details": {"n": 1}}
    return retrains.record(tenant, use_case, as_of, **{**given, **changes})


def effect(method: Method, windows: int, **changes: Any) -> RetrainEffect:
    """An effect that so many windows say."""
    measured = tuple(Measurement(week(10 + n), 0.1, 0.01, 30) for n in range(windows))
    given: dict[str, Any] = {
        **{"name": "helped", "method": method, "metric": "auc", "difference": 0.1, "low": 0.05},
        **{"high": 0.15, "as_of": week(9 + windows), "labels": 30 * windows, "windows": measured},
    }
    return RetrainEffect(**{**given, **changes})


def test_the_first_decision_about_an_instant_stays(retrains: Retrains, tenant: TenantRef) -> None:
    """A second decision at the same `as_of` is refused and changes nothing."""
    assert ask(retrains, tenant, week(1))
    assert not ask(retrains, tenant, week(1), decision="suppress", reason="other")
    asked = RetrainRequest("churn", week(1), "retrain", "drift", {"n": 1}, "requested")
    assert retrains.history(tenant, "churn") == [asked]


def test_of_decisions_made_at_once_one_stands(retrains: Retrains, tenant: TenantRef) -> None:
    """One of them is told that it was the first."""
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: ask(retrains, tenant, week(1)), range(8)))
    assert sorted(answers) == [False] * 7 + [True]


def test_only_retrains_are_requests(retrains: Retrains, tenant: TenantRef) -> None:
    """Waiting and suppressing are closed as soon as they are decided."""
    ask(retrains, tenant, week(1), decision="wait")
    ask(retrains, tenant, week(2), decision="suppress")
    assert retrains.open_requests(tenant) == []
    assert {one.state for one in retrains.history(tenant)} == {"closed"}


def test_triggers_see_open_requests_and_recent_ones(retrains: Retrains, tenant: TenantRef) -> None:
    """A taken request is seen by who asks since before it was made, an open one by everybody."""
    began = datetime.now(UTC)
    ask(retrains, tenant, week(2))
    ask(retrains, tenant, week(1), "recommendation")
    ask(retrains, tenant, week(1), decision="wait")
    retrains.mark_triggered(tenant, "churn", week(2), "run")

    def seen(since: datetime) -> list[tuple[str, datetime]]:
        return [(one.use_case, one.as_of) for one in retrains.requests_since(tenant, since)]

    left = [("recommendation", week(1))]
    assert seen(began - HOUR) == [*left, ("churn", week(2))]
    assert seen(began + HOUR) == left
    assert [(one.use_case, one.as_of) for one in retrains.open_requests(tenant)] == left


def test_a_request_is_one_runs(retrains: Retrains, tenant: TenantRef) -> None:
    """The first run gets it, the same run may ask again, another run or no request gets no."""
    ask(retrains, tenant, week(1))
    mark = retrains.mark_triggered
    assert mark(tenant, "churn", week(1), "a")
    assert mark(tenant, "churn", week(1), "a")
    assert not mark(tenant, "churn", week(1), "b")
    assert not mark(tenant, "churn", week(9), "a")
    (asked,) = retrains.history(tenant)
    assert (asked.state, asked.dag_run_id) == ("triggered", "a")


@pytest.mark.parametrize(
    ("before", "after", "helped"), [(0.80, 0.84, True), (0.80, 0.80, False), (0.80, None, None)]
)
def test_the_outcome_says_whether_retraining_helped(
    retrains: Retrains, tenant: TenantRef, before: float, after: float | None, helped: bool | None
) -> None:
    """The metric before and after, on the same holdout, tells; unknown stays unknown."""
    ask(retrains, tenant, week(1))
    retrains.mark_triggered(tenant, "churn", week(1), "a")
    figures: dict[str, Any] = {"before": before, "after": after}
    finished = (tenant, "churn", week(1), "promoted")
    assert retrains.finish(*finished, **figures, details={"version": "2"})  # type: ignore[arg-type]
    assert not retrains.finish(tenant, "churn", week(1), "kept")
    (asked,) = retrains.history(tenant)
    assert (asked.state, asked.outcome) == ("finished", "promoted")
    assert asked.outcome_details == {"version": "2", **figures, "helped": helped}


def test_a_finished_request_cannot_be_triggered_again(
    retrains: Retrains, tenant: TenantRef
) -> None:
    """A late trigger of a request that is done gets no."""
    ask(retrains, tenant, week(1))
    retrains.finish(tenant, "churn", week(1), "failed")
    assert not retrains.mark_triggered(tenant, "churn", week(1), "a")


def test_unknown_outcomes_and_missing_requests(retrains: Retrains, tenant: TenantRef) -> None:
    """An outcome nobody knows is an error that lists the known; a retrain by hand is just no."""
    with pytest.raises(UnknownNameError, match="failed, kept, promoted"):
        retrains.finish(tenant, "churn", week(1), "great")  # type: ignore[arg-type]
    assert not retrains.finish(tenant, "churn", week(1), "promoted")
    ask(retrains, tenant, week(1), decision="wait")
    assert not retrains.finish(tenant, "churn", week(1), "promoted")


def test_an_effect_is_replaced_by_one_that_says_more(retrains: Retrains, tenant: TenantRef) -> None:
    """More windows replace fewer, the same labels replace other weeks, and nothing else does."""
    ask(retrains, tenant, week(1))
    assert not retrains.enter_effect(tenant, "churn", week(1), effect("same labels", 1))
    retrains.finish(tenant, "churn", week(1), "promoted")
    for entered, counts in (
        (effect("before and after", 2), True),
        (effect("before and after", 2, difference=0.2), False),
        (effect("before and after", 3), True),
        (effect("same labels", 1, name=""), True),
        (effect("before and after", 4), False),
        (effect("same labels", 1), False),
        (effect("same labels", 4), True),
    ):
        assert retrains.enter_effect(tenant, "churn", week(1), entered) is counts
        (asked,) = retrains.history(tenant)
        assert (asked.effect == entered) is counts
    assert not retrains.enter_effect(tenant, "churn", week(2), effect("same labels", 4))


def test_what_was_not_promoted_has_no_effect(retrains: Retrains, tenant: TenantRef) -> None:
    """A retrain that kept the champion changed nothing live."""
    ask(retrains, tenant, week(1))
    retrains.finish(tenant, "churn", week(1), "kept")
    assert not retrains.enter_effect(tenant, "churn", week(1), effect("same labels", 1))
    assert retrains.history(tenant)[0].effect is None


def test_tenants_have_their_own_requests(retrains: Retrains, tenant: TenantRef) -> None:
    """A request is invisible to every other tenant, which cannot take it up either."""
    ask(retrains, tenant, week(1))
    other = TenantRef(f"{tenant.id}-b", "eu", "pool")
    assert retrains.history(other) == retrains.open_requests(other) == []
    assert not retrains.mark_triggered(other, "churn", week(1), "a")
    assert not retrains.finish(other, "churn", week(1), "kept")


def change(draw: Random, tenant: TenantRef) -> Callable[[Retrains], bool]:
    """Anything that may happen to a request."""
    key = (tenant, draw.choice(("churn", "demand")), week(draw.randrange(4)))
    made: dict[str, Any] = {"decision": draw.choice(("retrain", "retrain", "wait"))}
    run, outcome = draw.choice("ab"), draw.choice(("promoted", "kept"))
    method = draw.choice(("same labels", "before and after"))
    entered = effect(method, windows=draw.randrange(1, 5))
    return draw.choice(
        (
            lambda twin: ask(twin, key[0], key[2], key[1], **made),
            lambda twin: twin.mark_triggered(*key, run),
            lambda twin: twin.finish(*key, outcome, before=0.5, after=0.6),
            lambda twin: twin.enter_effect(*key, entered),
        )
    )


def test_both_answer_alike_whatever_was_asked(database: Any, tenant: TenantRef) -> None:
    """Requests drawn at random: the twin says of them what Postgres says."""
    twins: tuple[Retrains, ...] = (InMemoryRetrains(), PostgresRetrains())
    draw = Random(7)
    long_ago = datetime(2000, 1, 1, tzinfo=UTC)
    for _ in range(60):
        for question in (
            change(draw, tenant),
            lambda twin: twin.history(tenant),
            lambda twin: twin.history(tenant, "churn"),
            lambda twin: twin.open_requests(tenant),
            lambda twin: twin.requests_since(tenant, long_ago),
        ):
            answers = [question(twin) for twin in twins]
            assert answers[0] == answers[1]
