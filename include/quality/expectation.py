"""What a source should deliver, by its own past: level, weekday, season, and their spread.

Everything is said for all stretches at once: a stretch is a start and a length in cells, and what
is said of it rests on the clean cells before its start, those neither closed nor lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincc

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Cells = npt.NDArray[np.int64]

DAY: Final = timedelta(days=1)
LEVEL: Final = 28  #: days that the level is the mean of
PROFILE: Final = 56  #: days that the weekday's share is taken from
QUARTER: Final = 13  #: weeks whose median bounds the level
SPREAD: Final = 182  #: days that the spread is measured on
#: Days below which nothing is expected; as many again are forecast before anything is judged.
MINIMUM_PAST: Final = 14
YEAR: Final = 364  #: days: the same weekday, a year before
NEAR: Final = 10  #: days by which a moving feast moves
DIP: Final = 0.01  #: chance below which a stretch of the year before was a dip
SHALLOW: Final = 0.9  #: share of the expected rows above which it was none
CLOSED: Final = 2  #: weeks without a row after which a weekday is one of rest
PEAK: Final = 1.5  #: times the median week that a peak is expected to last at
SPIKE: Final = 3.0  #: deviations above the usual that count at most
#: What a short past is filled up with: the variance of weeks, and how many weeks that is worth.
WEEKS_SPREAD: Final = 0.1**2
WEEKS_WORTH: Final = 4
LEAST_SPREAD: Final = 0.05**2  #: no business is steadier than that


@dataclass(frozen=True)
class Series:
    """Rows of one source by when they happened, in cells of equal length, as known at its end."""

    start: datetime
    step: timedelta  #: of a cell: a day, or a whole part of one
    rows: Cells  #: shape (cells,)
    #: False where nothing can be concluded: announced closures, feasts, what was never asked for.
    open: Bools
    known: Floats  #: share of a cell's rows that is known so long after it, as a rule

    @property
    def end(self) -> datetime:
        """Of the last cell."""
        return self.at(len(self.rows))

    @property
    def judged_since(self) -> datetime:
        """From where on the past is long enough for a loss to be found."""
        return self.at(2 * MINIMUM_PAST * self.a_day)

    @property
    def judged_until(self) -> datetime:
        """End of the last open cell; of later ones nothing can be concluded yet."""
        there = np.flatnonzero(self.open)
        return self.at(int(there[-1]) + 1 if len(there) else 0)

    @property
    def a_day(self) -> int:
        """Cells in a day."""
        return DAY // self.step

    def at(self, cell: int) -> datetime:
        """Start of a cell."""
        return self.start + int(cell) * self.step

    def cell(self, at: datetime) -> int:
        """The cell that an instant lies in, which may be before the first or after the last."""
        return (at - self.start) // self.step

    def since(self, cell: int) -> Series:
        """The series from a cell on."""
        parts = (self.rows[cell:], self.open[cell:], self.known[cell:])
        return Series(self.at(cell), self.step, *parts)


@dataclass(frozen=True)
class ExpectedRows:
    """What stretches should hold; NaN where the past is too short. Shapes are (starts, lengths)."""

    rows: Floats
    worth: Floats  #: how many independent rows that is: mean² / variance of a quasi-Poisson count


@dataclass(frozen=True)
class _Misses:
    due: Floats  #: NaN where a stretch is not clean as a whole
    came: Floats

    def square(self, most: Floats) -> Floats:
        """By how much forecasts missed, where they may be exceeded by so much at most."""
        missed = np.minimum(self.came - self.due, np.minimum(most, self.due))
        return np.asarray(missed**2, dtype=np.float64)


class UsualVolume:
    """The past of one series, without what is lost."""

    def __init__(self, series: Series, lost: Bools) -> None:
        self.series = series
        self._a_day = series.a_day
        self._week = 7 * series.a_day
        clean = series.open & ~lost
        #: Clean cells before each cell: where its past ends in the arrays of clean cells.
        self._before = np.concatenate([[0], np.cumsum(clean)])
        self._cells = np.flatnonzero(clean)
        rate = series.rows[clean] / series.known[clean]
        self._rate = self._without_spikes(rate)
        self._counted = np.where(series.open, series.rows, 0)

    def rows(self, starts: Cells, lengths: Cells) -> Floats:
        """What stretches hold of open cells."""
        return sums(self._counted, starts, lengths)

    def expected(self, starts: Cells, lengths: Cells) -> ExpectedRows:
        """What stretches of these lengths should hold, each by what was before its start."""
        rows = self._mean(starts, lengths)
        place = self._before[starts]
        ready = place >= 2 * self._days(MINIMUM_PAST)
        index, week = (one[place, None] for one in self._spread)
        level = self._level[place, None] * self._days(LEVEL)
        length = lengths / self._a_day
        excess = (
            week * np.log(np.clip(length, 1, 7)) / np.log(7) * np.minimum(1, np.sqrt(7 / length))
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            variance = index / rows + index / level + excess + LEAST_SPREAD
            return ExpectedRows(np.where(ready[:, None], rows, np.nan), 1 / variance)

    def by_last_week(self, starts: Cells, lengths: Cells) -> ExpectedRows:
        """The same by the level of the last seven days alone, which follows a decline."""
        found = self.expected(starts, lengths)
        place = self._before[starts]
        last = _windowed(self._rate[:, None], self._week)[place]
        usual = self._level[place, None] * self._week
        index, excess = (one[place, None] for one in self._spread)
        with np.errstate(divide="ignore", invalid="ignore"):
            return ExpectedRows(
                found.rows * last / usual, 1 / (1 / found.worth + index / last + excess)
            )

    def between(self, known_at: int, start: int, end: int) -> tuple[float, float]:
        """Rows and worth of the cells `[start, end)` by what was before `known_at`, season too."""
        begins = np.array([known_at])
        whole = self.expected(begins, np.array([end - known_at])).rows[0, 0]
        before = 0.0
        if start > known_at:
            before = self.expected(begins, np.array([start - known_at])).rows[0, 0]
        length = np.array([end - start])
        season = self.season(begins, length)[0, 0]
        worth = self.expected(begins, length).worth[0, 0]
        return float((whole - before) * season), float(worth * season)

    def season(self, starts: Cells, lengths: Cells) -> Floats:
        """What is left of the expected in the same weeks a year before, where that was a dip."""
        first = int(starts[0]) - self._days(YEAR + NEAR)
        before = np.arange(first, int(starts[-1]) - self._days(YEAR - NEAR) + 1)
        there = before[before >= 0]
        left = np.ones((len(before), len(lengths)))
        if len(there):
            due = self.expected(there, lengths)
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = self.rows(there, lengths) / due.rows
            low = ratio < SHALLOW
            low[low] = log_chance(ratio[low], due.worth[low]) < np.log(DIP)
            left[before >= 0] = np.where(low, ratio, 1.0)
        width = self._days(2 * NEAR) + 1
        windows = np.lib.stride_tricks.sliding_window_view(left, width, axis=0)
        found: Floats = windows.min(axis=-1)[starts - int(starts[0])]
        return found

    def _without_spikes(self, rate: Floats) -> Floats:
        """Rates of clean cells, none above twice what its phase of the week brought before."""
        found = rate.copy()
        for phase in range(self._week):
            mine = np.flatnonzero(self._cells % self._week == phase)
            usual = _trailing(rate[mine], PROFILE // 7)[:-1]
            most = 2 * usual + SPIKE * np.sqrt(usual) + SPIKE
            found[mine] = np.fmin(rate[mine], most)
        return found

    def _days(self, days: int) -> int:
        return days * self._a_day

    @cached_property
    def _shares(self) -> Floats:
        """By number of clean cells before: each phase of the week's share of the level, mean 1.

        Shrunk towards 1 by what chance makes of so few weeks (B. Efron and C. Morris, JASA 70,
        1975). Shape (clean cells + 1, phases).
        """
        phase = np.zeros((len(self._cells), self._week))
        phase[np.arange(len(self._cells)), self._cells % self._week] = 1.0
        width = self._days(PROFILE)
        counts = _windowed(phase, width)
        totals = _windowed(phase * self._rate[:, None], width)
        squares = _windowed(self._rate[:, None] ** 2, width)[:, 0]
        size = counts.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = totals.sum(axis=1) / size
            raw = totals / counts
            within = squares - np.nansum(totals**2 / counts, axis=1)
            noise = within / np.maximum(size - self._week, 1) / mean**2
            error = noise[:, None] / counts
            share = raw / mean[:, None]
            beyond = (share - 1) ** 2 - error
            told = np.isfinite(beyond)
            between = np.where(told, beyond, 0).sum(axis=1) / told.sum(axis=1)
            weight = np.maximum(between, 0)[:, None]
            share = 1 + (share - 1) * weight / (weight + error)
        share = np.where(np.isfinite(share), np.maximum(share, 0), 1.0)
        return np.where((totals == 0) & (counts >= CLOSED), 0.0, share)

    @cached_property
    def _level(self) -> Floats:
        """By number of clean cells before: rows of a cell of share 1; NaN where they are few."""
        phases = np.zeros((len(self._cells), self._week))
        phases[np.arange(len(self._cells)), self._cells % self._week] = 1.0
        counts = _windowed(phases, self._days(LEVEL))
        total = _windowed(self._rate[:, None], self._days(LEVEL))[:, 0]
        weeks = _windowed(self._rate[:, None], self._week)[:, 0]
        places = np.arange(len(total))[:, None] - self._week * np.arange(QUARTER)
        history = np.where(places >= self._week, weeks[np.maximum(places, 0)], np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            level = total / (counts * self._shares).sum(axis=1)
        usual = _nanmedian(history) / self._week
        level = np.where(np.isfinite(usual), np.minimum(level, PEAK * usual), level)
        level[: self._days(MINIMUM_PAST)] = np.nan
        return np.asarray(level, dtype=np.float64)

    @cached_property
    def _spread(self) -> tuple[Floats, Floats]:
        """By number of clean cells before: variance per row of a day, and excess variance of weeks.

        Of forecasts from before each stretch. They may be exceeded by as much as they can fall
        short, and no more than by `SPIKE` deviations: days that bring many times the usual say
        nothing of how little one may bring (P. Huber, Ann. Math. Stat. 35, 1964).
        """
        day, week = self._misses(self._a_day), self._misses(self._week)
        index = self._index(day, day.due)
        index = self._index(day, SPIKE * np.sqrt(index[: len(day.due)] * day.due))
        excess = self._excess(week, index, week.due)
        variance = index[: len(week.due)] * week.due + excess[: len(week.due)] * week.due**2
        return index, self._excess(week, index, SPIKE * np.sqrt(variance))

    def _misses(self, length: int) -> _Misses:
        """What stretches that begin with each clean cell should hold, and what they held."""
        cells = self._cells
        due = self._mean(cells, np.array([length]))[:, 0]
        ends = np.minimum(cells + length, len(self.series.rows))
        whole = self._before[ends] - self._before[cells] == length
        came = self.rows(cells, np.array([length]))[:, 0]
        return _Misses(np.where(whole & (due > 0), due, np.nan), came)

    def _index(self, day: _Misses, most: Floats) -> Floats:
        """Variance per row of a day, where one may bring up to so much more than it should."""
        size, width = len(self._cells) + 1, self._days(SPREAD)
        usual = np.maximum(np.nan_to_num(self._level, nan=1.0), 1 / self._week)
        prior = usual * self._week * self._a_day  # a week of days
        found = _over(day.square(most), width, size) + prior
        due = _over(day.due, width, size) + prior
        return np.asarray(np.maximum(found / due, 1.0), dtype=np.float64)

    def _excess(self, week: _Misses, index: Floats, most: Floats) -> Floats:
        """Relative variance of weeks, beyond that of their days; of weeks that are over."""
        size, width, length = len(self._cells) + 1, self._days(SPREAD), self._week
        with np.errstate(divide="ignore", invalid="ignore"):
            beyond = week.square(most) / week.due**2
            beyond -= index[: len(beyond)] / week.due * (1 + 7 / LEVEL)
        weeks = _over(np.isfinite(beyond).astype(float), width, size, ended=length) / length
        total = _over(beyond, width, size, ended=length) / length
        return (np.maximum(total, 0) + WEEKS_WORTH * WEEKS_SPREAD) / (weeks + WEEKS_WORTH)

    def _mean(self, starts: Cells, lengths: Cells) -> Floats:
        """Rows that stretches should hold; NaN where the past is short."""
        place = self._before[starts]
        most = int(lengths.max())
        size = len(self.series.rows)
        cells = starts[:, None] + np.arange(most)
        inside = np.minimum(cells, size - 1)
        due = np.where(self.series.open & (self.series.known > 0), self.series.known, 0.0)[inside]
        due = due * self._shares[place[:, None], cells % self._week]
        found = np.cumsum(due, axis=1)[:, lengths - 1] * self._level[place][:, None]
        return np.asarray(found, dtype=np.float64)


def sums(values: npt.NDArray[np.int64] | Floats, starts: Cells, lengths: Cells) -> Floats:
    """Sums of stretches; those beyond the end stop there. Shape (starts, lengths)."""
    total = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    ends = np.minimum(starts[:, None] + lengths, len(values))
    found: Floats = total[ends] - total[starts][:, None]
    return found


def log_chance(ratio: Floats, worth: Floats) -> Floats:
    """Logarithm of the chance that no more than `ratio` of the expected comes.

    The lower tail of a quasi-Poisson count that is worth so many rows.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        chance = gammaincc(ratio * worth + 1, worth)
        # Below what a float holds H. Chernoff's bound (Ann. Math. Stat. 23, 1952) keeps the order.
        bound = -worth * (1 - ratio + np.where(ratio > 0, ratio * np.log(ratio), 0.0))
        found: Floats = np.where(chance > 1e-290, np.log(chance), np.minimum(bound, -667.0))
    return found


def _windowed(values: Floats, width: int) -> Floats:
    """Sums of the last `width` values before each place, and after the last, down the columns."""
    total = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    first = np.maximum(np.arange(len(total)) - width, 0)
    found: Floats = total - total[first]
    return found


def _over(values: Floats, width: int, size: int, ended: int = 0) -> Floats:
    """Sums over the last `width` of what ended `ended` cells ago or earlier; NaN counts as none."""
    found = _windowed(np.nan_to_num(values)[:, None], width)[:, 0]
    return np.concatenate([np.zeros(ended), found])[:size]


def _trailing(values: Floats, width: int) -> Floats:
    """Means of the last `width` values before each place; NaN before the first few."""
    found = _windowed(values[:, None], width)[:, 0]
    counts = np.minimum(np.arange(len(found)), width)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(counts >= width // 4, found / counts, np.nan)


def _nanmedian(values: Floats) -> Floats:
    """Medians along the second axis, NaN where there is nothing; without a warning."""
    ordered = np.sort(values, axis=1)  # NaN last
    counts = np.isfinite(values).sum(axis=1)
    rows = np.arange(len(values))
    low, high = np.maximum((counts - 1) // 2, 0), np.maximum(counts // 2, 0)
    high = np.minimum(high, values.shape[1] - 1)
    found: Floats = np.where(counts > 0, (ordered[rows, low] + ordered[rows, high]) / 2, np.nan)
    return found
