"""The events of one stream by entity, then time, and what each spine row sees of them."""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from typing import Final

import numpy as np

from include.features.declarations import ALL_HISTORY, EventStream
from include.features.time_order import Integers, Timeline, settle_ties, sorting
from include.features.vectorized.columns import EventColumns, Mask
from include.features.vectorized.spine_index import SpineIndex

_MICROSECOND: Final = timedelta(microseconds=1)
#: What settles the order of events of one instant.
_ORDER: Final = ("event_id", "source", "tenant_id")


class History:
    """The events of a stream that belong to entities of the spine, sorted; and where rows search.

    An event is *seen* from the instant `max(created_timestamp, event_timestamp + 1 µs)` on. Where
    events become seen in the order in which they happened, those a row sees are a run. Where they
    don't, `seen_order` has them in the order in which they become seen, and what a row sees in a
    window is what has become seen there without what had left the window: an event created later
    than a window after it happened never enters that window, and every other has been seen before
    it leaves.
    """

    def __init__(
        self, index: SpineIndex, columns: EventColumns, stream: EventStream, *, ties: bool
    ) -> None:
        """`ties` is whether the order of events of one instant matters."""
        self.index, self.columns = index, columns
        self._entity_of_row = index.entity_of(columns.table)
        rows = np.flatnonzero(columns.in_stream(stream) & (self._entity_of_row >= 0))
        every = len(rows) == len(columns.at)
        entity = self._entity_of_row if every else self._entity_of_row[rows]
        at = columns.at if every else columns.at[rows]
        self._timeline = Timeline(at, index.entities)
        keys = self._timeline.keys(entity, at)
        order = sorting(keys)
        self._keys = keys[order]
        #: Rows of the events' table.
        self.rows: Integers = order if every else rows[order]
        if ties:
            names = [n for n in _ORDER if n in columns.table.column_names]
            self.rows = settle_ties(self.rows, self._keys, columns.table.select(names))
        self.seen_order: Integers | None = None
        #: Of each event the key of (entity, instant it is seen from); None if all are at once.
        self.seen_keys: Integers | None = None
        if not columns.prompt:
            seen_at = np.maximum(columns.created, columns.at + 1)
            self._seen_timeline = Timeline(seen_at, index.entities)
            self.seen_keys = self._seen_timeline.keys(self._entity_of_row, seen_at)[self.rows]
            if bool((self.seen_keys[1:] < self.seen_keys[:-1]).any()):
                self.seen_order = np.argsort(self.seen_keys, kind="stable")
                self._delay = (seen_at - columns.at)[self.rows]

    @cached_property
    def entity(self) -> Integers:
        """Of each event the number of its entity."""
        return self._entity_of_row[self.rows]

    def low(self, window: timedelta) -> Integers:
        """Per row the position of its entity's first event that is not too old for the window."""
        begin = np.full_like(self.index.as_of, np.iinfo(np.int64).min)
        if window != ALL_HISTORY:
            begin = self.index.as_of - window // _MICROSECOND
        return self._search(begin)

    @cached_property
    def past(self) -> Integers:
        """Per row the position behind its entity's last event before `as_of`."""
        return self._search(self.index.as_of)

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
        return self._seen_timeline.places(self.index.entity, self.index.as_of + 1)

    def too_late(self, window: timedelta) -> Mask:
        """True for the events that had left the window before they were seen."""
        if self.seen_order is None or window == ALL_HISTORY:
            return np.zeros(len(self.rows), dtype=bool)
        late: Mask = self._delay > window // _MICROSECOND
        return late

    def _search(self, instants: Integers) -> Integers:
        return np.searchsorted(self._keys, self._timeline.places(self.index.entity, instants))
