"""The events of one stream by entity, then time, and what each spine row sees of them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import cached_property, partial
from itertools import pairwise
from typing import Final

import numpy as np

from include.features.declarations import ALL_HISTORY, EventStream
from include.features.time_order import Integers, Timeline, settle_ties, sorting
from include.features.vectorized.columns import EventColumns, Mask
from include.features.vectorized.spine_index import Questions, SpineIndex
from include.features.vectorized.versions import by_stretch

#: Events and distinct rows taken at once: few enough for what is computed to stay in the cache.
_BLOCK: Final = 1 << 17
#: Events partitioned into blocks at a time.
_CHUNK: Final = 1 << 18
_MICROSECOND: Final = timedelta(microseconds=1)
#: What settles the order of events of one instant.
_ORDER: Final = ("event_id", "source")


def histories(
    index: SpineIndex, columns: EventColumns, stream: EventStream, *, ties: bool
) -> list[tuple[slice, Callable[[], EventHistory]]]:
    """The events of a stream in blocks of whole entities, with the distinct rows about these.

    At least one block; each is made when it is called for, and owes nothing to the others.

    `ties` is whether the order of events of one instant matters.
    """
    asked, entity = index.questions, index.entity_of(columns.table)
    rows = np.flatnonzero(columns.in_stream(stream) & (entity >= 0))
    entity = entity.copy() if len(rows) == len(entity) else entity[rows]
    if columns.replaced is not None:
        asked, rows, entity = by_stretch(asked, rows, entity, columns.created, columns.replaced)
    rows = rows.astype(np.int32 if len(columns.at) < 1 << 31 else np.int64)
    stops = _stops(entity, asked)
    ends = _partition(rows, entity, stops)

    def block(number: int, about: slice) -> EventHistory:
        pieces = [slice(*some[number : number + 2]) for some in ends]
        here = np.concatenate([rows[piece] for piece in pieces])
        of = np.concatenate([entity[piece] for piece in pieces])
        first, stop = [0, *stops][number : number + 2]
        questions = asked.part(about, first, stop)
        return EventHistory(columns, here, of - first, questions, ties=ties)

    borders = [0, *np.searchsorted(asked.entity, stops).tolist()]
    abouts = [slice(*pair) for pair in pairwise(borders)]
    return [(about, partial(block, number, about)) for number, about in enumerate(abouts)]


def _stops(entity: Integers, asked: Questions) -> list[int]:
    """Behind which entity each block ends, at least one."""
    load = np.bincount(entity, minlength=asked.entities)
    load += np.bincount(asked.entity[asked.entity >= 0], minlength=asked.entities)
    load = np.cumsum(load)
    stops: list[int] = []
    stop = done = 0
    while stop < asked.entities:
        stop = max(int(np.searchsorted(load, done + _BLOCK, side="right")), stop + 1)
        done = int(load[stop - 1])
        stops.append(stop)
    return stops or [0]


def _partition(rows: Integers, entity: Integers, stops: list[int]) -> list[list[int]]:
    """Sort both by block in place, chunk by chunk; returns where each chunk's blocks end."""
    block_of = np.searchsorted(stops, np.arange(stops[-1]), side="right")
    block_of = block_of.astype(np.min_scalar_type(len(stops)))  # few bits: a radix sort
    ends = [[0] * (len(stops) + 1)]
    for start in range(0, len(rows), _CHUNK):
        chunk = slice(start, start + _CHUNK)
        block = block_of[entity[chunk]]
        order = np.argsort(block, kind="stable")
        rows[chunk], entity[chunk] = rows[chunk][order], entity[chunk][order]
        sizes = np.bincount(block, minlength=len(stops))
        ends.append([start, *(start + np.cumsum(sizes)).tolist()])
    return ends


class EventHistory:
    """Events of some entities, sorted, and where the questions about them search.

    An event is *seen* from the instant `max(created_timestamp, event_timestamp + 1 µs)` on. Where
    events become seen in the order in which they happened, those a row sees are a run. Where they
    don't, `seen_order` has them in the order in which they become seen, and what a row sees in a
    window is what has become seen there without what had left the window: an event created later
    than a window after it happened never enters that window, and every other has been seen before
    it leaves.
    """

    def __init__(
        self,
        columns: EventColumns,
        rows: Integers,
        entity: Integers,
        questions: Questions,
        *,
        ties: bool,
    ) -> None:
        """`rows` of the events' table, their entities, and whether the order of ties matters."""
        self.columns, self.questions = columns, questions
        self._low: dict[timedelta, Integers] = {}
        at = columns.at[rows]
        self._timeline = Timeline(at, questions.entities)
        keys = self._timeline.keys(entity, at)
        order = sorting(keys)
        self._keys = keys[order]
        if ties:
            order = settle_ties(order, self._keys, rows, columns.table.select(_ORDER))
        #: Rows of the events' table, and the number of each one's entity.
        self.rows, self.entity = rows[order], entity[order]
        self.seen_order: Integers | None = None
        #: Of each event the key of (entity, instant it is seen from); None if all are at once.
        self.seen_keys: Integers | None = None
        if not columns.prompt:
            seen_at = np.maximum(columns.created[rows], at + 1)
            self._seen_timeline = Timeline(seen_at, questions.entities)
            self.seen_keys = self._seen_timeline.keys(entity, seen_at)[order]
            if bool((self.seen_keys[1:] < self.seen_keys[:-1]).any()):
                self.seen_order = np.argsort(self.seen_keys, kind="stable")
                self._delay = (seen_at - at)[order]

    def low(self, window: timedelta) -> Integers:
        """Per row the position of its entity's first event that is not too old for the window."""
        if window not in self._low:
            begin = np.full_like(self.questions.as_of, np.iinfo(np.int64).min)
            if window != ALL_HISTORY:
                begin = self.questions.as_of - window // _MICROSECOND
            self._low[window] = self._search(begin)
        return self._low[window]

    @cached_property
    def past(self) -> Integers:
        """Per row the position behind its entity's last event before `as_of`."""
        return self._search(self.questions.as_of)

    @cached_property
    def seen(self) -> Integers:
        """Per row the position, in the order of being seen, behind the last event seen."""
        if self.seen_keys is None:
            return self.past
        keys = self.seen_keys if self.seen_order is None else self.seen_keys[self.seen_order]
        return np.searchsorted(keys, self.limits)

    @cached_property
    def limits(self) -> Integers:
        """Per row the key that the `seen_keys` of the events it sees are below."""
        return self._seen_timeline.places(self.questions.entity, self.questions.as_of + 1)

    def too_late(self, window: timedelta) -> Mask:
        """True for the events that had left the window before they were seen."""
        if self.seen_order is None or window == ALL_HISTORY:
            return np.zeros(len(self.rows), dtype=bool)
        late: Mask = self._delay > window // _MICROSECOND
        return late

    def _search(self, instants: Integers) -> Integers:
        return np.searchsorted(self._keys, self._timeline.places(self.questions.entity, instants))
