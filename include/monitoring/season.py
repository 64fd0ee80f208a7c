"""Season: a column that differs from the reference is compared with its like of other times.

A window is first compared with the champion's reference. A column that differs from it counts as
unchanged where it looks like the same weeks a year before, or, if the reference holds no window of
this weekday, like the windows of this weekday that were stored while the reference was made. Only
what is much closer to its like than to the reference is excused: its PSI there is below the limit
and at most half of that from the reference. Comparing a period with the same period of earlier
cycles is the seasonal-naive idea (R. Hyndman and G. Athanasopoulos, "Forecasting", 3rd ed., 5.2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from include.monitoring.profiles import Profile, WindowProfile
from include.monitoring.statistics import ColumnDrift, Distance, distance
from include.use_cases.drift_policy import DriftPolicy

#: 52 weeks: the same weekday, a year before.
YEAR: Final = timedelta(days=364)
#: How far a moving feast moves, and a weekly window may be off.
NEAR: Final = timedelta(days=10)
#: Windows of a weekday that may stand in: as long before the champion's training as a reference
#: reaches back, and shortly after, when the model was as good as new.
_BEFORE: Final = timedelta(days=56)
_AFTER: Final = timedelta(days=28)
#: How long before the newest window the oldest is kept.
_KEPT: Final = YEAR + 6 * NEAR
_DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True)
class StoredWindow:
    """An earlier window: what it looked like, and whether it was found to have drifted."""

    as_of: datetime
    model_version: str  #: that made its predictions; empty where none did
    profile: WindowProfile
    drifted: bool = False

    @property
    def keeps_since(self) -> datetime:
        """The instant from which on windows are compared with this one or later ones."""
        return self.as_of - _KEPT


def same_season(windows: Sequence[StoredWindow], as_of: datetime) -> list[StoredWindow]:
    """The windows of about the same days a year before."""
    return [one for one in windows if abs(one.as_of - (as_of - YEAR)) <= NEAR]


def around(trained_as_of: datetime) -> tuple[datetime, datetime]:
    """The two instants between which `same_weekday` looks."""
    return trained_as_of - _BEFORE, trained_as_of + _AFTER


def same_weekday(
    windows: Sequence[StoredWindow], as_of: datetime, trained_as_of: datetime
) -> list[StoredWindow]:
    """The undrifted windows of this weekday from around the champion's training."""
    since, until = around(trained_as_of)
    return [
        one
        for one in windows
        if _weekday(one.as_of) == _weekday(as_of)
        and since <= one.as_of <= until
        and one.as_of < as_of
        and not one.drifted
    ]


def lacks_weekday(reference: WindowProfile, as_of: datetime) -> bool:
    """Whether the reference is known to hold no window of this weekday."""
    return bool(reference.weekdays) and _weekday(as_of) not in reference.weekdays


def wanted(reference: WindowProfile, as_of: datetime, trained_as_of: datetime) -> list[datetime]:
    """A few instants, newest first, whose windows would show the season if they can be built."""
    year = [as_of - YEAR + timedelta(days=days) for days in (7, 0, -7)]
    if not lacks_weekday(reference, as_of):
        return year
    day = trained_as_of.replace(hour=as_of.hour, minute=as_of.minute, second=0, microsecond=0)
    back = (_weekday(day) - _weekday(as_of)) % 7
    newest = day - timedelta(days=back)
    if newest > trained_as_of:
        newest -= timedelta(days=7)
    return [newest - timedelta(days=7 * number) for number in range(2)] + year


def excuse(
    compared: Sequence[ColumnDrift],
    current: Mapping[str, Profile],
    year: Sequence[StoredWindow],
    weekday: Sequence[StoredWindow],
    policy: DriftPolicy,
    as_of: datetime,
) -> tuple[ColumnDrift, ...]:
    """The columns; those that only changed with the season are marked as explained, undrifted."""
    day = _DAYS[_weekday(as_of)]
    likes = [(one, f"as in the same weeks of {one.as_of:%Y}") for one in year]
    likes += [(one, f"as on other {day}s") for one in weekday]
    judged = []
    for column in compared:
        why = ""
        if column.drifted:
            why = next((w for one, w in likes if _alike(column, current, one, policy)), "")
        judged.append(replace(column, drifted=False, explained=why) if why else column)
    return tuple(judged)


def _alike(
    column: ColumnDrift, current: Mapping[str, Profile], like: StoredWindow, policy: DriftPolicy
) -> bool:
    before = like.profile.columns.get(column.column)
    after = current[column.column]
    if before is None or before.kind != after.kind or before.nulls == before.rows:
        return False
    if before.entities < policy.minimum_rows:
        return False
    found = distance(before, after)
    return found.psi < _limit(found, policy) and found.psi <= column.psi / 2


def _limit(found: Distance, policy: DriftPolicy) -> float:
    return max(policy.threshold, found.significant_from(policy.input_level))


def _weekday(instant: datetime) -> int:
    return instant.astimezone(UTC).weekday()
