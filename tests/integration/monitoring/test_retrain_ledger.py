from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.errors import UnknownNameError
from include.monitoring import ledger
from tests.integration.monitoring.conftest import Watched, week

pytestmark = pytest.mark.integration
HOUR = timedelta(hours=1)


def request(tenant: Watched, as_of: datetime, use_case: str = "churn", **changes: Any) -> bool:
    given: dict[str, Any] = {"decision": "retrain", "reason": "drift", "details": {"n": 1}}
    return ledger.record(tenant.config.ref, use_case, as_of, **{**given, **changes})


def test_the_first_decision_about_an_instant_stays(tenant: Watched) -> None:
    """A second decision at the same `as_of` is refused and changes nothing."""
    assert request(tenant, week(1))
    assert not request(tenant, week(1), decision="suppress", reason="other")
    (entry,) = ledger.history(tenant.config.ref, "churn")
    assert (entry.decision, entry.reason, entry.state) == ("retrain", "drift", "requested")


def test_only_retrains_are_requests(tenant: Watched) -> None:
    """Waiting and suppressing are closed as soon as they are decided."""
    request(tenant, week(1), decision="wait")
    request(tenant, week(2), decision="suppress")
    assert ledger.open_requests(tenant.config.ref) == []
    assert {e.state for e in ledger.history(tenant.config.ref)} == {"closed"}


def test_triggers_see_open_requests_and_recent_ones(tenant: Watched) -> None:
    """A taken request is seen by who asks since before it was made, an open one by everybody."""
    began = datetime.now(UTC)
    request(tenant, week(2))
    request(tenant, week(1), "recommendation")
    request(tenant, week(1), decision="wait")
    ledger.mark_triggered(tenant.config.ref, "churn", week(2), "run")

    def seen(since: datetime) -> list[tuple[str, datetime]]:
        found = ledger.requests_since(tenant.config.ref, since)
        return [(e.use_case, e.as_of) for e in found]

    left = [("recommendation", week(1))]
    assert seen(began - HOUR) == [*left, ("churn", week(2))]
    assert seen(began + HOUR) == left
    assert [(e.use_case, e.as_of) for e in ledger.open_requests(tenant.config.ref)] == left


def test_a_request_is_one_runs(tenant: Watched) -> None:
    """The first run gets it, the same run may ask again, another run or no request gets no."""
    request(tenant, week(1))
    mark = ledger.mark_triggered
    assert mark(tenant.config.ref, "churn", week(1), "a")
    assert mark(tenant.config.ref, "churn", week(1), "a")
    assert not mark(tenant.config.ref, "churn", week(1), "b")
    assert not mark(tenant.config.ref, "churn", week(9), "a")
    (entry,) = ledger.history(tenant.config.ref)
    assert (entry.state, entry.dag_run_id) == ("triggered", "a")


@pytest.mark.parametrize(
    ("before", "after", "helped"), [(0.80, 0.84, True), (0.80, 0.80, False), (0.80, None, None)]
)
def test_the_outcome_says_whether_retraining_helped(
    tenant: Watched, before: float, after: float | None, helped: bool | None
) -> None:
    """The metric before and after, on the same holdout, tells; unknown stays unknown."""
    request(tenant, week(1))
    ledger.mark_triggered(tenant.config.ref, "churn", week(1), "a")
    finish = ledger.finish
    assert finish(
        tenant.config.ref,
        "churn",
        week(1),
        "promoted",
        before=before,
        after=after,
        details={"version": "2"},
    )
    assert not finish(tenant.config.ref, "churn", week(1), "kept")
    (entry,) = ledger.history(tenant.config.ref)
    assert (entry.state, entry.outcome) == ("finished", "promoted")
    assert entry.outcome_details == {
        "version": "2",
        "before": before,
        "after": after,
        "helped": helped,
    }


def test_a_finished_request_cannot_be_triggered_again(tenant: Watched) -> None:
    """A late trigger of a request that is done gets no."""
    request(tenant, week(1))
    ledger.finish(tenant.config.ref, "churn", week(1), "failed")
    assert not ledger.mark_triggered(tenant.config.ref, "churn", week(1), "a")


def test_unknown_outcomes_and_missing_requests(tenant: Watched) -> None:
    """An outcome nobody knows is an error that lists the known; a retrain by hand is just no."""
    with pytest.raises(UnknownNameError, match="failed, kept, promoted"):
        ledger.finish(tenant.config.ref, "churn", week(1), "great")  # type: ignore[arg-type]
    assert not ledger.finish(tenant.config.ref, "churn", week(1), "promoted")
    request(tenant, week(1), decision="wait")
    assert not ledger.finish(tenant.config.ref, "churn", week(1), "promoted")


def test_the_past_is_counted_without_the_present(tenant: Watched) -> None:
    """Flight, cooldown and quota look at other instants; a failed retrain starts no cooldown."""
    request(tenant, week(1))
    ledger.finish(tenant.config.ref, "churn", week(1), "promoted")
    request(tenant, week(2))
    ledger.finish(tenant.config.ref, "churn", week(2), "failed")
    request(tenant, week(3))
    request(tenant, week(3), "recommendation")
    past = ledger.past(tenant.config.ref, "churn", week(3))
    assert past.decided is not None
    assert (past.in_flight, past.last_retrain_at, past.retrains_today) == (None, week(1), 1)
    later = ledger.past(tenant.config.ref, "churn", week(4))
    assert (later.decided, later.in_flight, later.last_retrain_at) == (None, week(3), week(3))
