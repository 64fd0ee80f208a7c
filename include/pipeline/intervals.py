"""The data intervals of a tenant's schedule, for runs that do not come with one."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from croniter import croniter

from include.handoffs import Interval
from include.tenants.config import TenantConfig


def last_interval(tenant: TenantConfig, until: datetime) -> Interval:
    """The newest interval of the tenant's schedule that is over at `until`."""
    local = until.astimezone(ZoneInfo(tenant.timezone))
    ticks = croniter(tenant.schedule, local)
    # A tick exactly at `until` ends an interval: the iterator itself is strictly before its start.
    end = local if croniter.match(tenant.schedule, local) else ticks.get_prev(datetime)
    start = croniter(tenant.schedule, end).get_prev(datetime)
    return Interval(start.astimezone(UTC), end.astimezone(UTC))


def next_end(tenant: TenantConfig, after: datetime) -> datetime:
    """When the schedule's next interval is over: its first tick after an instant."""
    ticks = croniter(tenant.schedule, after.astimezone(ZoneInfo(tenant.timezone)))
    found: datetime = ticks.get_next(datetime)
    return found.astimezone(UTC)
