"""Our intervals and Airflow's: the same for every schedule in every zone, from 2000 to 2037.

Where Airflow loses its way at a change of the clocks there is nothing to compare: those schedules
are refused, and no others.
"""

from __future__ import annotations

import random
import zoneinfo
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise

import airflow.timetables.interval as airflow_intervals
import pendulum
import pytest
from airflow.timetables.base import DataInterval, TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable
from croniter import croniter
from pydantic import TypeAdapter, ValidationError

from include.handoffs import Interval
from include.tenants.clock_changes import ClockChange, clock_changes, first_astray
from include.tenants.fields import Cron, Timezone
from include.tenants.intervals import last_interval, next_end

FIRST, LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2038, 1, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
#: Half an hour, a whole day, winter time that is put back, two hours, changes of standard time.
ODD_ZONES = (
    *("Australia/Lord_Howe", "Pacific/Apia", "Pacific/Fakaofo", "Africa/Casablanca"),
    *("Europe/Dublin", "Europe/Vienna", "Europe/Volgograd", "Antarctica/Troll", "Asia/Pyongyang"),
    *("Antarctica/Casey", "Africa/Monrovia", "Africa/Cairo", "Asia/Gaza", "Asia/Colombo"),
    *("Asia/Kathmandu", "Asia/Tehran", "America/Caracas", "America/Havana", "America/St_Johns"),
    *("America/Sao_Paulo", "America/Nuuk", "Pacific/Norfolk", "Pacific/Chatham"),
)
ANY_DAY = ("* * *",)
SOME_DAYS = (
    *("* * 0", "* * 7", "* * SUN", "* * 1", "* * mon-fri", "* * 1#1", "* * L0", "* * 5#2"),
    *("1 * *", "L * *", "1,15 * mon", "31 * *", "29 2 1", "30 12 *", "* 3,10,11 *"),
)


@dataclass(frozen=True)
class Scheduled:
    """As much of a tenant as has to do with its intervals."""

    schedule: str
    timezone: str

    @property
    def timetable(self) -> CronDataIntervalTimetable:
        return CronDataIntervalTimetable(self.schedule, self.timezone)


def accepted(kind: object, value: str) -> bool:
    """Whether a tenant's file may say so."""
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return False
    return True


@lru_cache
def zones() -> list[str]:
    """Every zone that a file may name."""
    return sorted(one for one in zoneinfo.available_timezones() if accepted(Timezone, one))


def drawn_field(draw: random.Random, low: int, high: int, names: list[str] | None = None) -> str:
    """Values, ranges of both directions, steps and names."""
    parts = []
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        first, last, step = draw.randint(low, high), draw.randint(low, high), draw.randint(1, high)
        forms = [f"{first}", f"{first}-{last}", f"*/{step}", f"{first}-{last}/{step}"]
        if names:
            first_name, last_name = draw.choice(names), draw.choice(names)
            forms += [first_name, f"{first_name.upper()}-{last_name}"]
        parts.append(draw.choice(forms))
    return ",".join(parts)


def drawn_schedule(draw: random.Random) -> str:
    """An expression that a file may hold: an ordinary one, or any."""
    while True:
        if draw.random() < 0.5:
            minute = draw.choice(("0", "30", "15,45", "0,30", "*/15", "59", "1-59/7", "*"))
            hours = ("*", "0", "1", "2", "3", "2,3", "0-3", "*/2", "*/6", "1-23", "0,12", "23")
            days = draw.choice((*ANY_DAY * 8, *SOME_DAYS))
            found = f"{minute} {draw.choice(hours)} {days}"
        else:
            limits = ((0, 59, None), (0, 23, None), (1, 31, None), (1, 12, MONTHS))
            fields = [
                "*" if draw.random() < 0.3 else drawn_field(draw, *limit)
                for limit in (*limits, (0, 7, WEEKDAYS))
            ]
            found = " ".join(fields)
        if accepted(Cron, found):
            return found


def drawn_instant(draw: random.Random, zone: str) -> datetime:
    """Near a change of the zone's clocks, or anywhere."""
    changes = clock_changes(zone, FIRST, LAST)
    if not changes or draw.random() < 0.25:
        return FIRST + (LAST - FIRST) * draw.random()
    near = draw.choice((timedelta(0), HOUR / 2, HOUR, 3 * HOUR, DAY, 8 * DAY))
    return draw.choice(changes).at + near * draw.uniform(-1, 1)


def same(interval: Interval, airflows: DataInterval) -> bool:
    """Whether both are about the same time."""
    return (interval.start, interval.end) == (airflows.start, airflows.end)


def following(timetable: CronDataIntervalTimetable, interval: Interval) -> DataInterval:
    """The interval that Airflow schedules after one."""
    info = timetable.next_dagrun_info(
        last_automated_data_interval=DataInterval(
            pendulum.instance(interval.start), pendulum.instance(interval.end)
        ),
        restriction=TimeRestriction(None, None, catchup=True),
    )
    assert info is not None
    return info.data_interval


def begun_at(timetable: CronDataIntervalTimetable, now: datetime) -> DataInterval:
    """The interval that Airflow schedules for a DAG that it meets now."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(airflow_intervals, "utcnow", lambda: pendulum.instance(now))
        info = timetable.next_dagrun_info(
            last_automated_data_interval=None, restriction=TimeRestriction(None, None, False)
        )
    assert info is not None
    return info.data_interval


def compare(seed: int, pairs: int) -> int:
    """Compare drawn pairs of schedule and zone, each about a drawn instant; how many of them."""
    draw, compared = random.Random(seed), 0
    for _ in range(pairs):
        zone = draw.choice(ODD_ZONES if draw.random() < 0.5 else zones())
        tenant, now = Scheduled(drawn_schedule(draw), zone), drawn_instant(draw, zone)
        ours = [last_interval(tenant, now)]
        ours.insert(0, last_interval(tenant, ours[0].start))
        for _ in range(2):
            ours.append(Interval(ours[-1].end, next_end(tenant, ours[-1].end)))
        told = f"{tenant} at {now}"
        assert ours[1].end <= now < ours[2].end, told
        assert all(one.end == other.start for one, other in pairwise(ours)), told
        # a tick that is left out can come up to a day after the change
        if first_astray(tenant.schedule, zone, ours[0].start - DAY, ours[-1].end):
            continue
        compared += 1
        timetable = tenant.timetable
        for one, other in pairwise(ours):
            assert same(other, following(timetable, one)), told
        by_hand = timetable.infer_manual_data_interval(run_after=pendulum.instance(now))
        for airflows in (by_hand, begun_at(timetable, now)):
            # minutes that come twice make Airflow give what is not over yet, or what has no length
            over = airflows.start < airflows.end <= now
            assert not over or same(ours[1], airflows), told
            assert over or clock_changes(zone, now - DAY, now + DAY), told
    return compared


def strays(tenant: Scheduled, change: ClockChange, draw: random.Random) -> bool:
    """Whether Airflow, played over one change of the clocks, gives other intervals than it should.

    It leaves time out, goes back, raises, or ticks where the clocks show no tick of the schedule.
    """
    timetable = tenant.timetable
    last = last_interval(tenant, change.at - timedelta(seconds=1))
    upcoming = Interval(last.end, next_end(tenant, last.end))
    try:
        if not same(upcoming, following(timetable, last)):
            return True
        if following(timetable, upcoming).start != upcoming.end:
            return True
        for _ in range(8):
            now = change.at + (upcoming.end - change.at) * draw.random()
            newest = upcoming if upcoming.end <= now else last
            for airflows in (
                begun_at(timetable, now),
                timetable.infer_manual_data_interval(run_after=pendulum.instance(now)),
            ):
                if airflows.start < airflows.end <= now and not same(newest, airflows):
                    return True
    except (AssertionError, ValueError):
        return True
    local = upcoming.end.astimezone(zoneinfo.ZoneInfo(tenant.timezone)).replace(tzinfo=None)
    by_elapsed_time = croniter(tenant.schedule).expanded[1] == ["*"]
    return by_elapsed_time and not croniter.match(tenant.schedule, local)


def compare_refusals(seed: int, pairs: int) -> int:
    """Play drawn pairs over a drawn change of the clocks; how many Airflow does not come over."""
    draw, astray = random.Random(seed), 0
    for _ in range(pairs):
        zone = draw.choice(ODD_ZONES if draw.random() < 0.6 else zones())
        changes = clock_changes(zone, FIRST, LAST)
        if not changes:
            continue
        tenant, change = Scheduled(drawn_schedule(draw), zone), draw.choice(changes)
        begin = last_interval(tenant, change.at - timedelta(seconds=1)).end
        if clock_changes(zone, begin, next_end(tenant, begin)) not in ((change,), ()):
            continue  # two changes can make good for each other: each is judged by itself
        refused = first_astray(
            tenant.schedule, zone, change.at - timedelta(seconds=1), change.at + HOUR / 60
        )
        assert strays(tenant, change, draw) == (refused is not None), f"{tenant} {change}"
        astray += refused is not None
    return astray


@pytest.mark.parametrize("seed", range(10))
def test_intervals_are_airflows_for_every_schedule_in_every_zone(seed: int) -> None:
    """The last complete one, those around it, the one of a run by hand and the first scheduled."""
    assert compare(seed, 800) > 650


@pytest.mark.parametrize("seed", range(4))
def test_what_is_refused_is_what_airflow_does_not_come_over(seed: int) -> None:
    """Neither more nor less: each drawn pair is played over one change of the clocks."""
    assert compare_refusals(100 + seed, 500) > 25


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
def test_intervals_are_airflows_in_a_larger_draw(seed: int) -> None:
    """As above, with other seeds."""
    assert compare(1_000 + seed, 5_000) > 4_000
    assert compare_refusals(2_000 + seed, 5_000) > 250


@pytest.mark.parametrize("zone", ["Europe/Vienna", "Australia/Lord_Howe", "Africa/Casablanca"])
def test_runs_of_every_night_of_a_year_leave_nothing_out(zone: str) -> None:
    """`30 2 * * *` and a run each night: the intervals join, and each is the one Airflow has."""
    tenant = Scheduled("30 2 * * *", zone)
    played = [
        last_interval(tenant, datetime(2024, 1, 2, 4, tzinfo=zoneinfo.ZoneInfo(zone)) + DAY * night)
        for night in range(366)
    ]
    assert all(one.end == other.start for one, other in pairwise(played))
    timetable = tenant.timetable
    assert all(same(other, following(timetable, one)) for one, other in pairwise(played))
    lengths = {one.end - one.start for one in played}
    assert max(lengths) <= DAY + HOUR
    assert min(lengths) >= DAY - HOUR
    assert len(lengths) > 1
