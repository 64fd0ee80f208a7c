"""Where estimates and their intervals stand in a drawing; `interval_chart.svg.jinja` draws it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_WIDTH: Final = 760
_LEFT: Final = 260  #: where the axis begins; names stand before it
_RIGHT: Final = 670  #: where it ends; figures stand behind it
_ROW: Final = 24
_LONGEST: Final = 36  #: letters of a name
_STEPS: Final = (1, 2, 5, 10)
#: Widths of our interval within which others are drawn where they are; beyond, at the edge.
_REACH: Final = 20

Line = tuple[float, float, float, float]  #: x and y of one end, then of the other


@dataclass(frozen=True)
class ChartedInterval:
    """One estimate; `low` and `high` are None where only the value is known."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    ours: bool = False  #: drawn to stand out


@dataclass(frozen=True)
class Mark:
    """An estimate as it is drawn."""

    name: str
    value: float
    x: float
    y: float
    within: bool  #: False where it is far off, and stands at the axis' edge
    lines: tuple[Line, ...]  #: the interval and its two ends
    ours: bool


@dataclass(frozen=True)
class Chart:
    """A line per estimate, on one axis."""

    title: str
    marks: tuple[Mark, ...]
    ticks: tuple[tuple[float, str], ...]  #: place and label
    bottom: float  #: of the axis
    width: int = _WIDTH
    left: int = _LEFT
    right: int = _RIGHT


def chart(title: str, intervals: Sequence[ChartedInterval]) -> Chart:
    """The intervals on an axis around ours; what is far off stands at its edge."""
    if not intervals:
        return Chart(title, (), (), 0)
    first, last, step = _axis(*_range(intervals))

    def at(value: float) -> float:
        value = min(max(value, first), last)
        return round(_LEFT + (value - first) / (last - first) * (_RIGHT - _LEFT), 1)

    def mark(row: int, one: ChartedInterval) -> Mark:
        y = 8 + _ROW * row + _ROW / 2
        within = first <= one.value <= last
        lines: tuple[Line, ...] = ()
        if within and one.low is not None and one.high is not None:
            low, high = at(one.low), at(one.high)
            lines = ((low, y, high, y), *((x, y - 4, x, y + 4) for x in (low, high)))
        name = one.name if len(one.name) <= _LONGEST else one.name[: _LONGEST - 1] + "…"
        return Mark(name, one.value, at(one.value), y, within, lines, one.ours)

    return Chart(
        title,
        marks=tuple(mark(row, one) for row, one in enumerate(intervals)),
        ticks=tuple((at(tick), _shown(tick, step)) for tick in _ticks(first, last, step)),
        bottom=8 + _ROW * len(intervals),
    )


def _range(intervals: Sequence[ChartedInterval]) -> tuple[float, float]:
    """The ends of everything that is not far off from ours."""
    ends = [x for one in intervals for x in (one.value, one.low, one.high) if x is not None]
    ours = next((one for one in intervals if one.ours), None)
    if ours is None or ours.low is None or ours.high is None or ours.high <= ours.low:
        return min(ends), max(ends)
    reach = _REACH * (ours.high - ours.low)
    near = [x for x in ends if ours.low - reach <= x <= ours.high + reach]
    return min(near), max(near)


def _axis(least: float, most: float) -> tuple[float, float, float]:
    """Ends of an axis that holds both, and the distance of its ticks: a round number."""
    span = (most - least) or max(abs(most), 1.0) * 0.1
    size = 10 ** math.floor(math.log10(span / 4))
    step = next(size * factor for factor in _STEPS if size * factor >= span / 4)
    first, last = math.floor(least / step) * step, math.ceil(most / step) * step
    return first, last if last > first else first + step, step


def _ticks(first: float, last: float, step: float) -> Iterator[float]:
    for number in range(round((last - first) / step) + 1):
        yield first + number * step


def _shown(tick: float, step: float) -> str:
    digits = max(0, -math.floor(math.log10(step)))
    return f"{tick:.{digits}f}"
