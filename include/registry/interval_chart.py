"""Estimates with their intervals as a small drawing (SVG) that stands in a page by itself."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

_WIDTH: Final = 760
_LEFT: Final = 260  #: where the axis begins; names stand before it
_RIGHT: Final = 90  #: left for the figures behind it
_ROW: Final = 24
_LONGEST: Final = 36  #: letters of a name
_STEPS: Final = (1, 2, 5, 10)
#: Widths of our interval within which others are drawn where they are; beyond, at the edge.
_REACH: Final = 20


@dataclass(frozen=True)
class Interval:
    """One estimate; `low` and `high` are None where only the value is known."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    ours: bool = False  #: drawn to stand out


def chart(title: str, intervals: Sequence[Interval]) -> str:
    """A line per estimate, on one axis around ours; what is far off stands at its edge, hollow."""
    least, most = _range(intervals)
    first, last, step = _axis(least, most)
    bottom = 8 + _ROW * len(intervals)

    def at(value: float) -> float:
        value = min(max(value, first), last)
        return _LEFT + (value - first) / (last - first) * (_WIDTH - _LEFT - _RIGHT)

    parts = [
        f'<svg viewBox="0 0 {_WIDTH} {bottom + 24}" width="{_WIDTH}" role="img" '
        f'font-family="system-ui,sans-serif" font-size="12"><title>{escape(title)}</title>'
    ]
    for tick in _ticks(first, last, step):
        x = at(tick)
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="4" y2="{bottom}" stroke="#e3e6ea"/>'
            f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle" fill="#566">'
            f"{_shown(tick, step)}</text>"
        )
    for row, one in enumerate(intervals):
        parts += _drawn(one, 8 + _ROW * row + _ROW / 2, at, first <= one.value <= last)
    return "".join([*parts, "</svg>"])


def _range(intervals: Sequence[Interval]) -> tuple[float, float]:
    """The ends of everything that is not far off from ours."""
    ends = [x for one in intervals for x in (one.value, one.low, one.high) if x is not None]
    ours = next((one for one in intervals if one.ours), None)
    if ours is None or ours.low is None or ours.high is None or ours.high <= ours.low:
        return min(ends), max(ends)
    reach = _REACH * (ours.high - ours.low)
    near = [x for x in ends if ours.low - reach <= x <= ours.high + reach]
    return min(near), max(near)


def _drawn(one: Interval, y: float, at: Callable[[float], float], within: bool) -> Iterator[str]:
    colour = "#0b63c5" if one.ours else "#7a8794"
    weight = ' font-weight="600"' if one.ours else ""
    name = one.name if len(one.name) <= _LONGEST else one.name[: _LONGEST - 1] + "…"
    yield f'<text x="{_LEFT - 10}" y="{y + 4}" text-anchor="end"{weight}>{escape(name)}</text>'
    if within and one.low is not None and one.high is not None:
        for begin, end in (
            ((at(one.low), y), (at(one.high), y)),
            *(((at(x), y - 4), (at(x), y + 4)) for x in (one.low, one.high)),
        ):
            yield (
                f'<line x1="{begin[0]:.1f}" y1="{begin[1]}" x2="{end[0]:.1f}" y2="{end[1]}" '
                f'stroke="{colour}" stroke-width="2"/>'
            )
    fill = colour if within else "#fff"
    yield (f'<circle cx="{at(one.value):.1f}" cy="{y}" r="4.5" fill="{fill}" stroke="{colour}"/>')
    yield (
        f'<text x="{_WIDTH - _RIGHT + 12}" y="{y + 4}" fill="{colour}"{weight}>'
        f"{one.value:.4f}</text>"
    )


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
