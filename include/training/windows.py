"""Cuts time into training snapshots and a later holdout, so that no label leaks into the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from include.handoffs import LostDays
from include.use_cases.declaration import UseCase
from include.use_cases.losses import label_reaches


@dataclass(frozen=True)
class TrainingWindows:
    """Instants at which entities are looked at, oldest first; a label spans one horizon more.

    Every training label ends before the first holdout snapshot. `known_until` is how far the data
    reached when the cut was made.
    """

    training: tuple[datetime, ...]
    holdout: tuple[datetime, ...]
    known_until: datetime
    #: Later than the oldest of them and not among them, as their labels reach into lost days.
    left_out: tuple[datetime, ...] = ()

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
    use_case: UseCase,
    first_event: datetime | None,
    last_event: datetime | None,
    as_of: datetime,
    lost: Sequence[LostDays] = (),
) -> TrainingWindows:
    """The windows for a training at `as_of`, given the data's first and last event.

    Whole days without data at the end are days of which nothing is known, not days on which
    everybody stayed away: the windows move back by them. So they do around lost days.

    Args:
        lost: of the events that labels are made of.
    """
    rules, horizon = use_case.snapshots, use_case.reach
    if first_event is None or last_event is None:
        return TrainingWindows((), (), as_of)
    known_until = as_of - timedelta(days=max(0, (as_of - last_event) // timedelta(days=1)))
    oldest = first_event + rules.minimum_history
    newest = known_until - horizon
    training: tuple[datetime, ...] = ()
    holdout: tuple[datetime, ...] = ()
    skipped: set[datetime] = set()
    for count in range(rules.holdout, 0, -1):
        skipped = set()
        holdout = _steps(use_case, newest, count, oldest, lost, skipped)
        if not holdout:
            break
        before = holdout[0] - horizon
        training = _steps(use_case, before, rules.training, oldest, lost, skipped)
        if training:
            break
    return TrainingWindows(training, holdout, known_until, tuple(sorted(skipped)))


def _steps(
    use_case: UseCase,
    newest: datetime,
    count: int,
    oldest: datetime,
    lost: Sequence[LostDays],
    skipped: set[datetime],
) -> tuple[datetime, ...]:
    """The newest `count` snapshots whose labels are known, oldest first; `skipped` gets others."""
    found: list[datetime] = []
    at = newest
    while len(found) < count and at >= oldest:
        if label_reaches(use_case, at, lost):
            skipped.add(at)
        else:
            found.append(at)
        at -= use_case.snapshots.every
    return tuple(reversed(found))
