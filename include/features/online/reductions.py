"""From entities' records to their features at an instant."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from typing import Final

import numpy as np

from include.features.declarations import ALL_HISTORY, Aggregation, Function
from include.features.online.layout import NO_TEXT, Layout, slot_of
from include.features.online.records import Records, holds, in_order
from include.features.outputs import Floats, Integers, Texts, Values

_MICROSECOND: Final = timedelta(microseconds=1)
_MICROSECONDS_PER_DAY: Final = 86_400_000_000
_EPSILON: Final = 2.0**-52
#: Rounding that a plain sum may show, relative to it; where it could be more, it is done exactly.
_TOLERATED: Final = 1e-10
#: The mean that a spread is about is exact.
_EXACT: Final = 0.0
#: So few numbers are summed exactly in any case.
_FEW: Final = 4_096


@dataclass(frozen=True)
class Step:
    """One primitive of a view, resolved against a layout."""

    feature: str
    function: Function
    bit: int | None  #: that must be set
    counted: int | None  #: set where the value is a number
    window: int | None  #: in microseconds; None for all history
    field: str
    text: bool


def step(layout: Layout, aggregation: Aggregation, window: timedelta) -> Step:
    """How a primitive is read from the layout's records."""
    slot = slot_of(aggregation.function, aggregation.value)
    mean = aggregation.function == "mean"
    return Step(
        aggregation.feature(window),
        aggregation.function,
        layout.bit(aggregation.where),
        layout.counted_bit(str(aggregation.value)) if mean else None,
        None if window == ALL_HISTORY else window // _MICROSECOND,
        slot.name if slot else "",
        slot is not None and slot.reading == "text",
    )


class History:
    """Records of some entities, sorted by entity, seen from one instant."""

    def __init__(self, records: Records, entities: int, at: int) -> None:
        age = at - records.fields["at"]
        if age.min(initial=1) <= 0:  # known already, and still to happen
            records, age = records.take(age > 0), age[age > 0]
        self._records = records
        self._entities = entities
        self._age = age
        self._rows: dict[tuple[int | None, int | None], Integers] = {}
        self._sums: dict[tuple[int | None, int | None, str], Floats] = {}
        self._values: dict[tuple[Function, int | None, int | None, str], Values] = {}

    def value(self, step: Step) -> Values:
        """The primitive, per entity."""
        key = (step.function, step.bit, step.window, step.field)
        if key not in self._values:
            self._values[key] = self._reduced(step)
        return self._values[key]

    def _reduced(self, step: Step) -> Values:
        rows = self._seen(step.bit, step.window)
        with np.errstate(all="ignore"):
            match step.function:
                case "count":
                    return self._events(rows)
                case "days_active":
                    return self._distinct(rows, self._records.fields["day"][rows])
                case "time_since_last":
                    return self._extreme(rows, self._age[rows], np.minimum) / _MICROSECONDS_PER_DAY
                case "time_since_first":
                    return self._extreme(rows, self._age[rows], np.maximum) / _MICROSECONDS_PER_DAY
            values = self._records.fields[step.field][rows]
            return self._of_texts(step, rows, values) if step.text else self._of(step, rows, values)

    def _seen(self, bit: int | None, window: int | None) -> Integers:
        """Positions of the records that the condition and the window let through."""
        rows = self._rows.get((bit, window))
        if rows is None:
            mask = self._age <= window if window is not None else holds(self._records, None)
            rows = np.flatnonzero(mask & holds(self._records, bit) if bit is not None else mask)
            self._rows[bit, window] = rows
        return rows

    def _of_texts(self, step: Step, rows: Integers, codes: Integers) -> Values:
        present = codes != NO_TEXT
        rows, codes = rows[present], codes[present]
        if step.function == "distinct_count":
            return self._distinct(rows, codes)
        if step.function == "entropy":
            return self._entropy(rows, codes)
        owner, rows = self._end(step, rows)
        chosen = np.full(self._entities, -1, dtype=np.int64)
        chosen[owner] = self._records.fields[step.field][rows]
        return Texts(chosen, self._records.words)

    def _of(self, step: Step, rows: Integers, values: Floats) -> Values:
        if step.function in ("sum", "mean"):
            return self._sum(step, rows, values)
        present = ~np.isnan(values)
        rows, values = rows[present], values[present]
        if step.function == "std":
            return self._std(rows, values)
        if step.function in ("min", "max"):
            pick = np.minimum if step.function == "min" else np.maximum
            return self._extreme(rows, values, pick)
        owner, rows = self._end(step, rows)
        chosen = np.full(self._entities, np.nan)
        chosen[owner] = self._records.fields[step.field][rows]
        return chosen

    def _events(self, rows: Integers) -> Integers:
        n = self._records.fields["n"][rows]
        counts = np.bincount(self._records.entity[rows], weights=n, minlength=self._entities)
        return counts.astype(np.int64)

    def _sum(self, step: Step, rows: Integers, values: Floats) -> Floats:
        key = (step.bit, step.window, step.field)
        if key not in self._sums:
            self._sums[key] = _sums(self._entities, self._records.entity[rows], values)
        total = self._sums[key]
        if step.function == "mean":
            counted = holds(self._records, step.counted)[rows]
            total = total / self._events(rows[counted])  # 0 / 0 is NaN: null
        return np.where(np.isfinite(total), total, np.nan)

    def _std(self, rows: Integers, values: Floats) -> Floats:
        """Of a sample, by the corrected two-pass algorithm (Chan, Golub and LeVeque 1983)."""
        n = self._records.fields["n"][rows]
        rows, values = np.repeat(rows, n), np.repeat(values, n)
        owner = self._records.entity[rows]
        count = np.bincount(owner, minlength=self._entities)
        mean = _sums(self._entities, owner, values, _EXACT) / count
        values = values - mean[owner]
        furthest = self._extreme(rows, np.abs(values), np.maximum)
        scale = np.ldexp(1.0, np.frexp(furthest)[1] - 1)  # so that no square overflows or vanishes
        values = values / scale[owner]
        rest = np.bincount(owner, values, self._entities) ** 2 / count
        squares = np.bincount(owner, values**2, self._entities) - rest
        result = np.where(count > 1, np.sqrt(squares / (count - 1)) * scale, np.nan)
        return np.where(np.isfinite(result), result, np.nan)

    def _extreme(self, rows: Integers, values: Floats | Integers, pick: np.ufunc) -> Floats:
        result = np.full(self._entities, np.nan)
        if len(rows):
            owner = self._records.entity[rows]
            start = np.flatnonzero(np.append(True, owner[1:] != owner[:-1]))
            result[owner[start]] = pick.reduceat(values, start)
        return result

    def _distinct(self, rows: Integers, values: Integers) -> Integers:
        return np.bincount(self._groups(rows, values)[0], minlength=self._entities).astype(np.int64)

    def _entropy(self, rows: Integers, codes: Integers) -> Floats:
        """Shannon's, in nats."""
        owner, size = self._groups(rows, codes)
        count = np.bincount(owner, weights=size, minlength=self._entities)
        share = size / count[owner]
        result = np.bincount(owner, weights=-share * np.log(share), minlength=self._entities)
        return np.where(count > 0, result + 0.0, np.nan)

    def _groups(self, rows: Integers, values: Integers) -> tuple[Integers, Floats]:
        """Entity and number of events of each distinct (entity, value)."""
        if not len(rows):
            return np.empty(0, dtype=np.int64), np.empty(0)
        low = int(values.min())
        width = int(values.max()) - low + 1
        pair = self._records.entity[rows] * width + (values.astype(np.int64) - low)
        pairs, place = np.unique(pair, return_inverse=True)
        size = np.bincount(place, weights=self._records.fields["n"][rows])
        return pairs // width, size.astype(np.float64)

    def _end(self, step: Step, rows: Integers) -> tuple[Integers, Integers]:
        """Entities, and the position of each one's first or last record."""
        rows = in_order(self._records, rows)
        owner = self._records.entity[rows]
        edge = np.append(True, owner[1:] != owner[:-1])[: len(owner)]
        chosen = edge if step.function == "first" else np.roll(edge, -1)
        return owner[chosen], rows[chosen]


def _sums(entities: int, owner: Integers, values: Floats, tolerated: float = _TOLERATED) -> Floats:
    """The sum of each entity's values, adjacent in `owner`; NaN where too large for a float.

    Args:
        tolerated: rounding that a sum may show, relative to it.
    """
    total, doubtful = np.zeros(entities), np.ones(entities, dtype=bool)
    if len(values) > _FEW:
        total = np.bincount(owner, weights=values, minlength=entities).astype(np.float64)
        size = np.bincount(owner, weights=np.abs(values), minlength=entities)
        terms = np.bincount(owner, minlength=entities)
        doubtful = ~(size * terms * _EPSILON <= tolerated * np.abs(total))
    bounds = np.searchsorted(owner, np.arange(entities + 1))
    for entity in np.flatnonzero(doubtful):
        total[entity] = _exact_sum(values[bounds[entity] : bounds[entity + 1]].tolist())
    return total


def _exact_sum(values: list[float]) -> float:
    """The float nearest to the sum; NaN where that is too large."""
    try:
        return math.fsum(values)
    except OverflowError:  # on the way, and perhaps not in the end
        with suppress(OverflowError):
            return float(sum(map(Fraction, values)))
    return math.nan
