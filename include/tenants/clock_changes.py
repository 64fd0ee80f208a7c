"""Where clocks are changed, and which schedules Airflow loses its way with there.

Airflow goes from one tick to the next, and then asks whether the tick before leads to the same
place. Where the two disagree its intervals leave time out, or it raises, which ends the update of
every DAG of the file (Airflow 3.3: `timetables/_cron.py`, `dag_processing/collection.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from croniter import croniter

from include.tenants.fields import shortest_interval
from include.tenants.ticks import covers_every_hour, local_time

_HOUR: Final = timedelta(hours=1)
_SECOND: Final = timedelta(seconds=1)
#: Changes that a scheduled run can meet: none is scheduled for the time before a tenant was added.
_SINCE: Final = datetime(2024, 1, 1, tzinfo=UTC)
_UNTIL: Final = datetime(2038, 1, 1, tzinfo=UTC)
#: No zone changes its clocks and changes them back within so short a time.
_STEP: Final = timedelta(days=5)


@dataclass(frozen=True)
class ClockChange:
    """An instant from which on the clocks of a zone show something else."""

    at: datetime
    by: timedelta  #: positive where they are put forward


@lru_cache(maxsize=1024)
def clock_changes(timezone: str, since: datetime, until: datetime) -> tuple[ClockChange, ...]:
    """All changes of a zone's clocks after one instant and by another, the earliest first."""
    zone, changes = ZoneInfo(timezone), []
    at, offset = since, _offset(since, zone)
    while at < until:
        end = min(at + _STEP, until)
        if (then := _offset(end, zone)) != offset:
            changes.append(ClockChange(_when(at, end, zone), then - offset))
        at, offset = end, then
    return tuple(changes)


@lru_cache(maxsize=4096)
def first_astray(
    cron: str, timezone: str, since: datetime = _SINCE, until: datetime = _UNTIL
) -> ClockChange | None:
    """The first change of the clocks at which Airflow loses its way with a valid expression."""
    changes = clock_changes(timezone, since, until)
    if _cannot_stray(cron, changes):
        return None
    return next((one for one in changes if _astray(cron, ZoneInfo(timezone), one)), None)


def _cannot_stray(cron: str, changes: tuple[ClockChange, ...]) -> bool:
    """Whether an expression comes over any changes of these sizes, whenever they are made."""
    ticks = croniter(cron)
    if covers_every_hour(ticks):
        every_day = all(field == ["*"] for field in ticks.expanded[2:])
        return every_day and not any(one.by % _HOUR for one in changes)
    return all(one.by <= shortest_interval(cron) for one in changes)


def _astray(cron: str, zone: ZoneInfo, change: ClockChange) -> bool:
    """Whether Airflow does not come over one change."""
    shown = local_time(change.at, zone) - change.by  # had the clocks been left alone
    ticks = croniter(cron, shown - _SECOND)
    first: datetime = ticks.get_next(datetime)
    if not covers_every_hour(ticks):
        # Ticks that are left out come later by the change: no other may tick up to then.
        left_out = first < shown + change.by
        return left_out and ticks.get_next(datetime) < first + change.by
    # Steps are of elapsed time: the clock's ticks have to be where they lead, and from where they
    # came.
    last: datetime = ticks.get_prev(datetime, start_time=first)
    there = first + change.by
    back: datetime = ticks.get_prev(datetime, start_time=there)
    led_there = ticks.get_next(datetime, start_time=there - _SECOND) == there
    return not led_there or back - change.by != last


def _when(start: datetime, end: datetime, zone: ZoneInfo) -> datetime:
    """The first second in which the clocks show what they show at the end."""
    offset = _offset(end, zone)
    while end - start > _SECOND:
        middle = start + (end - start) // _SECOND // 2 * _SECOND
        if _offset(middle, zone) == offset:
            end = middle
        else:
            start = middle
    return end


def _offset(at: datetime, zone: ZoneInfo) -> timedelta:
    offset = at.astimezone(zone).utcoffset()
    assert offset is not None
    return offset
