"""Records of events, in arrays: which entity each belongs to, its fields, and its texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.features.columns import parse_column
from include.features.engine import tenant_zone
from include.features.key_codes import numbered
from include.features.online.layout import NO_TEXT, Layout, Slot
from include.features.outputs import Integers, Texts
from include.features.vectorized.columns import EventColumns, Mask

Fields: TypeAlias = npt.NDArray[np.void]


@dataclass(frozen=True)
class Records:
    """Records of one layout; every field has one row per record."""

    layout: Layout
    entity: Integers  #: whom the record is about, as a position in a list that the caller has
    fields: Fields  #: of `layout.dtype`
    words: pa.Array  #: the texts that the codes in the fields are positions of

    def __len__(self) -> int:
        return len(self.fields)

    def take(self, rows: Integers | Mask) -> Records:
        """Some of the records, by position or mask."""
        return Records(self.layout, self.entity[rows], self.fields[rows], self.words)


@dataclass(frozen=True)
class Entities:
    """Whose events a table holds."""

    of_event: Integers  #: per event its entity, -1 where a join key is null
    names: tuple[pa.Array, ...]  #: per join key the entities' values

    def keys(self, entities: Integers) -> list[str]:
        """The entities' keys: see `key_of`."""
        rows = pa.array(entities)
        columns = [names.take(rows).to_pylist() for names in self.names]
        if not columns:
            return [key_of(())] * len(rows)
        return [key_of(values) for values in zip(*columns, strict=True)]

    def chunks(self, rows: int) -> Iterator[Integers]:
        """Positions of the events, entity by entity, in pieces of whole entities.

        Args:
            rows: how long a piece is at least, if there is as much.
        """
        order = np.argsort(self.of_event, kind="stable")
        entity = self.of_event[order]
        start = int(np.searchsorted(entity, 0))
        while start < len(order):
            last = entity[min(start + rows, len(order)) - 1]
            stop = int(np.searchsorted(entity, last, side="right"))
            yield order[start:stop]
            start = stop


def key_of(parts: Sequence[str]) -> str:
    """One text that stands for an entity, by its join keys, or for an event: a JSON array."""
    return f"[{', '.join(map(encode_basestring, parts))}]"


def entities_of(events: pa.Table, join_keys: tuple[str, ...]) -> Entities:
    """Number the entities that the events are about."""
    entity = np.zeros(len(events), dtype=np.int64)
    missing = np.zeros(len(events), dtype=bool)
    first = np.zeros(min(len(events), 1), dtype=np.int64)
    for key in join_keys:
        values, codes = numbered(events[key])
        missing |= codes < 0
        pair = entity * (len(values) + 1) + codes + 1
        _, first, entity = np.unique(pair, return_index=True, return_inverse=True)
    names = tuple(events[key].combine_chunks().take(pa.array(first)) for key in join_keys)
    return Entities(np.where(missing, -1, entity), names)


def records_of(layout: Layout, events: pa.Table, attributes: pa.Table) -> Records:
    """One record per event of the layout's stream; its entity is the event's row in the table.

    Args:
        events: canonical events without null instants.
        attributes: canonical facts, at least those that `layout.lookups` can find.
    """
    row = pa.array(np.arange(len(events)))
    columns = EventColumns(
        events.append_column("row", row), attributes, tenant_zone(layout.timezone)
    )
    wanted = columns.in_stream(layout.stream)
    fields = np.zeros(int(wanted.sum()), dtype=layout.dtype)
    fields["at"] = columns.at[wanted]
    fields["n"] = 1
    if layout.bytes_of_bits:
        fields["bits"] = np.packbits(_bits(layout, columns)[wanted], axis=1, bitorder="little")
    if layout.dated:
        fields["day"] = columns.local_day[wanted]
    texts: dict[str, Texts] = {}
    for slot in layout.slots:
        source = parse_column(slot.column, "a record")
        if slot.reading == "text":
            texts[slot.name] = columns.texts(source)
        else:
            values = columns.numbers(source)[wanted]
            fields[slot.name] = np.nan_to_num(values) if slot.role == "sum" else values
    if layout.ordered:
        for name in ("event_id", "source"):
            dictionary, codes = numbered(columns.column(name))
            texts[name] = Texts(codes, dictionary)
    words: list[pa.Array] = [pa.array([], pa.string())]
    known = 0
    for name, column in texts.items():
        codes = column.codes[wanted]
        fields[name] = np.where(codes < 0, NO_TEXT, codes + known)
        words.append(column.dictionary)
        known += len(column.dictionary)
    entity = columns.column("row").to_numpy()[wanted]
    return Records(layout, entity, fields, pa.concat_arrays(words))


def _bits(layout: Layout, columns: EventColumns) -> Mask:
    """Per event which conditions hold and which counted columns have a number."""
    bits = [columns.holds(where) for where in layout.conditions]
    for name in layout.counted:
        bits.append(~np.isnan(columns.numbers(parse_column(name, "a record"))))
    return np.stack(bits, axis=1)


def holds(records: Records, bit: int | None) -> Mask:
    """True for the records whose bit is set; all where there is none."""
    if bit is None:
        return np.ones(len(records), dtype=bool)
    bit_set: Mask = records.fields["bits"][:, bit // 8] & (1 << bit % 8) != 0
    return bit_set


def null_of(slot: Slot) -> float | int:
    """What a field holds where there is no value."""
    if slot.reading == "text":
        return NO_TEXT
    return 0.0 if slot.role == "sum" else np.nan


def with_words(
    layout: Layout, entity: Integers, fields: Fields, words: pa.Array, first_word: Integers
) -> Records:
    """Records whose codes count from `first_word`, each text once."""
    if not layout.texts:
        return Records(layout, entity, fields, words)
    encoded = words.dictionary_encode()
    code = np.append(encoded.indices.to_numpy(), NO_TEXT)
    for name in layout.texts:
        known = fields[name] != NO_TEXT
        fields[name] = code[np.where(known, fields[name] + first_word, -1)]
    return Records(layout, entity, fields, encoded.dictionary)


def joined(parts: Sequence[Records]) -> Records:
    """All records of some of the same layout."""
    before = np.cumsum([0, *(len(part.words) for part in parts[:-1])])
    return with_words(
        parts[0].layout,
        np.concatenate([part.entity for part in parts]),
        np.concatenate([part.fields for part in parts]),
        pa.concat_arrays([part.words for part in parts]),
        np.repeat(before, [len(part) for part in parts]),
    )


def ranks(words: pa.Array) -> Integers:
    """The texts' places in their order, then -1 for a code of none."""
    place = np.empty(len(words) + 1, dtype=np.int64)
    place[pc.sort_indices(words).to_numpy()] = np.arange(len(words))
    place[-1] = -1
    return place


def in_order(records: Records, rows: Integers) -> Integers:
    """Rows by entity, then as events are ordered; the layout is `ordered`."""
    if len(rows) < 2:
        return rows
    at, entity = records.fields["at"][rows], records.entity[rows]
    order = np.lexsort((at, entity))
    same = np.diff(at[order]) == 0
    if not np.any(np.diff(entity[order])[same] == 0):
        return rows[order]
    place, fields = ranks(records.words), records.fields[rows]
    names = [np.minimum(fields[name], len(records.words)) for name in ("source", "event_id")]
    return rows[np.lexsort((*(place[codes] for codes in names), at, entity))]
