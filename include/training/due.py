"""Decides whether a tenant's use case is due for training: a pure function, with a reason."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from include.wall_clock import PLATFORM, local_day


@dataclass(frozen=True)
class TrainingState:
    """The facts that the decision about one tenant and use case needs."""

    last_decided_at: datetime | None  #: `as_of` of the last promotion decision
    retrain_every: timedelta
    champion: bool  #: whether a champion reads the features as they are declared now
    global_version: str  #: the global champion's version; empty where there is none
    considered_global: str  #: the global version that the last decision looked at
    rows: int  #: accepted events
    minimum_rows: int
    trainings_today: int
    trainings_per_day: int
    data_loss: bool = False  #: rows of the interval are missing
    timezone: str = PLATFORM  #: the tenant's, which days are told in


@dataclass(frozen=True)
class Due:
    """The answer; the reason is a sentence either way."""

    due: bool
    reason: str


def is_due(state: TrainingState, as_of: datetime) -> Due:
    """Whether to train at `as_of`. The quota comes first, then the lack of a champion."""
    if state.trainings_today >= state.trainings_per_day:
        return Due(
            False,
            f"the quota of {state.trainings_per_day} trainings a day is used up "
            f"({state.trainings_today} today)",
        )
    if state.data_loss:
        return Due(False, "data of the interval, or part of it, never arrived")
    if state.rows == 0:
        return Due(False, "there are no accepted events yet")
    if not state.champion:
        return Due(True, "no champion serves the current features yet")
    last = state.last_decided_at
    on = "" if last is None else local_day(last, state.timezone)
    if last is not None and last > as_of:
        return Due(False, f"a later training was already decided, as of {on}")
    if state.global_version and state.global_version != state.considered_global:
        seen = f"version {state.considered_global}" if state.considered_global else "none"
        return Due(True, f"global version {state.global_version} is new (last considered: {seen})")
    if last is not None and as_of - last < state.retrain_every:
        next_at = last + state.retrain_every
        return Due(
            False,
            f"trained as of {on}, next due on {local_day(next_at, state.timezone)} "
            f"(every {state.retrain_every.days} days)",
        )
    if state.rows < state.minimum_rows:
        return Due(
            False, f"{state.rows:,} events are fewer than the {state.minimum_rows:,} it takes"
        )
    if last is None:
        return Due(True, "it has never been trained")
    return Due(True, f"last trained as of {on}, {(as_of - last).days} days ago")
