"""What the online store keeps of a stream's events per entity: the fields of a record.

A record stands for `n` events of one entity at one instant that agree in everything a feature could
tell apart: which conditions hold, the texts that are counted apart, the numbers whose spread is
asked for. Sums, minima and maxima are added up within it. So a record is a partial aggregate that
no window can split, and any two can be merged or kept apart without changing any feature.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from include.features.columns import Reading
from include.features.conditions import Condition
from include.features.declarations import (
    ALL_HISTORY,
    Aggregation,
    AttributeLookup,
    EventStream,
    Function,
)
from include.features.views import FeatureView

#: How a column is kept: added up, its extremes, each value apart, or the earliest and latest.
Role: TypeAlias = Literal["sum", "min", "max", "apart", "ends"]

#: Function → the role of its value; those without a value need the conditions alone.
ROLES: Final[dict[Function, Role]] = {
    "sum": "sum",
    "mean": "sum",
    "min": "min",
    "max": "max",
    "std": "apart",
    "distinct_count": "apart",
    "entropy": "apart",
    "first": "ends",
    "last": "ends",
}
#: Code of a null text in a record.
NO_TEXT: Final = 0xFFFFFFFF
#: Raised when records of the same layout are to be read differently.
_FORMAT: Final = 1
_MICROSECOND: Final = timedelta(microseconds=1)


@dataclass(frozen=True)
class Use:
    """One thing that a feature reads from the records, whatever its window."""

    function: Function
    value: str | None
    where: tuple[Condition, ...]
    forever: bool  #: some window is all history
    read_as: Reading | None = None

    @property
    def slot(self) -> Slot | None:
        """Where its value is kept."""
        return slot_of(Aggregation(self.function, self.value, read_as=self.read_as))


@dataclass(frozen=True)
class Slot:
    """A field of a record that keeps a column in one of the roles."""

    role: Role
    column: str
    reading: Reading

    @property
    def name(self) -> str:
        """The field's name."""
        return f"{self.role} {self.column} {self.reading}"

    @property
    def adds_up(self) -> bool:
        """Whether records that differ in it alone can be merged."""
        return self.role in ("sum", "min", "max")


def slot_of(aggregation: Aggregation) -> Slot | None:
    """The slot that an aggregation reads its value from; None where it takes none."""
    role, reading = ROLES.get(aggregation.function), aggregation.reading
    if aggregation.value is None or role is None or reading is None:
        return None
    return Slot(role, aggregation.value, reading)


@dataclass(frozen=True)
class Layout:
    """Everything needed to make records of events, and features of records."""

    region: str  #: of the tenant
    timezone: str
    join_keys: tuple[str, ...]
    stream: EventStream
    uses: tuple[Use, ...]
    longest: timedelta  #: the longest window that is not all history; zero where there is none

    @cached_property
    def key(self) -> str:
        """Sixteen hex digits that change exactly when the records' content or reading does."""
        return hashlib.sha256(json.dumps([_FORMAT, self.to_json()]).encode()).hexdigest()[:16]

    @cached_property
    def conditions(self) -> tuple[tuple[Condition, ...], ...]:
        """The narrowing conditions; each has a bit in a record, in this order."""
        return tuple(dict.fromkeys(use.where for use in self.uses if use.where))

    @cached_property
    def counted(self) -> tuple[str, ...]:
        """Columns whose values are counted for a mean; their bits follow those of `conditions`."""
        return tuple(dict.fromkeys(str(u.value) for u in self.uses if u.function == "mean"))

    @cached_property
    def slots(self) -> tuple[Slot, ...]:
        """The fields that hold values, in order."""
        return tuple(dict.fromkeys(use.slot for use in self.uses if use.slot is not None))

    @cached_property
    def ordered(self) -> bool:
        """Whether records name their event, which orders those of one instant."""
        return any(slot.role == "ends" for slot in self.slots)

    @cached_property
    def dated(self) -> bool:
        """Whether records carry the tenant's local day."""
        return any(use.function == "days_active" for use in self.uses)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """Fields that hold codes of texts."""
        order = ("event_id", "source") if self.ordered else ()
        return (*(slot.name for slot in self.slots if slot.reading == "text"), *order)

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """Fields besides `at` in which records must agree to be merged."""
        bits = ("bits",) if self.bytes_of_bits else ()
        day = ("day",) if self.dated else ()
        order = ("event_id", "source") if self.ordered else ()
        return (*bits, *day, *(s.name for s in self.slots if not s.adds_up), *order)

    @property
    def bytes_of_bits(self) -> int:
        """Bytes that the conditions' and counted columns' bits take."""
        return -(-(len(self.conditions) + len(self.counted)) // 8)

    @cached_property
    def dtype(self) -> np.dtype[np.void]:
        """A record: microseconds since 1970, number of events, then the fields."""
        fields: list[Any] = [("at", "<i8"), ("n", "<u4")]
        if self.bytes_of_bits:
            fields.append(("bits", "u1", (self.bytes_of_bits,)))
        if self.dated:
            fields.append(("day", "<i4"))
        fields += [(s.name, "<u4" if s.reading == "text" else "<f8") for s in self.slots]
        if self.ordered:
            fields += [("event_id", "<u4"), ("source", "<u4")]
        return np.dtype(fields)

    @property
    def horizon(self) -> int:
        """Microseconds before a batch's end from which on only all history looks back."""
        return self.longest // _MICROSECOND

    def bit(self, where: tuple[Condition, ...]) -> int | None:
        """Number of the conditions' bit; None where there is no condition."""
        return self.conditions.index(where) if where else None

    def counted_bit(self, column: str) -> int:
        """Number of the bit that is set where the column has a number."""
        return len(self.conditions) + self.counted.index(column)

    @property
    def lookups(self) -> tuple[AttributeLookup, ...]:
        """Attributes that records are made from."""
        read = [c.source.name for c in self.stream.where]
        for use in self.uses:
            read += [c.source.name for c in use.where]
            read += [use.value] if use.value else []
        return tuple(lookup for lookup in self.stream.lookups if lookup.column in read)

    def to_json(self) -> dict[str, Any]:
        """As plain data; `from_json` reads it back."""
        return {
            "region": self.region,
            "timezone": self.timezone,
            "join_keys": list(self.join_keys),
            "events": list(self.stream.events),
            "where": _conditions_to_json(self.stream.where),
            "lookups": [
                [lookup.entity_kind, lookup.name, lookup.reading] for lookup in self.stream.lookups
            ],
            "uses": [
                [
                    *(use.function, use.value, _conditions_to_json(use.where), use.forever),
                    *([use.read_as] if use.read_as else ()),
                ]
                for use in self.uses
            ],
            "longest_seconds": self.longest // timedelta(seconds=1),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Layout:
        """The layout that `to_json` wrote."""
        return cls(
            data["region"],
            data["timezone"],
            tuple(data["join_keys"]),
            EventStream(
                tuple(data["events"]),
                _conditions(data["where"]),
                tuple(AttributeLookup(*lookup) for lookup in data["lookups"]),
            ),
            tuple(Use(f, v, _conditions(w), *rest) for f, v, w, *rest in data["uses"]),
            timedelta(seconds=data["longest_seconds"]),
        )


def layouts(
    views: Iterable[FeatureView], region: str, timezone: str
) -> dict[Layout, list[FeatureView]]:
    """One layout per stream and join keys, with the views it serves."""
    groups: dict[tuple[EventStream, tuple[str, ...]], list[FeatureView]] = {}
    for view in views:
        if view.stream is not None:
            groups.setdefault((view.stream, view.entity.join_keys), []).append(view)
    return {
        Layout(region, timezone, join_keys, stream, _uses(members), _longest(members)): members
        for (stream, join_keys), members in groups.items()
    }


def _uses(views: Sequence[FeatureView]) -> tuple[Use, ...]:
    forever_by_use: dict[Use, bool] = {}
    for view in views:
        for part, window in view.computed():
            use = Use(part.function, part.value, part.where, False, part.read_as)
            forever_by_use[use] = forever_by_use.get(use, False) or window == ALL_HISTORY
    return tuple(replace(use, forever=forever) for use, forever in forever_by_use.items())


def _longest(views: Sequence[FeatureView]) -> timedelta:
    return max(view.longest_window for view in views)


def _conditions_to_json(conditions: tuple[Condition, ...]) -> list[Any]:
    return [
        [condition.column, condition.operator, list(condition.values)] for condition in conditions
    ]


def _conditions(data: list[Any]) -> tuple[Condition, ...]:
    return tuple(Condition(column, operator, tuple(values)) for column, operator, values in data)
