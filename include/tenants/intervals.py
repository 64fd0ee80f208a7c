"""The data intervals of a tenant's schedule, for runs that do not come with one.

They are those of Airflow's `CronDataIntervalTimetable`, through changes of the clocks, too; a
schedule with which Airflow itself loses its way there is refused (`tenants.clock_changes`).
"""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from croniter import croniter

from include.handoffs import Interval
from include.tenants.config import TenantConfig
from include.tenants.ticks import instant, local_time, next_tick


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


def next_end(tenant: TenantConfig, after: datetime) -> datetime:
    """When the schedule's next interval is over: its first tick after an instant."""
    return next_tick(tenant.schedule, ZoneInfo(tenant.timezone), after)
