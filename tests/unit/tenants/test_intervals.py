"""Intervals for runs that Airflow gives none."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from include.tenants.config import TenantConfig
from include.tenants.intervals import last_interval, last_tick


def tenant(schedule: str, timezone: str = "UTC") -> TenantConfig:
    return TenantConfig.model_validate(
        {
            "id": "acme",
            "name": "Acme",
            "region": "eu",
            "schedule": schedule,
            "timezone": timezone,
            "history_from": "2024-01-01",
            "use_cases": {"churn": None},
            "sources": [
                {
                    "name": "orders",
                    "connector": {"type": "file", "path": "orders.csv", "format": "csv"},
                    "events": {
                        "event": "Order Completed",
                        "event_id": ["id"],
                        "event_timestamp": "at",
                        "user_id": "user",
                    },
                }
            ],
        }
    )


@pytest.mark.parametrize(
    ("until", "start", "end"),
    [
        ("2024-03-06T12:00", "2024-02-26T00:00", "2024-03-04T00:00"),
        ("2024-03-04T00:00", "2024-02-26T00:00", "2024-03-04T00:00"),  # a tick ends its interval
        ("2024-03-03T23:59", "2024-02-19T00:00", "2024-02-26T00:00"),
    ],
)
def test_takes_the_newest_interval_that_is_over(until: str, start: str, end: str) -> None:
    """The interval ends at the last tick that is not later than the given instant."""
    found = last_interval(tenant("0 0 * * 1"), datetime.fromisoformat(until).replace(tzinfo=UTC))
    assert (found.start, found.end) == (
        datetime.fromisoformat(start).replace(tzinfo=UTC),
        datetime.fromisoformat(end).replace(tzinfo=UTC),
    )


def test_follows_the_tenants_clock_through_a_clock_change() -> None:
    """A daily interval in Vienna has 23 hours on the day the clocks go forward."""
    found = last_interval(tenant("0 0 * * *", "Europe/Vienna"), datetime(2024, 4, 1, tzinfo=UTC))
    assert found.start == datetime(2024, 3, 30, 23, tzinfo=UTC)
    assert found.end - found.start == timedelta(hours=23)


@pytest.mark.parametrize(
    ("schedule", "timezone", "until", "tick"),
    [
        ("0 5 1 * *", "UTC", "2024-06-03T00:00+00:00", "2024-06-01T05:00+00:00"),
        ("0 5 1 * *", "UTC", "2024-06-01T05:00+00:00", "2024-06-01T05:00+00:00"),
        ("0 5 1 * *", "UTC", "2024-06-01T04:59+00:00", "2024-05-01T05:00+00:00"),
        ("30 2 * * *", "Europe/Vienna", "2024-10-27T01:00+00:00", "2024-10-26T00:30+00:00"),
        ("30 2 * * *", "Europe/Vienna", "2024-10-27T01:30+00:00", "2024-10-27T01:30+00:00"),
    ],
)
def test_the_newest_tick_is_never_after_the_instant(
    schedule: str, timezone: str, until: str, tick: str
) -> None:
    """At a tick it is that one; a tick of an hour that comes twice comes at its second time."""
    found = last_tick(schedule, timezone, datetime.fromisoformat(until))
    assert found == datetime.fromisoformat(tick)
