"""Cells: one per window and spine row, with the run of events that row sees in that window."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from functools import cached_property
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from include.features.time_order import Integers
from include.features.vectorized.columns import Mask
from include.features.vectorized.exact import Runs
from include.features.vectorized.history import EventHistory

Values: TypeAlias = npt.NDArray[Any]

#: (cell, event) pairs held at once: some 100 MB with everything computed from them.
_PAIRS_PER_CHUNK: Final = 1_000_000


class Selection:
    """Some of a history's events, in its order."""

    def __init__(self, history: EventHistory, mask: Mask | None) -> None:
        self.history = history
        self._mask = None if mask is None or bool(mask.all()) else mask

    @cached_property
    def rows(self) -> Integers:
        """Rows of the events' table."""
        return self.of(self.history.rows)

    def of(self, values: Integers) -> Integers:
        """What an array over the history has for the selected events."""
        return values if self._mask is None else values[self._mask]

    def before(self, positions: Integers) -> Integers:
        """How many selected events are before each position in the history."""
        return positions if self._mask is None else self._counts[positions]

    @cached_property
    def seen(self) -> Integers:
        """Per spine row the place, in the order of seeing, behind the last selected event seen."""
        order = self.history.seen_order
        if self._mask is None or order is None:
            return self.before(self.history.seen)
        return _counted(self._mask[order])[self.history.seen]

    @cached_property
    def seen_order(self) -> Integers | None:
        """The selected events in the order in which they become seen, None if that is theirs."""
        order = self.history.seen_order
        if self._mask is None or order is None:
            return order
        return self._counts[order[self._mask[order]]]

    def cells(self, windows: Sequence[timedelta]) -> Cells:
        """What the spine's rows see in each window; the first window's rows come first."""
        low = [self.before(self.history.low(window)) for window in windows]
        behind = [np.maximum(self.seen, some) for some in low]
        return Cells(self, np.concatenate(low), np.concatenate(behind))

    @cached_property
    def _counts(self) -> Integers:
        assert self._mask is not None
        return _counted(self._mask)


def selections(
    history: EventHistory, mask: Mask | None, windows: Iterable[timedelta]
) -> Iterator[tuple[Selection, list[timedelta]]]:
    """The events where the mask is true, without those that are too late for the windows.

    One selection per set of windows that the same events are too late for.
    """
    by_late: dict[int, list[timedelta]] = {}
    for window in windows:
        late = int(history.too_late(window).sum()) if history.seen_order is not None else 0
        by_late.setdefault(late, []).append(window)
    for late, some in by_late.items():
        kept = mask
        if late:
            in_time = ~history.too_late(some[0])
            kept = in_time if mask is None else mask & in_time
        yield Selection(history, kept), some


class Cells:
    """Of each cell the run of selected events from `low` up to `behind`.

    Where events become seen out of order, a run has the right length and yet may be others than
    those seen: such cells are *scattered*.
    """

    def __init__(self, selection: Selection, low: Integers, behind: Integers) -> None:
        self.selection, self.low, self.behind = selection, low, behind

    @property
    def sizes(self) -> Integers:
        """How many events each cell sees."""
        return self.behind - self.low

    @property
    def as_of(self) -> Integers:
        """The instant of each cell's spine row."""
        return self._repeated(self.selection.history.questions.as_of)

    @property
    def runs(self) -> Runs:
        """The cells as runs to sum over; right for scattered cells too."""
        return Runs(self.low, self.behind, self.selection.seen_order)

    @cached_property
    def scattered(self) -> Integers:
        """The cells that see others than the events of their run."""
        history = self.selection.history
        if history.seen_order is None or history.seen_keys is None:
            return np.zeros(0, dtype=np.int64)
        latest = np.maximum.accumulate(self.selection.of(history.seen_keys))
        some = np.flatnonzero(self.sizes)
        unseen: Mask = latest[self.behind[some] - 1] >= self._repeated(history.limits)[some]
        return some[unseen]

    def each(self, some: Integers, reduce: Callable[[int, Integers, Integers], Values]) -> Values:
        """Reduce the events that some cells see, taken one by one: right for any cell, and slow.

        `reduce` gets a number of cells and, for pairs in the order of cells and then of events,
        the cell and the event's position in the selection; it returns a value per cell.
        """
        history = self.selection.history
        low, behind = self.low[some], self.behind[some]
        limits = None
        if history.seen_order is not None and history.seen_keys is not None:
            behind = self._repeated(self.selection.before(history.past))[some]
            limits = self._repeated(history.limits)[some]
            seen_keys = self.selection.of(history.seen_keys)
        total = np.cumsum(behind.astype(np.int64) - low)
        start, done = 0, 0
        parts: list[Values] = []
        while start < len(some) or not parts:
            stop = int(np.searchsorted(total, done + _PAIRS_PER_CHUNK, side="right"))
            stop = min(max(stop, start + 1), len(some))
            cell, event = _pairs(low[start:stop], behind[start:stop])
            if limits is not None:
                seen = seen_keys[event] < limits[start:stop][cell]
                cell, event = cell[seen], event[seen]
            parts.append(reduce(stop - start, cell, event))
            start, done = stop, int(total[stop - 1]) if stop else 0
        values: Values = np.concatenate(parts)
        return values

    def _repeated(self, values: Integers) -> Integers:
        return np.tile(values, len(self.low) // max(len(values), 1))


def _pairs(low: Integers, behind: Integers) -> tuple[Integers, Integers]:
    counts = behind.astype(np.int64) - low
    cell = np.repeat(np.arange(len(low)), counts)
    offset = np.repeat(low - (np.cumsum(counts) - counts), counts)
    return cell, np.arange(len(cell)) + offset


def _counted(mask: Mask) -> Integers:
    counts = np.zeros(len(mask) + 1, dtype=np.int32)
    np.cumsum(mask, out=counts[1:])
    return counts
