"""Which stretches of a source's days are lost, and which dips are ordinary."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import numpy.typing as npt
import pytest

from include.quality.expectation import Series
from include.quality.feasts import easter_sunday, feasts
from include.quality.losses import LONGEST, Loss, expected_rows, find_losses

START = datetime(2024, 1, 1, tzinfo=UTC)  # a Monday
DAY = timedelta(days=1)
WEEKDAYS = np.array([1.2, 1.0, 1.0, 1.1, 1.3, 0.9, 0.5])
Counts = npt.NDArray[np.int64]


def usual(days: int, level: float = 200.0, seed: int = 1, growth: float = 0.0) -> Counts:
    """Poisson counts with weekdays; `growth` is that of the logarithm in a month."""
    day = np.arange(days)
    rate = level * WEEKDAYS[day % 7] * np.exp(growth * day / 30)
    return np.random.default_rng(seed).poisson(rate).astype(np.int64)


def series(rows: Counts, closed: tuple[int, ...] = (), step: timedelta = DAY) -> Series:
    """Rows from the start on, of which some days are closed."""
    open_ = np.ones(len(rows), dtype=bool)
    open_[list(closed)] = False
    return Series(START, step, np.asarray(rows, dtype=np.int64), open_, np.ones(len(rows)))


def days(found: tuple[Loss, ...]) -> list[tuple[int, int]]:
    """Losses as days since the start."""
    return [((one.start - START) // DAY, (one.end - START) // DAY) for one in found]


def lost(rows: Counts, **how: tuple[int, ...]) -> list[tuple[int, int]]:
    """Days that are found to be lost."""
    return days(find_losses(series(rows, **how)))


@pytest.mark.parametrize("left", [0.0, 0.13, 0.22, 0.4])
@pytest.mark.parametrize(("first", "last"), [(90, 91), (90, 96), (95, 99), (70, 100), (99, 100)])
def test_an_outage_is_lost_for_the_days_it_lasted(left: float, first: int, last: int) -> None:
    """Of any length, at any phase, whatever is left of the rows; those beside it are not."""
    rows = usual(100)
    rows[first:last] = rows[first:last] * left
    assert lost(rows) == [(first, last)]


def test_two_outages_do_not_blur_each_other() -> None:
    """One that comes right after another is found, and judged by what was before both."""
    rows = usual(120)
    rows[80:90] = 0
    rows[93:100] = rows[93:100] // 5
    assert lost(rows) == [(80, 90), (93, 100)]


@pytest.mark.parametrize(
    "rows",
    [
        usual(400),
        usual(400, level=3, seed=2),
        usual(400, level=12, seed=3),
        usual(400, growth=0.3),
        usual(400, level=2_000, growth=-0.25),
        np.array([round(1_000 * 0.8**n) for n in range(20) for _ in range(7)]),
        np.zeros(100, dtype=np.int64),
        np.where(np.arange(200) % 7 == 6, 0, usual(200)),
        np.where(np.arange(200) % 7 == 0, usual(200, level=900), 0),
        np.concatenate([np.zeros(60, dtype=np.int64), usual(100)]),
        np.where((np.arange(200) >= 100) & (np.arange(200) < 107), usual(200) * 3 // 4, usual(200)),
        np.where(np.isin(np.arange(200), [120, 121]), usual(200) * 20, usual(200)),
    ],
    ids=[
        "steady",
        "three rows a day",
        "twelve rows a day",
        "growing by a third a month",
        "shrinking by a fifth a month",
        "shrinking by a fifth a week",
        "never any data",
        "closed on Sundays",
        "once a week",
        "began later than its history",
        "a slow week",
        "a sale",
    ],
)
def test_what_is_ordinary_is_not_lost(rows: Counts) -> None:
    """No dip that the past, its weekdays, its trend or chance explain."""
    assert lost(rows) == []


def test_little_history_expects_nothing() -> None:
    """Four weeks have to be known before a day can be missed."""
    for known in (10, 20, 27):
        rows = usual(known + 1)
        rows[-1] = 0
        assert lost(rows) == []
        past = series(rows)
        assert (expected_rows(past, (), past.at(known), past.end) is None) == (known < 28)


def test_closed_days_are_neither_missed_nor_a_past() -> None:
    """Two weeks announced as closed are no loss; an outage around them is one loss with them."""
    rows = usual(120)
    rows[90:104] = 0
    assert lost(rows, closed=tuple(range(90, 104))) == []
    assert lost(rows, closed=tuple(range(94, 100))) == [(90, 104)]


def test_a_dip_of_the_year_before_is_expected_again() -> None:
    """The same weeks a year before explain a dip as deep, and not a deeper one."""
    rows = usual(500)
    rows[100:107] = rows[100:107] // 4
    rows[100 + 364 + 3 : 107 + 364 + 3] = rows[100 + 364 + 3 : 107 + 364 + 3] // 4
    assert lost(rows) == [(100, 107)]
    rows[100 + 364 + 3 : 107 + 364 + 3] = 0
    assert lost(rows) == [(100, 107), (467, 474)]


def test_many_short_dips_are_what_the_days_are_like() -> None:
    """Three days of a year without rows are losses; with a fourth they are its own feasts."""
    rows = usual(330)
    rows[[60, 120, 200]] = 0
    assert lost(rows) == [(60, 61), (120, 121), (200, 201)]
    rows[280] = 0
    assert lost(rows) == []


def test_what_stays_is_the_new_level() -> None:
    """A part that is gone for nine weeks is not expected any more; nothing at all always is."""
    rows = usual(300)
    rows[100:] = rows[100:] // 3
    assert lost(rows) == [(100, 100 + LONGEST // DAY)]
    rows[250:] = 0
    assert lost(rows) == [(100, 100 + LONGEST // DAY), (250, 300)]
    rows[100:] = 0
    assert lost(rows) == [(100, 300)]


def test_later_days_do_not_change_what_earlier_ones_were() -> None:
    """What a run found lost, later runs find too."""
    rows = usual(160)
    rows[100:112] = rows[100:112] // 5
    for known in range(102, 160, 6):
        assert lost(rows[:known]) == [(100, min(112, known))]


def test_shorter_intervals_are_judged_in_their_own_cells() -> None:
    """Nights without rows are usual; ten hours of a day's business are an outage of ten hours."""
    hours = np.arange(24 * 60)
    rate = np.where(hours % 24 < 6, 0.0, 40.0)
    rows = np.random.default_rng(1).poisson(rate).astype(np.int64)
    hourly = timedelta(hours=1)
    assert find_losses(series(rows, step=hourly)) == ()
    rows[24 * 50 + 8 : 24 * 50 + 18] = 0
    (found,) = find_losses(series(rows, step=hourly))
    assert (found.start, found.end) == (
        START + 50 * DAY + 8 * hourly,
        START + 50 * DAY + 18 * hourly,
    )


def test_what_arrives_late_is_expected_late() -> None:
    """Of a day of which a quarter is usually known by now, a quarter is enough."""
    rows = usual(100)
    rows[-1] = rows[-1] // 4
    assert lost(rows) == [(99, 100)]
    known = np.ones(100)
    known[-1] = 0.25
    late = series(rows)
    assert find_losses(Series(late.start, late.step, late.rows, late.open, known)) == ()


@pytest.mark.parametrize(
    ("year", "easter"),
    [(2017, date(2017, 4, 16)), (2024, date(2024, 3, 31)), (2038, date(2038, 4, 25))],
)
def test_feasts_move_with_easter(year: int, easter: date) -> None:
    """Good Friday to Easter Monday, and the fourth Thursday of November."""
    assert easter_sunday(year) == easter
    assert {easter - 2 * DAY, easter, easter + DAY, date(year, 12, 25)} <= feasts(year)
    (thanksgiving,) = (day for day in feasts(year) if day.month == 11)
    assert (thanksgiving.weekday(), (thanksgiving.day - 1) // 7) == (3, 3)
