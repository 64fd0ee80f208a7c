from __future__ import annotations

from datetime import UTC, datetime, timedelta

from include.monitoring.retrains import RetrainRequest, standing

NOON = datetime(2024, 1, 15, 12, tzinfo=UTC)
WEEK = timedelta(days=7)


def request(as_of: datetime, state: str, outcome: str = "", **how: str) -> RetrainRequest:
    return RetrainRequest(
        how.get("use_case", "churn"),
        as_of,
        "wait" if state == "closed" else "retrain",
        "drift",
        {},
        state,
        outcome=outcome,
    )


def test_the_past_is_counted_without_the_present() -> None:
    """Flight, cooldown and quota look at other instants; a failed retrain starts no cooldown."""
    now = request(NOON, "requested")
    requests = [
        request(NOON - 2 * WEEK, "finished", "promoted"),
        request(NOON - WEEK, "finished", "failed"),
        request(NOON - timedelta(hours=1), "closed"),
        now,
        request(NOON, "requested", use_case="recommendation"),
    ]
    known = standing(requests, "churn", NOON)
    assert known.decided is now
    assert (known.in_flight, known.last_retrain_at) == (None, NOON - 2 * WEEK)
    assert known.retrains_today == 1
    later = standing(requests, "churn", NOON + WEEK)
    assert (later.decided, later.in_flight, later.last_retrain_at) == (None, NOON, NOON)
    assert later.retrains_today == 0


def test_without_requests_nothing_stands_in_the_way() -> None:
    """A tenant that never drifted is in no flight, no cooldown and has its whole quota."""
    known = standing([], "churn", NOON)
    assert (known.decided, known.in_flight, known.last_retrain_at) == (None, None, None)
    assert known.retrains_today == 0
