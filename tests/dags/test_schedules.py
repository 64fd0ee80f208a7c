"""Schedules that a tenant file may hold, as Airflow goes through them.

An error in here would end the update of every tenant's DAGs, not of the one tenant's: Airflow
computes the next runs of a file's DAGs one after the other and catches nothing in between.
"""

from __future__ import annotations

from typing import Any

import pendulum
import pytest
from airflow.timetables.base import TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable
from pydantic import ValidationError

from include.tenants.config import TenantConfig
from include.tenants.intervals import last_interval, next_end

ZONES = ("UTC", "Europe/Vienna", "Australia/Lord_Howe", "America/St_Johns", "Africa/Casablanca")
#: Ordinary and odd, in every field; the worst ones that a search among random ones brought up.
SCHEDULES = (
    "0 * * * *", "5 4 * * *", "30 2 * * *", "0 0 * * 1", "0 0 L * *", "0 0 * * L5", "0 0 * * 5#2",
    "0 0 29 2 1", "59 23 31 12 *", "0 0 1 1 *", "30 2,3 * 3,10 SUN", "0-59/30 2 * * *",
    "38-35 20-23/7 16 feb,MAR 7", "9-59 */7 9 1,11,5 5#2", "32-25/1 */23 14-22 feb,MAR 6-1",
    "0 0-22 * * MON-FRI", "0 1-23 * 2 *", "0 */1 * * *", "0 23-1 * * *",
    # in every hour of some days
    "* * * feb,MAR FRI-MON", "0 * * 9 7", "* * 14 feb,MAR sun", "54-20/4 * * 12-8 0",
    "51 * 12,11 3 7", "23-49/8 */1 * feb,MAR MON", "0 0-23 * * 1",
)  # fmt: skip
OF_SOME_DAYS = SCHEDULES[-7:]
#: Where that hour is left out, Airflow leaves out half an hour of data.
TWICE_IN_THE_HOUR = "0-59/30 2 * * *"
#: Airflow finds no way over half an hour by which clocks are changed.
EVERY_HOUR = ("0 * * * *", "0 */1 * * *")


def tenant(schedule: str, timezone: str, first: str = "2024-01-01") -> TenantConfig:
    """A tenant with a schedule, or a ValidationError."""
    events = {"event": "x", "event_id": ["i"], "event_timestamp": "at", "user_id": "u"}
    connector = {"type": "file", "path": "x", "format": "csv"}
    data: dict[str, Any] = {
        "id": "acme",
        "name": "Acme",
        "region": "eu",
        "timezone": timezone,
        "schedule": schedule,
        "history_from": first,
        "sources": [{"name": "s", "connector": connector, "events": events}],
        "use_cases": {"churn": {}},
    }
    return TenantConfig.model_validate(data)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_airflow_goes_through_every_schedule_that_a_file_may_hold(schedule: str, zone: str) -> None:
    """Run after run, whenever the history begins: each interval begins after the one before."""
    for first in ("1990-01-01", "2024-02-28", "2999-12-31"):
        try:
            config = tenant(schedule, zone, first)
        except ValidationError:
            by_half = zone == "Australia/Lord_Howe" and schedule in EVERY_HOUR
            refused = by_half or schedule in (*OF_SOME_DAYS, TWICE_IN_THE_HOUR)
            assert refused and zone != "UTC"  # noqa: PT018
            continue
        timetable = CronDataIntervalTimetable(config.schedule, pendulum.timezone(config.timezone))
        timetable.validate()
        start = pendulum.instance(config.history_start)
        interval = None
        for _ in range(12):
            info = timetable.next_dagrun_info(
                last_automated_data_interval=interval,
                restriction=TimeRestriction(start, None, catchup=first != "1990-01-01"),
            )
            assert info is not None
            assert interval is None or info.data_interval.start > interval.start
            interval = info.data_interval


@pytest.mark.parametrize("schedule", OF_SOME_DAYS)
def test_what_airflow_stumbles_over_is_refused_where_clocks_are_changed(schedule: str) -> None:
    """Every hour, but not every day: in UTC only. The message tells what to write instead."""
    assert tenant(schedule, "UTC").schedule == schedule
    with pytest.raises(ValidationError, match="name the hours of a day, not all of them"):
        tenant(schedule, "Europe/Vienna")


#: Days before clocks are changed: in Vienna, New York, Lord Howe Island, Cairo and Havana.
CHANGES = ("2023-09-29", "2023-10-26", "2023-11-02", "2024-03-07", "2024-03-29", "2024-04-24")
CHANGING = (
    *("Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Africa/Cairo"),
    *("America/Havana", "Africa/Casablanca"),
)
DAILY = (
    "0 0 * * *",
    "30 2 * * *",
    "0 2 * * *",
    "0 1 * * *",
    "30 0,12 * * *",
    "0 0 * * 0",
    "0 * * * *",
)


@pytest.mark.parametrize("zone", CHANGING)
@pytest.mark.parametrize("schedule", DAILY)
def test_intervals_are_airflows_through_every_change_of_the_clocks(
    schedule: str, zone: str
) -> None:
    """A run by hand has the very interval that Airflow would have given it, and Airflow finds its
    way: ticks that are left out, that come twice and that come as always, before and after."""
    for first in CHANGES:
        try:
            config = tenant(schedule, zone, first)
        except ValidationError as error:
            assert (schedule, zone) == ("0 * * * *", "Australia/Lord_Howe")
            assert "by 30 minutes on 2024-04-07" in str(error)  # noqa: PT017
            continue
        timetable = CronDataIntervalTimetable(config.schedule, pendulum.timezone(config.timezone))
        start = pendulum.instance(config.history_start)
        interval = None
        for number in range(100 if schedule == "0 * * * *" else 6):
            info = timetable.next_dagrun_info(
                last_automated_data_interval=interval,
                restriction=TimeRestriction(start, None, catchup=True),
            )
            assert info is not None
            assert interval is None or info.data_interval.start == interval.end
            interval = info.data_interval
            assert next_end(config, interval.start) == interval.end
            if number % 8 == 0 or number < 6:
                found = last_interval(config, interval.end)
                assert (found.start, found.end) == (interval.start, interval.end)
