"""The stretches of time of which a source's rows are missing.

The idea: what a stretch of days should have brought is known from the weeks before it, and how far
one may fall short by chance is known from how far earlier ones did. A stretch is lost where about
half of its rows or more are missing *and* the past's own spread makes that next to impossible. Of
all stretches, whatever their start and length, the least likely one is taken out, and the rest is
judged again without it, so that an outage never counts as past.

- Expected is the level of four weeks times the weekday's share; a decline goes on, a peak does not,
  and a dip of the same weeks a year before is expected again: see `expectation`.
- A count is quasi-Poisson, its variance a multiple of its mean, as rows come in baskets and
  sessions; and whole weeks are good or bad (P. McCullagh and J. Nelder, "Generalized Linear
  Models", 2nd ed. 1989, 6.2; for outbreaks C. Farrington et al., J. R. Stat. Soc. A 159, 1996).
- Trying every stretch is M. Kulldorff's scan statistic (Commun. Stat. Theory Methods 26, 1997).

Invariant: a stretch is judged by nothing that happened after its beginning but itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from include.quality.expectation import (
    DAY,
    MINIMUM_PAST,
    YEAR,
    Bools,
    Cells,
    Series,
    UsualVolume,
    log_chance,
    sums,
)

#: Chance that an ordinary stretch falls so short. Of one or two days with so many rows that what
#: they vary by is days and not chance, it may be greater: a scaled Poisson's tail is too long then,
#: and the past knows many such days.
CHANCE: Final = 1.5e-4
SHORT_CHANCE: Final = 1e-3
MANY: Final = 75  #: rows missing
NEIGHBOUR_CHANCE: Final = 0.01  #: of a day beside a loss
DEPTH: Final = 0.5  #: share of the rows that must be missing
MARGIN: Final = 0.08  #: by which chance may hide that
#: Of what the last week lets expect of its first quarter, an outage brings no more than this.
ABRUPT: Final = 0.65
MINIMUM_EXPECTED: Final = 10.0
SHORTEST: Final = timedelta(hours=6)  #: and four cells, but no more than a day
LONGEST: Final = 63 * DAY  #: nine weeks: more than two months' intervals
SHORT: Final = 2 * DAY
#: So many short losses in a year are what the tenant's days are like.
USUAL_DIPS: Final = 4
TOTAL: Final = 0.05  #: share of the rows up to which a loss is total


@dataclass(frozen=True)
class Loss:
    """A stretch of time of which rows are missing."""

    start: datetime
    end: datetime
    rows: int
    expected: float

    @property
    def kind(self) -> str:
        """`total` or `partial`."""
        return kind_of(self.rows, self.expected)


@dataclass(frozen=True)
class _Stretch:
    start: int  #: cell
    end: int
    expected: float


def find_losses(series: Series) -> tuple[Loss, ...]:
    """The stretches of a source that are lost, oldest first."""
    joined = _joined(series, _stretches(series))
    short = [one for one in joined if (one.end - one.start) * series.step <= SHORT]
    usual = {one for one in short if _year(series, one, short) >= USUAL_DIPS}
    joined = [one for one in joined if one not in usual]
    stays = next((one for one in joined if _stays(series, one)), None)
    if stays is None:
        return tuple(_loss(series, one) for one in joined)
    # The days up to then stay lost; later ones are judged by what the tenant is like now.
    cut = stays.start + LONGEST // series.step
    share = stays.expected * (cut - stays.start) / (stays.end - stays.start)
    until = _loss(series, _Stretch(stays.start, cut, share))
    later = find_losses(series.since(cut - 2 * MINIMUM_PAST * series.a_day))
    before = (_loss(series, one) for one in joined if one.end <= stays.start)
    return (*before, until, *(one for one in later if one.start >= until.end))


def kind_of(rows: int, expected: float) -> str:
    """`total` where next to nothing came, else `partial`."""
    return "total" if rows <= TOTAL * expected else "partial"


def expected_rows(
    series: Series, losses: Sequence[Loss], start: datetime, end: datetime
) -> float | None:
    """What the cells of `[start, end)` should hold; None where the past is too short."""
    lost = np.zeros(len(series.rows), dtype=bool)
    for one in losses:
        lost[max(series.cell(one.start), 0) : max(series.cell(one.end), 0)] = True
    cell = max(series.cell(start), 0)
    length = np.array([min(series.cell(end), len(series.rows)) - cell])
    if length[0] < 1:
        return None
    rows = float(UsualVolume(series, lost).expected(np.array([cell]), length).rows[0, 0])
    return rows if np.isfinite(rows) else None


def _stretches(series: Series) -> list[_Stretch]:
    there = np.flatnonzero(series.rows)
    if not len(there):
        return []
    lost = np.zeros(len(series.rows), dtype=bool)
    first = int(there[0])  # before its first row a source was not there
    lost[:first] = True
    found: list[_Stretch] = []
    while (worst := _worst(series, lost, first)) is not None:
        lost[worst.start : worst.end] = True
        found.append(worst)
    return sorted(found, key=lambda one: one.start)


def _worst(series: Series, lost: Bools, first: int) -> _Stretch | None:
    """The least likely stretch, where it is lost."""
    starts = np.arange(first + 2 * MINIMUM_PAST * series.a_day, len(series.rows))
    if not len(starts):
        return None
    lengths = _lengths(series.a_day)
    past = UsualVolume(series, lost)
    season = past.season(starts, lengths)
    expected = past.expected(starts, lengths)
    due, worth = expected.rows * season, expected.worth * season
    came = past.rows(starts, lengths)
    last = starts[:, None] + lengths - 1
    whole = last < len(series.rows)
    whole &= series.open[starts][:, None] & series.open[np.minimum(last, len(series.rows) - 1)]
    fresh = sums(lost.astype(np.int64), starts, lengths) == 0
    beginning = -(-lengths // 4)
    early = past.by_last_week(starts, beginning)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = came / due
        # An outage begins at once; a decline goes on.
        abrupt = past.rows(starts, beginning) <= early.rows * ABRUPT
        deep = (ratio <= 1 - DEPTH + MARGIN) & abrupt & (due >= MINIMUM_EXPECTED)
    deep &= whole & fresh
    chance = np.full(ratio.shape, np.inf)
    chance[deep] = log_chance(ratio[deep], worth[deep])
    short = (lengths <= SHORT // series.step) & (due - came >= MANY)
    found = chance < np.log(np.where(short, SHORT_CHANCE, CHANCE) / np.sqrt(series.a_day))
    if not found.any():
        return None
    start, length = np.unravel_index(np.argmin(np.where(found, chance, np.inf)), found.shape)
    begins = int(starts[start])
    return _grown(past, lost, begins, begins + int(lengths[length]), first)


def _grown(past: UsualVolume, lost: Bools, start: int, end: int, first: int) -> _Stretch:
    """The stretch with the days beside it that fall short as well, which need less proof.

    As edges are followed in images (J. Canny, IEEE Trans. Pattern Anal. 8, 1986).
    """
    series, day = past.series, past.series.a_day

    def missing(begins: int, ends: int, proof: float = NEIGHBOUR_CHANCE) -> bool:
        fits = first <= begins and ends <= len(lost) and not lost[begins:ends].any()
        if not fits or not series.open[[begins, ends - 1]].all():
            return False
        known_at = min(start, begins)  # what is beside it is expected by what was before both
        due, worth = past.between(known_at, begins, ends)
        came = float(series.rows[begins:ends][series.open[begins:ends]].sum())
        chance = float(log_chance(np.array([came / due]), np.array([worth]))[0]) if due else 0.0
        return came <= (1 - DEPTH + MARGIN) * due and chance <= np.log(proof)

    while missing(start - day, start):
        start -= day
    while missing(end, end + day):
        end += day
    newest = series.cell(series.judged_until)
    if end < newest < end + day and missing(end, newest, proof=1.0):
        end = newest  # part of a day, of which it goes on
    return _Stretch(start, end, past.between(start, start, end)[0])


def _lengths(a_day: int) -> Cells:
    """Cells of the stretches that are tried: every day, in steps of three after five weeks."""
    most = LONGEST // DAY
    days = np.concatenate([np.arange(1, 36), np.arange(36, most + 1, 3)]) * a_day
    shortest = min(a_day, max(4, -(-SHORTEST * a_day // DAY)))
    parts = np.arange(shortest, 3 * a_day)
    return np.unique(np.concatenate([days, parts]))


def _joined(series: Series, found: Sequence[_Stretch]) -> list[_Stretch]:
    """The stretches, those with nothing open between them as one."""
    joined: list[_Stretch] = []
    for one in found:
        last = joined[-1] if joined else None
        if last is not None and not series.open[last.end : one.start].any():
            joined[-1] = _Stretch(last.start, one.end, last.expected + one.expected)
        else:
            joined.append(one)
    return joined


def _year(series: Series, one: _Stretch, short: Sequence[_Stretch]) -> int:
    """How many short losses there were in the year around one."""
    year = YEAR * series.a_day
    return max(
        sum(begin.start <= other.start < begin.start + year for other in short)
        for begin in short
        if begin.start <= one.start < begin.start + year
    )


def _stays(series: Series, one: _Stretch) -> bool:
    """Whether rows have been missing for so long that they are not expected any more."""
    long = (one.end - one.start) * series.step > LONGEST
    return long and _loss(series, one).kind == "partial"


def _loss(series: Series, one: _Stretch) -> Loss:
    inside = slice(one.start, one.end)
    rows = int(np.where(series.open, series.rows, 0)[inside].sum())
    return Loss(series.at(one.start), series.at(one.end), rows, one.expected)
