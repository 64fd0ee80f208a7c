"""The data intervals of a tenant's schedule, for runs that do not come with one.

They are those of Airflow's `CronDataIntervalTimetable`, through changes of the clocks, too: a tick
in an hour that is left out comes as much later, and one in an hour that comes twice at its second
time. A schedule that ticks in every hour goes by elapsed time instead.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from croniter import croniter

from include.handoffs import Interval
from include.tenants.config import TenantConfig

#: No clock is put forward or back by more.
_LARGEST_CHANGE: Final = timedelta(hours=3)


def last_interval(tenant: TenantConfig, until: datetime) -> Interval:
    """The newest interval of the tenant's schedule that is over at `until`."""
    zone = ZoneInfo(tenant.timezone)
    # from a tick that no change of the clocks can bring too close, go forward as Airflow does
    back = croniter(tenant.schedule, _local(until, zone) - _LARGEST_CHANGE)
    back.get_prev(datetime)
    start = _instant(back.get_prev(datetime), zone)
    end = next_end(tenant, start)
    while (following := next_end(tenant, end)) <= until:
        start, end = end, following
    return Interval(start, end)


def last_tick(schedule: str, timezone: str, until: datetime) -> datetime:
    """The newest tick of a schedule that is not after an instant; of one that names its hours."""
    zone = ZoneInfo(timezone)
    ticks = croniter(schedule, _local(until, zone) + _LARGEST_CHANGE)
    while (tick := _instant(ticks.get_prev(datetime), zone)) > until:
        pass
    return tick


def next_end(tenant: TenantConfig, after: datetime) -> datetime:
    """When the schedule's next interval is over: its first tick after an instant."""
    zone = ZoneInfo(tenant.timezone)
    local = _local(after, zone)
    ticks = croniter(tenant.schedule, local)
    tick: datetime = ticks.get_next(datetime)
    if ticks.expanded[1] == ["*"]:
        return _plain(after) + (tick - local)
    while (found := _instant(tick, zone)) <= after:  # left out, or come to already
        tick = ticks.get_next(datetime)
    return found


def _local(instant: datetime, zone: ZoneInfo) -> datetime:
    """What the clocks show, without a zone."""
    return _plain(instant).astimezone(zone).replace(tzinfo=None)


def _plain(instant: datetime) -> datetime:
    """In UTC, and of the standard library: sums of Airflow's instants are another thing."""
    return datetime.fromtimestamp(instant.timestamp(), UTC)


def _instant(local: datetime, zone: ZoneInfo) -> datetime:
    """When the clocks show it; of two instants, and of two readings of none, the later."""
    return max(local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
