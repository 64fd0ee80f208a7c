"""Retrains: every decision whether to retrain, and what became of each request for one.

A request goes `requested` → `triggered` → `finished`; every other decision is `closed` at once.
There is one decision per tenant, use case and `as_of`. It is made once and never overwritten, and
each change of state is a compare-and-set: repeating a change does nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, Protocol

from include.errors import UnknownNameError
from include.monitoring.retrain_effect import RetrainEffect
from include.tenants.namespace import TenantRef

Decision = Literal["retrain", "wait", "suppress"]
Outcome = Literal["promoted", "kept", "untrained", "failed"]
OUTCOMES: Final = ("promoted", "kept", "untrained", "failed")
#: How long the run of a later interval waits for a request that no run has taken up, which
#: `drift_watch` does within seconds if it is not paused, and for one that a run is at work on.
TO_BE_TAKEN_UP: Final = timedelta(minutes=2)
TO_BE_DONE: Final = timedelta(hours=1)
#: Outcomes of requests in which nothing was trained: they start no cooldown.
_NO_TRAINING: Final = ("untrained", "failed")


@dataclass(frozen=True)
class RetrainRequest:
    """Whether to retrain at an instant, as decided, and what became of it.

    Only the decision `retrain` asks for anything; the others are kept beside it with their reasons.
    """

    use_case: str
    as_of: datetime
    decision: Decision
    reason: str
    details: Mapping[str, Any]
    state: str  #: `closed`, `requested`, `triggered` or `finished`
    dag_run_id: str = ""
    outcome: str = ""  #: `promoted`, `kept`, `untrained`, `failed`, or empty until finished
    #: `before`, `after` and `helped` once finished, see `outcome_details`.
    outcome_details: Mapping[str, Any] = field(default_factory=dict)
    effect: RetrainEffect | None = None  #: on the live metric; None until something is known


@dataclass(frozen=True)
class RetrainStanding:
    """What earlier decisions mean for the next one, in `as_of` time."""

    decided: RetrainRequest | None  #: the decision at this very `as_of`, if it has been made
    in_flight: datetime | None  #: `as_of` of an earlier request that has not finished
    last_retrain_at: datetime | None  #: `as_of` of the newest other request
    retrains_today: int  #: requests of any use case on the day of `as_of`


class Retrains(Protocol):
    """The port to the retrain requests of every tenant."""

    def record(
        self,
        tenant: TenantRef,
        use_case: str,
        as_of: datetime,
        *,
        decision: Decision,
        reason: str,
        details: Mapping[str, Any],
    ) -> bool:
        """Enter a decision; False where there is one for this `as_of` already, which stays."""

    def open_requests(self, tenant: TenantRef) -> list[RetrainRequest]:
        """Requests that no run has taken up, oldest first."""

    def requests_since(self, tenant: TenantRef, since: datetime) -> list[RetrainRequest]:
        """Requests that are open, or were made since an instant of the wall clock, oldest first."""

    def mark_triggered(
        self, tenant: TenantRef, use_case: str, as_of: datetime, dag_run_id: str
    ) -> bool:
        """Hand the request to a run; False when it is another run's, finished or never was."""

    def finish(
        self,
        tenant: TenantRef,
        use_case: str,
        as_of: datetime,
        outcome: Outcome,
        *,
        before: float | None = None,
        after: float | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> bool:
        """Close a request with what came of it; the first outcome stays.

        Args:
            before: the metric of the champion that the request was about, on the retrain's holdout.
            after: the metric, on the same holdout, of the model that serves from now on.
        Returns:
            False when there is no unfinished request at this `as_of`: a retrain by hand has none.
        Raises:
            UnknownNameError: there is no such outcome.
        """

    def enter_effect(
        self, tenant: TenantRef, use_case: str, as_of: datetime, effect: RetrainEffect
    ) -> bool:
        """Enter what a promoted retrain did to the live metric; see `Effect.replaces`.

        Returns:
            False when what is known stays.
        """

    def history(self, tenant: TenantRef, use_case: str | None = None) -> list[RetrainRequest]:
        """Every decision about one use case, or about all, oldest first."""


def outcome_details(
    outcome: Outcome,
    before: float | None,
    after: float | None,
    details: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The facts that are kept of an outcome, with whether the retrain helped on its holdout.

    Raises:
        UnknownNameError: there is no such outcome.
    """
    if outcome not in OUTCOMES:
        raise UnknownNameError("outcome", outcome, OUTCOMES)
    helped = None if before is None or after is None else after > before
    return {**(details or {}), "before": before, "after": after, "helped": helped}


def to_wait_for(
    requests: Sequence[RetrainRequest],
    use_case: str,
    start: datetime,
    end: datetime,
    waited: timedelta,
) -> RetrainRequest | None:
    """The retrain that decides who serves in an interval, while it is worth waiting for.

    It is as of the interval's start, or of an instant within. One from before, the interval before
    has waited for already: what never ends delays a single run.

    Args:
        requests: of a tenant, as `Retrains.history` gives them.
        waited: for how long a run has waited so far.
    """
    patience = {"requested": TO_BE_TAKEN_UP, "triggered": TO_BE_DONE}
    return next(
        (
            request
            for request in requests
            if request.use_case == use_case
            and start <= request.as_of < end
            and waited < patience.get(request.state, timedelta(0))
        ),
        None,
    )


def standing(requests: Sequence[RetrainRequest], use_case: str, as_of: datetime) -> RetrainStanding:
    """What bears on the decision at `as_of`, which itself does not count.

    Args:
        requests: of all use cases of a tenant, as `Retrains.history` gives them.
    """
    decided = next((r for r in requests if (r.use_case, r.as_of) == (use_case, as_of)), None)
    retrains = [r for r in requests if r.decision == "retrain" and r is not decided]
    mine = [r for r in retrains if r.use_case == use_case]
    running = [r.as_of for r in mine if r.state in ("requested", "triggered")]
    trained = [r.as_of for r in mine if r.outcome not in _NO_TRAINING]
    day = as_of.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    today = [r for r in retrains if day <= r.as_of < day + timedelta(days=1)]
    return RetrainStanding(
        decided, max(running, default=None), max(trained, default=None), len(today)
    )
