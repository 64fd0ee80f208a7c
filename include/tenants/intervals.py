"""The data intervals of a tenant's schedule, for runs that do not come with one.

They are those of Airflow's `CronDataIntervalTimetable`, through changes of the clocks, too; a
schedule with which Airflow itself loses its way there is refused (`tenants.clock_changes`).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from croniter import croniter

from include.handoffs import Interval
from include.tenants.config import TenantConfig
from include.tenants.ticks import instant, local_time, next_tick

#: No clock is put forward or back by more.
_LARGEST_CHANGE: Final = timedelta(hours=3)


def last_interval(tenant: TenantConfig, until: datetime) -> Interval:
    """The newest interval of the tenant's schedule that is over at `until`."""
    zone = ZoneInfo(tenant.timezone)
    ticks = croniter(tenant.schedule, local_time(until, zone))
    start = instant(ticks.get_prev(datetime), zone)
    # a change of the clocks can bring a tick, and the one before, to an instant after `until`
    while (end := next_end(tenant, start)) > until:
        start = instant(ticks.get_prev(datetime), zone)
    while (following := next_end(tenant, end)) <= until:
        start, end = end, following
    return Interval(start, end)


def last_tick(schedule: str, timezone: str, until: datetime) -> datetime:
    """The newest tick of a schedule that is not after an instant; of one that names its hours."""
    zone = ZoneInfo(timezone)
    ticks = croniter(schedule, local_time(until, zone) + _LARGEST_CHANGE)
    while (tick := instant(ticks.get_prev(datetime), zone)) > until:
        pass
    return tick


def next_end(tenant: TenantConfig, after: datetime) -> datetime:
    """When the schedule's next interval is over: its first tick after an instant."""
    return next_tick(tenant.schedule, ZoneInfo(tenant.timezone), after)
