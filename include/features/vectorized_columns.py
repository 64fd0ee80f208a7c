"""Events as sorted arrays: any column a declaration may read, each computed once on demand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.features.columns import Column, parse_properties, read_number, read_text
from include.features.conditions import Condition
from include.features.declarations import EventStream
from include.features.local_time import local_microseconds
from include.storage.canonical import ENTITY_COLUMNS

Integers: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]

_HOUR = 3_600_000_000
_DAY = 24 * _HOUR


@dataclass(frozen=True)
class Texts:
    """A text column as positions in a dictionary of distinct texts; -1 is null."""

    codes: Integers
    dictionary: pa.Array


class EventColumns:
    """One tenant's events, sorted by (event_timestamp, event_id, source)."""

    def __init__(self, events: pa.Table, attributes: pa.Table, zone: ZoneInfo) -> None:
        order = [(name, "ascending") for name in ("event_timestamp", "event_id", "source")]
        self._events = events.take(pc.sort_indices(events, order)).combine_chunks()
        self._attributes = attributes
        self._zone = zone
        #: Microseconds since 1970, UTC.
        self.at = microseconds(self._events["event_timestamp"])
        self.created = microseconds(self._events["created_timestamp"])
        self.texts = cache(self._texts)
        self.numbers = cache(self._numbers)
        self._fact_rows = cache(self._looked_up)
        self._properties = cache(self._parsed_properties)
        self._local = cache(lambda: local_microseconds(self.at, self._zone))

    def column(self, name: str) -> pa.ChunkedArray:
        """A stored column in sorted order."""
        return self._events[name]

    @property
    def local_day(self) -> Integers:
        """Days since 1970 on the tenant's calendar."""
        return self._local() // _DAY

    def in_stream(self, stream: EventStream) -> Mask:
        """True for the events of a stream."""
        names = pa.array(sorted(set(stream.events)), pa.string())
        named: Mask = pc.is_in(self.column("event"), value_set=names).to_numpy()
        return self.holds(stream.where) & named

    def holds(self, conditions: tuple[Condition, ...]) -> Mask:
        """True where every condition is."""
        result = np.ones(len(self.at), dtype=bool)
        for condition in conditions:
            result &= self._condition(condition)
        return result

    def _condition(self, condition: Condition) -> Mask:
        if condition.reading == "text":
            texts = self.texts(condition.source)
            if condition.operator == "missing":
                return texts.codes < 0
            if condition.operator == "none_of":
                listed = pc.is_in(
                    texts.dictionary, value_set=pa.array(condition.values, pa.string())
                )
                return ~np.append(listed.to_numpy(zero_copy_only=False), True)[texts.codes]
            wanted = pc.is_in(texts.dictionary, value_set=pa.array(condition.values, pa.string()))
            return np.append(wanted.to_numpy(zero_copy_only=False), False)[texts.codes]
        values = self.numbers(condition.source)
        operands = [float(value) for value in condition.values]
        if condition.operator == "missing":
            return np.isnan(values)
        if condition.operator == "one_of":
            return np.isin(values, operands)
        if condition.operator == "none_of":
            return ~np.isnan(values) & ~np.isin(values, operands)
        if condition.operator == "below":
            return values < operands[0]
        at_least = values >= operands[0]
        return at_least if condition.operator == "at_least" else at_least & (values < operands[1])

    def _numbers(self, column: Column) -> Floats:
        """The column as float64, NaN for null."""
        if column.name == "local_hour":
            return (self._local() // _HOUR % 24).astype(np.float64)
        if column.name == "local_weekday":
            return ((self.local_day + 3) % 7).astype(np.float64)  # 1970-01-01 was a Thursday
        if column.origin == "event":
            values = self.column(column.field).to_numpy().astype(np.float64)
            return np.where(np.isfinite(values), values + 0.0, np.nan)
        codes, found = self._raw(column)
        numbers = [read_number(value) for value in found]
        table = np.array([np.nan if n is None else n for n in (*numbers, None)], dtype=np.float64)
        return table[codes]

    def _texts(self, column: Column) -> Texts:
        if column.origin == "event":
            return encoded(self.column(column.field))
        codes, found = self._raw(column)
        read = encoded(pa.chunked_array([pa.array([read_text(v) for v in found], pa.string())]))
        return Texts(np.append(read.codes, -1)[codes], read.dictionary)

    def _raw(self, column: Column) -> tuple[Integers, list[object]]:
        """Per event a position in the list of values; -1 is null."""
        if column.origin == "property":
            codes, documents = self._properties()
            return codes, [document.get(column.field) for document in documents]
        rows = self._fact_rows(column)
        used, codes = np.unique(rows[rows >= 0], return_inverse=True)
        result = np.full(len(rows), -1, dtype=np.int64)
        result[rows >= 0] = codes
        return result, self._attributes["value"].take(pa.array(used)).to_pylist()

    def _parsed_properties(self) -> tuple[Integers, list[dict[str, object]]]:
        texts = encoded(self.column("properties"))
        return texts.codes, [parse_properties(text) for text in texts.dictionary.to_pylist()]

    def _looked_up(self, column: Column) -> Integers:
        """Per event the row of the attribute value it carries, or -1."""
        ids = encoded(self.column(ENTITY_COLUMNS[column.entity]))
        facts = self._attributes.append_column("row", pa.array(np.arange(len(self._attributes))))
        facts = facts.filter(
            pc.and_(pc.equal(facts["entity"], column.entity), pc.equal(facts["name"], column.field))
        )
        owner = pc.index_in(facts["entity_id"], value_set=ids.dictionary)
        facts = facts.append_column("owner", owner.cast(pa.int64())).filter(owner.is_valid())
        order = ("owner", "valid_from", "created_timestamp", "event_id", "source")
        facts = facts.sort_by([(name, "ascending") for name in order])
        owners = facts["owner"].to_numpy()
        created = microseconds(facts["created_timestamp"])
        first = np.searchsorted(owners, ids.codes, side="left")
        last = TimeOrder(owners, microseconds(facts["valid_from"])).after(ids.codes, self.at) - 1
        while True:  # step back over values that were not yet known, usually none
            unknown = np.flatnonzero(last >= first)
            unknown = unknown[created[last[unknown]] > self.created[unknown]]
            if not unknown.size:
                break
            last[unknown] -= 1
        return np.where(last >= first, np.append(facts["row"].to_numpy(), -1)[last], -1)


class TimeOrder:
    """Finds positions in rows sorted by (group, instant)."""

    def __init__(self, groups: Integers, instants: Integers) -> None:
        self._instants, ranks = np.unique(instants, return_inverse=True)
        self._keys = groups * (len(self._instants) + 1) + ranks

    def before(self, groups: Integers, instants: Integers) -> Integers:
        """Position of the first row of the group at or after the instant."""
        ranks = np.searchsorted(self._instants, instants, side="left")
        return np.searchsorted(self._keys, groups * (len(self._instants) + 1) + ranks)

    def after(self, groups: Integers, instants: Integers) -> Integers:
        """Position behind the last row of the group at or before the instant."""
        ranks = np.searchsorted(self._instants, instants, side="right")
        return np.searchsorted(self._keys, groups * (len(self._instants) + 1) + ranks)


def encoded(column: pa.ChunkedArray) -> Texts:
    """A text column as codes and dictionary."""
    array = pa.chunked_array(column, pa.string()).combine_chunks().dictionary_encode()
    if isinstance(array, pa.ChunkedArray):
        array = array.combine_chunks()
    codes = pc.fill_null(array.indices, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    return Texts(codes, array.dictionary)


def microseconds(column: pa.ChunkedArray) -> Integers:
    """A timestamp column without nulls as microseconds since 1970."""
    values: Integers = column.cast(pa.int64()).to_numpy().copy()
    return values
