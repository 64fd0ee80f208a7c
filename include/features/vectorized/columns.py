"""Events as arrays: any column a declaration may read, each computed once, when it is read."""

from __future__ import annotations

from functools import cached_property
from typing import Final, TypeAlias
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.features.asof import microseconds
from include.features.columns import Column, Reading, parse_column, parse_properties
from include.features.conditions import Condition
from include.features.declarations import EventStream
from include.features.key_codes import numbered
from include.features.local_time import local_microseconds
from include.features.outputs import Floats, Texts
from include.features.time_order import Integers
from include.features.vectorized.attributes import as_numbers, as_texts, facts_about
from include.storage.canonical import REPLACED
from include.storage.entities import ENTITY_COLUMNS

Mask: TypeAlias = npt.NDArray[np.bool_]

NEVER: Final = np.iinfo(np.int64).max
_HOUR: Final = 3_600_000_000
_DAY: Final = 24 * _HOUR


class EventColumns:
    """Checked events in the order of their table, with the attributes they may look up."""

    def __init__(self, events: pa.Table, attributes: pa.Table, zone: ZoneInfo) -> None:
        self.table = events
        self._attributes = attributes
        self._zone = zone
        #: Microseconds since 1970, UTC.
        self.at = microseconds(events["event_timestamp"])
        self.created = microseconds(events["created_timestamp"])
        #: When a correction replaced the event, `NEVER` where none did; None where no event was.
        self.replaced: Integers | None = None
        if REPLACED in events.column_names and events[REPLACED].null_count < len(events):
            replaced = pc.fill_null(events[REPLACED].cast(pa.int64()), NEVER)
            self.replaced = replaced.to_numpy()
        #: Whether every event was known when it happened.
        self.prompt = bool((self.created <= self.at).all())
        self._read_texts: dict[Column, Texts] = {}
        self._read_numbers: dict[Column, Floats] = {}
        self._read_raw: dict[Column, tuple[Integers, list[object]]] = {}
        self._read_present: dict[tuple[object, ...], Mask | None] = {}

    def column(self, name: str) -> pa.ChunkedArray:
        """A stored column."""
        return self.table[name]

    @cached_property
    def local_day(self) -> Integers:
        """Days since 1970 on the tenant's calendar."""
        return self._local // _DAY

    @cached_property
    def _local(self) -> Integers:
        return local_microseconds(self.at, self._zone)

    def in_stream(self, stream: EventStream) -> Mask:
        """True for the events of a stream."""
        names, event = sorted(set(stream.events)), self.table["event"]
        if len(names) == 1:
            named = pc.equal(event, names[0])
        else:
            named = pc.is_in(event, value_set=pa.array(names, pa.string()))
        result: Mask = pc.fill_null(named, False).to_numpy()
        return result & self.holds(stream.where) if stream.where else result

    def holds(self, conditions: tuple[Condition, ...]) -> Mask:
        """True where every condition is."""
        result = np.ones(len(self.at), dtype=bool)
        for condition in conditions:
            result &= self._condition(condition)
        return result

    def present(
        self, where: tuple[Condition, ...], source: Column | None, reading: Reading | None
    ) -> Mask | None:
        """True where every condition is and the value, if one is read, is not null; None: all."""
        if (where, source, reading) not in self._read_present:
            result = self.holds(where)
            if source is not None and reading == "text":
                result &= self.texts(source).codes >= 0
            elif source is not None:
                result &= ~np.isnan(self.numbers(source))
            self._read_present[where, source, reading] = None if result.all() else result
        return self._read_present[where, source, reading]

    def texts(self, column: Column) -> Texts:
        """The column as texts."""
        if column not in self._read_texts:
            if column.origin == "event":
                dictionary, codes = numbered(self.table[column.field])
                self._read_texts[column] = Texts(codes, dictionary)
            else:
                self._read_texts[column] = as_texts(*self._raw(column))
        return self._read_texts[column]

    def numbers(self, column: Column) -> Floats:
        """The column as float64, NaN for null."""
        if column not in self._read_numbers:
            self._read_numbers[column] = self._numbers(column)
        return self._read_numbers[column]

    def _condition(self, condition: Condition) -> Mask:
        if condition.reading == "text":
            texts = self.texts(condition.source)
            if condition.operator == "missing":
                return texts.codes < 0
            if condition.operator == "present":
                return texts.codes >= 0
            listed = pc.is_in(texts.dictionary, value_set=pa.array(condition.values, pa.string()))
            wanted = listed.to_numpy(zero_copy_only=False) ^ (condition.operator == "none_of")
            return np.append(wanted, False)[texts.codes]
        values = self.numbers(condition.source)
        operands = [float(value) for value in condition.values]
        match condition.operator:
            case "missing":
                return np.isnan(values)
            case "present":
                return ~np.isnan(values)
            case "one_of":
                return np.isin(values, operands)
            case "none_of":
                return ~np.isnan(values) & ~np.isin(values, operands)
            case "at_least":
                return values >= operands[0]
            case "not_below":
                return ~(values < operands[0])  # holds for NaN, too
            case "below":
                return values < operands[0]
            case "between":
                return (values >= operands[0]) & (values < operands[1])

    def _numbers(self, column: Column) -> Floats:
        if column.name == "local_hour":
            return (self._local // _HOUR % 24).astype(np.float64)
        if column.name == "local_weekday":
            return ((self.local_day + 3) % 7).astype(np.float64)  # 1970-01-01 was a Thursday
        if column.origin == "event":
            values: Floats = self.table[column.field].to_numpy()
            finite = np.isfinite(values)
            if finite.all():
                return values + 0.0 if (values == 0).any() else values  # -0.0 + 0.0 is 0.0
            return np.where(finite, values + 0.0, np.nan)
        return as_numbers(*self._raw(column))

    def _raw(self, column: Column) -> tuple[Integers, list[object]]:
        """Per event a position in the list of values; -1 is null."""
        if column.origin == "property":
            codes, documents = self._properties
            return codes, [document.get(column.field) for document in documents]
        if column not in self._read_raw:
            self._read_raw[column] = self._looked_up(column)
        return self._read_raw[column]

    def _looked_up(self, column: Column) -> tuple[Integers, list[object]]:
        facts = facts_about(self._attributes, column.entity, column.field)
        owners = self.texts(parse_column(ENTITY_COLUMNS[column.entity], "an attribute"))
        codes = facts.latest(owners.dictionary, owners.codes, self.at, self.created)
        return codes, facts.values

    @cached_property
    def _properties(self) -> tuple[Integers, list[dict[str, object]]]:
        dictionary, codes = numbered(self.table["properties"])
        return codes, [parse_properties(text) for text in dictionary.to_pylist()]
