"""What of a source's time is loaded, and what a run therefore has to read.

The idea: a source is covered where some slice of it is on record. Whatever lies between the
history's start and a run's interval and is not covered is a hole: no run was made for it (a pause,
an outage), or `history_from` was moved earlier. The next run reads it before its own interval, tick
by tick of the schedule, so that each slice is like one that a run of its own had read.

Invariant: after a run nothing is missing from the history's start to the interval's end. A slice
that came along with an interval comes along with it again, so that a rerun of a run, killed or not,
is the whole run; nothing else that is covered is read twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

from include.handoffs import Interval
from include.ingestion.slices import Slice

#: Intervals of a hole that are read one by one. A file is read to its end for each of them, so the
#: effort would grow with the square of a longer hole; that one is a single slice, as a first load
#: is.
MOST: Final = 100

Ticks = Callable[[datetime], datetime]  #: the schedule's next tick after an instant


def due(
    history_start: datetime, interval: Interval, next_tick: Ticks, recorded: Sequence[Slice]
) -> list[Interval]:
    """The intervals that a run has to read of one source, in order; its own comes last.

    Args:
        recorded: the slices on record of this source.
    """
    others = [one for one in recorded if one.interval != interval]
    again = [one.interval for one in others if one.along_with == interval]
    holes = uncovered(history_start, interval.start, [one.interval for one in others])
    if len(again) < len(others):  # the first load is one slice, however long it is
        holes = [part for hole in holes for part in ticks_of(hole, next_tick)]
    return [*sorted([*again, *holes], key=_start), interval]


def is_first_load(history_start: datetime, interval: Interval, part: Interval) -> bool:
    """Whether a part that is due is the whole history before the interval, and no hole in it."""
    return (part.start, part.end) == (history_start, interval.start)


def uncovered(start: datetime, end: datetime, covered: Iterable[Interval]) -> list[Interval]:
    """The parts of `[start, end)` that no interval covers, in order."""
    holes: list[Interval] = []
    reached = start
    for one in sorted(covered, key=_start):
        if reached < min(one.start, end):
            holes.append(Interval(reached, min(one.start, end)))
        reached = max(reached, one.end)
    if reached < end:
        holes.append(Interval(reached, end))
    return holes


def ticks_of(hole: Interval, next_tick: Ticks) -> list[Interval]:
    """A hole as the intervals of the schedule; a very long one as it is."""
    parts: list[Interval] = []
    for part in _cut(hole, next_tick):
        if len(parts) == MOST:
            return [hole]
        parts.append(part)
    return parts


def _cut(hole: Interval, next_tick: Ticks) -> Iterator[Interval]:
    start = hole.start
    while start < hole.end:
        end = min(next_tick(start), hole.end)
        yield Interval(start, end)
        start = end


def _start(interval: Interval) -> datetime:
    return interval.start
