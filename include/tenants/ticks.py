"""When a schedule ticks in a time zone: as Airflow's cron timetables have it.

A tick in an hour that is left out comes as much later, and one in an hour that comes twice at its
second time. A schedule that ticks in every hour goes from tick to tick by elapsed time instead.
"""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from croniter import croniter


def next_tick(cron: str, zone: ZoneInfo, after: datetime) -> datetime:
    """The first tick after an instant."""
    local = local_time(after, zone)
    ticks = croniter(cron, local)
    tick: datetime = ticks.get_next(datetime)
    if covers_every_hour(ticks):
        return _plain(after) + (tick - local)
    while (end := instant(tick, zone)) <= after:  # left out, or come to already
        tick = ticks.get_next(datetime)
    # where the clocks are changed, what they have shown already may be still to come
    ticks = croniter(cron, local)
    while (earlier := instant(ticks.get_prev(datetime), zone)) > after:
        end = min(end, earlier)
    return end


def covers_every_hour(ticks: croniter) -> bool:
    """Whether Airflow takes the schedule's steps by elapsed time."""
    return bool(ticks.expanded[1] == ["*"])


def local_time(at: datetime, zone: ZoneInfo) -> datetime:
    """What the clocks show, without a zone."""
    return _plain(at).astimezone(zone).replace(tzinfo=None)


def instant(local: datetime, zone: ZoneInfo) -> datetime:
    """When the clocks show it; of two instants, and of two readings of none, the later."""
    return max(local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))


def _plain(at: datetime) -> datetime:
    """In UTC, and of the standard library: sums of Airflow's instants are another thing."""
    return datetime.fromtimestamp(at.timestamp(), UTC)
