"""Which events each spine row sees: (row, event) pairs, in bounded chunks of rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.features.conditions import Condition
from include.features.declarations import ALL_HISTORY, Aggregation, EventStream
from include.features.spine import AS_OF, Spine
from include.features.vectorized_columns import (
    EventColumns,
    Integers,
    TimeOrder,
    encoded,
    microseconds,
)

#: Pairs held at once: some 100 MB with everything computed from them.
_PAIRS_PER_CHUNK: Final = 1_000_000
_MICROSECOND: Final = timedelta(microseconds=1)


class SpineIndex:
    """The distinct (entity, as_of) of a spine, and where each spine row finds its own."""

    def __init__(self, spine: Spine, join_keys: tuple[str, ...]) -> None:
        self.join_keys = join_keys
        as_of, instant = np.unique(microseconds(spine.table[AS_OF]), return_inverse=True)
        self._known: list[tuple[pa.Array, Integers]] = []
        entity = np.zeros(len(instant), dtype=np.int64)
        missing = np.zeros(len(instant), dtype=bool)
        for key in join_keys:
            texts = encoded(spine.table[key])
            missing |= texts.codes < 0
            entity = entity * len(texts.dictionary) + np.maximum(texts.codes, 0)
            known, entity = np.unique(entity, return_inverse=True)
            self._known.append((texts.dictionary, known))
        entity = np.where(missing, -1, entity)
        distinct, self.row_of = np.unique(entity * len(as_of) + instant, return_inverse=True)
        #: Per distinct row the entity, -1 where a join key is null.
        self.entity = distinct // max(len(as_of), 1)
        self.as_of = as_of[distinct % max(len(as_of), 1)]
        self.rows = len(distinct)

    def entity_of_events(self, columns: EventColumns) -> Integers:
        """Per event its entity, -1 where the spine does not have it."""
        entity = np.zeros(len(columns.at), dtype=np.int64)
        missing = np.zeros(len(entity), dtype=bool)
        for key, (dictionary, known) in zip(self.join_keys, self._known, strict=True):
            found = pc.fill_null(pc.index_in(columns.column(key), value_set=dictionary), -1)
            codes = found.to_numpy().astype(np.int64)
            entity = entity * len(dictionary) + np.maximum(codes, 0)
            place = np.minimum(np.searchsorted(known, entity), max(len(known) - 1, 0))
            missing |= (codes < 0) | (known[place] != entity if len(known) else True)
            entity = place
        return np.where(missing, -1, entity)


@dataclass(frozen=True)
class StreamHistory:
    """The events of one stream that belong to entities of the spine, by entity, then time."""

    index: SpineIndex
    event: Integers  #: positions in `EventColumns`
    order: TimeOrder

    def chunks(self, longest: timedelta) -> Iterator[Span]:
        """Ranges of distinct spine rows, each of at most a chunk's pairs or of a single row."""
        entity, as_of = self.index.entity, self.index.as_of
        begin = np.full_like(as_of, np.iinfo(np.int64).min)
        if longest != ALL_HISTORY:
            begin = as_of - longest // _MICROSECOND
        first, behind = self.order.before(entity, begin), self.order.before(entity, as_of)
        total = np.cumsum(behind - first)
        start, done = 0, 0
        while True:
            stop = int(np.searchsorted(total, done + _PAIRS_PER_CHUNK, side="right"))
            stop = min(max(stop, start + 1), self.index.rows)
            yield Span(as_of[start:stop], first[start:stop], behind[start:stop])
            if stop == self.index.rows:
                return
            start, done = stop, int(total[stop - 1])


@dataclass(frozen=True)
class Span:
    """Some distinct spine rows, each with the run of its events in the longest window."""

    as_of: Integers
    first: Integers  #: positions in `StreamHistory.event`
    behind: Integers


def stream_history(index: SpineIndex, columns: EventColumns, stream: EventStream) -> StreamHistory:
    """Select and order the events of a stream for one spine."""
    entity = index.entity_of_events(columns)
    event = np.flatnonzero((entity >= 0) & columns.in_stream(stream))
    event = event[np.argsort(entity[event], kind="stable")]
    return StreamHistory(index, event, TimeOrder(entity[event], columns.at[event]))


@dataclass(frozen=True)
class Selection:
    """Pairs of one window, by row, then in event order."""

    columns: EventColumns
    rows: int
    row: Integers
    event: Integers
    age: Integers  #: microseconds from event to as_of


class Pairs:
    """The pairs of a span, known events only, and what each window sees of them."""

    def __init__(self, history: StreamHistory, columns: EventColumns, span: Span) -> None:
        rows, as_of = len(span.as_of), span.as_of
        counts = span.behind - span.first
        row = np.repeat(np.arange(rows), counts)
        offset = np.repeat(span.first - (np.cumsum(counts) - counts), counts)
        event = history.event[np.arange(len(row)) + offset]
        known = columns.created[event] <= as_of[row]
        row, event = row[known], event[known]
        age = as_of[row] - columns.at[event]
        self._all = Selection(columns, rows, row, event, age)
        self._where = cache(self._narrowed)
        self._window = cache(self._windowed)

    def within(self, aggregation: Aggregation, window: timedelta) -> Selection:
        """The pairs that an aggregation sees over a window."""
        return self._window(aggregation.where, window)

    def _narrowed(self, where: tuple[Condition, ...]) -> Selection:
        if not where:
            return self._all
        return _kept(self._all, self._all.columns.holds(where)[self._all.event])

    def _windowed(self, where: tuple[Condition, ...], window: timedelta) -> Selection:
        selection = self._where(where)
        if window == ALL_HISTORY:
            return selection
        return _kept(selection, selection.age <= window // _MICROSECOND)


def _kept(selection: Selection, mask: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Selection:
    return Selection(
        selection.columns,
        selection.rows,
        selection.row[mask],
        selection.event[mask],
        selection.age[mask],
    )
