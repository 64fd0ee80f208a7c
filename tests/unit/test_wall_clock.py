"""Instants and days as people read and write them."""

from __future__ import annotations

import doctest
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include import wall_clock
from include.wall_clock import instant_in, local, local_day, localised, midnight, reread, reread_day

ZONES = sorted(available_timezones() - {"localtime", "Factory", "posixrules"})


def at(text: str) -> datetime:
    """An instant."""
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("instant", "timezone", "shown"),
    [
        ("2024-03-31T00:59+00:00", "Europe/Vienna", "2024-03-31 01:59 CET"),
        ("2024-03-31T01:00+00:00", "Europe/Vienna", "2024-03-31 03:00 CEST"),
        ("2024-03-10T06:59+00:00", "America/New_York", "2024-03-10 01:59 EST"),
        ("2024-03-10T07:00+00:00", "America/New_York", "2024-03-10 03:00 EDT"),
        ("2024-11-03T05:30+00:00", "America/New_York", "2024-11-03 01:30 EDT"),
        ("2024-11-03T06:30+00:00", "America/New_York", "2024-11-03 01:30 EST"),
        ("2024-06-02T18:30+00:00", "Asia/Kolkata", "2024-06-03 00:00 IST"),
        ("2024-06-02T10:00+00:00", "Pacific/Kiritimati", "2024-06-03 00:00 UTC+14"),
        ("2024-06-02T10:00+00:00", "Asia/Kathmandu", "2024-06-02 15:45 UTC+0545"),
        ("2024-06-02T12:00+02:00", "UTC", "2024-06-02 10:00 UTC"),
    ],
)
def test_an_instant_is_told_on_the_zones_clocks_with_its_name(
    instant: str, timezone: str, shown: str
) -> None:
    """Also where the clocks change, and where an hour comes twice."""
    assert local(at(instant), timezone) == shown


@pytest.mark.parametrize(
    ("told", "timezone", "instant"),
    [
        ("2024-06-03", "Asia/Kolkata", "2024-06-02T18:30+00:00"),
        ("2024-06-03", "Pacific/Kiritimati", "2024-06-02T10:00+00:00"),
        ("2024-03-10", "America/New_York", "2024-03-10T05:00+00:00"),
        ("2024-03-11", "America/New_York", "2024-03-11T04:00+00:00"),
        ("2024-03-10T02:30", "America/New_York", "2024-03-10T07:30+00:00"),  # left out
        ("2024-11-03T01:30", "America/New_York", "2024-11-03T05:30+00:00"),  # the first of two
        ("2024-06-03T09:00Z", "Asia/Kolkata", "2024-06-03T09:00+00:00"),
        ("2024-06-03T09:00+02:00", "Asia/Kolkata", "2024-06-03T07:00+00:00"),
        ("2024-06-03", "UTC", "2024-06-03T00:00+00:00"),
    ],
)
def test_a_day_begins_at_its_midnight_in_the_zone(told: str, timezone: str, instant: str) -> None:
    """A time without an offset is the zone's, too; one with an offset says itself what it means."""
    assert instant_in(told, timezone) == at(instant)
    assert instant_in(told, timezone).tzinfo is UTC


@given(
    moment=st.integers(31_536_000, 7_226_582_400).map(lambda s: datetime.fromtimestamp(s, UTC)),
    timezone=st.sampled_from(ZONES),
)
def test_day_and_instant_agree_in_every_zone(moment: datetime, timezone: str) -> None:
    """The day that is told begins at or before the instant, and the next one after it; what is
    told begins with it and ends with a name."""
    day = date.fromisoformat(local_day(moment, timezone))
    zone = ZoneInfo(timezone)
    assert moment.astimezone(zone).date() == day
    assert midnight(day, timezone) - timedelta(hours=1) <= moment
    assert moment < midnight(day + timedelta(days=2), timezone)
    shown_day, clock, name = local(moment, timezone).split(" ")
    assert (shown_day, len(clock)) == (f"{day}", 5)
    assert name
    assert name[0].isalpha() or name == "-00"  # as the data base has it of nobody's time
    assert reread_day(moment.isoformat(), timezone) == shown_day
    assert reread(moment.isoformat(), timezone) == local(moment, timezone)


def test_whatever_is_within_is_told_in_the_zone() -> None:
    """Rows of rows, lists and mappings; all else stays as it is."""
    moment = at("2024-06-02T18:30+00:00")
    row = {"since": moment, "of": [moment, {"n": 1, "at": (moment, None)}], "text": "2024"}
    shown = "2024-06-03 00:00 IST"
    assert localised(row, "Asia/Kolkata") == {
        "since": shown,
        "of": [shown, {"n": 1, "at": [shown, None]}],
        "text": "2024",
    }


def test_a_text_that_is_no_instant_stays_as_it_is() -> None:
    """A document may have been made elsewhere; a day's text is no longer than a day."""
    for text in ("now", "2024-13-01T00:00+00:00", "<b>2024</b>", "2024-03-01T00:00"):
        assert reread(text, "Asia/Kolkata") == text
        assert reread_day(text, "Asia/Kolkata") == text[:10]


def test_an_instant_without_a_zone_is_refused() -> None:
    """Nobody knows when that was."""
    with pytest.raises(ValueError, match="has no time zone"):
        local(at("2024-01-01T00:00"), "UTC")


def test_the_examples_are_true() -> None:
    """Those of the docstrings."""
    assert doctest.testmod(wall_clock).failed == 0
