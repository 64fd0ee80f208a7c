"""Cuts time into training snapshots and a later holdout, so that no label leaks into the other."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from include.use_cases.declaration import UseCase


@dataclass(frozen=True)
class Windows:
    """Instants at which entities are looked at, oldest first; a label spans one horizon more.

    Every training label ends before the first holdout snapshot. `known_until` is how far the data
    reached when the cut was made.
    """

    training: tuple[datetime, ...]
    holdout: tuple[datetime, ...]
    known_until: datetime

    def inner(self, horizon: timedelta) -> tuple[tuple[datetime, ...], datetime | None]:
        """Training split once more: snapshots to fit on, and a later one to choose by.

        The latter is None where the labels would overlap.
        """
        if not self.training:
            return (), None
        last = self.training[-1]
        earlier = tuple(at for at in self.training if at + horizon <= last)
        return (earlier, last) if earlier else (self.training, None)


def plan(
    use_case: UseCase, first_event: datetime | None, last_event: datetime | None, as_of: datetime
) -> Windows:
    """The windows for a training at `as_of`, given the data's first and last event.

    Whole days without data at the end are days of which nothing is known, not days on which
    everybody stayed away: the windows move back by them.
    """
    rules, horizon = use_case.snapshots, use_case.reach
    if first_event is None or last_event is None:
        return Windows((), (), as_of)
    known_until = as_of - timedelta(days=max(0, (as_of - last_event) // timedelta(days=1)))
    oldest = first_event + rules.minimum_history
    newest = known_until - horizon
    for count in range(rules.holdout, 0, -1):
        holdout = _steps(newest, rules.every, count, oldest)
        if not holdout:
            return Windows((), (), known_until)
        training = _steps(holdout[0] - horizon, rules.every, rules.training, oldest)
        if training:
            return Windows(training, holdout, known_until)
    return Windows((), holdout, known_until)


def _steps(
    newest: datetime, every: timedelta, count: int, oldest: datetime
) -> tuple[datetime, ...]:
    found = (newest - every * step for step in reversed(range(count)))
    return tuple(at for at in found if at >= oldest)
