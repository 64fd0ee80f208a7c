"""From entities' records to their features at an instant, for several windows at once.

Idea: records are sorted by entity, so that one `reduceat` per question reduces each entity's run of
records, for all windows at a time. A window sees a record whose age is at most its length, so the
windows of a question are rows of one mask. Questions that ask alike share masks, sums and answers.

    ages of records      5  30   2 │  9      entity 0 │ entity 1
    window of  7 days    x   .   x │  .   ─┐
    window of 31 days    x   x   x │  x   ─┴ reduceat ──> one value per window and entity

Invariant: whether a record stands for one event or for many, as `folding` left it, changes no
answer.

Arrays called a matrix have one row per window, and one column per record or per entity.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from include.features.declarations import ALL_HISTORY, Aggregation, Function
from include.features.online.layout import NO_TEXT, Layout, slot_of
from include.features.online.records import Records, holds, in_order
from include.features.outputs import Floats, Integers, Texts, Values
from include.features.time_order import in_days
from include.features.vectorized.columns import Mask

_MICROSECOND: Final = timedelta(microseconds=1)
#: The longest floats that the machine has, wherever they are longer than float64.
_Long: Final = np.longdouble
_EPSILON: Final = np.finfo(_Long).eps
_FOREVER: Final = np.iinfo(np.int64).max

Windows = tuple[int, ...]  #: in microseconds, ascending


@dataclass(frozen=True)
class Question:
    """What some primitives ask, alike but for their windows."""

    function: Function
    bit: int | None  #: that must be set
    counted: int | None  #: set where the value is a number
    field: str
    text: bool
    windows: Windows  #: all that anything asks about that reads the same


@dataclass(frozen=True)
class Step:
    """Primitives of a view, resolved against a layout."""

    question: Question
    features: tuple[tuple[str, int], ...]  #: with each one's row in the answer


def steps(layout: Layout, primitives: Iterable[tuple[Aggregation, timedelta]]) -> tuple[Step, ...]:
    """How primitives are read from the layout's records."""
    windows: dict[tuple[int | None, str], set[int]] = {}
    asked = [(part, _length(window), part.feature(window)) for part, window in primitives]
    for part, window, _ in asked:
        windows.setdefault(_read(layout, part), set()).add(window)
    by_question: dict[Question, list[tuple[str, int]]] = {}
    for part, window, feature in asked:
        bit, field = read = _read(layout, part)
        slot = slot_of(part)
        question = Question(
            part.function,
            bit,
            layout.counted_bit(str(part.value)) if part.function == "mean" else None,
            field,
            slot is not None and slot.reading == "text",
            tuple(sorted(windows[read])),
        )
        by_question.setdefault(question, []).append((feature, question.windows.index(window)))
    return tuple(Step(question, tuple(features)) for question, features in by_question.items())


def _read(layout: Layout, aggregation: Aggregation) -> tuple[int | None, str]:
    """Bit and field that an aggregation reads."""
    slot = slot_of(aggregation)
    return layout.bit(aggregation.where), slot.name if slot else ""


def _length(window: timedelta) -> int:
    return _FOREVER if window == ALL_HISTORY else window // _MICROSECOND


class History:
    """Records of some entities, sorted by entity, seen from one instant.

    Its divisions by zero and overflows are meant: it is read with numpy's warnings off.
    """

    def __init__(self, records: Records, entities: int, at: int) -> None:
        age = at - records.fields["at"]
        if age.min(initial=1) <= 0:  # known already, and still to happen
            records, age = records.take(age > 0), age[age > 0]
        self._records, self._entities, self._age = records, entities, age
        self._start = np.flatnonzero(_changes(records.entity))
        self._who = records.entity[self._start]
        self._size = _lengths(self._start, len(records))
        self._all_there = len(self._who) == entities
        self._order: Integers | None = None
        self._masks: dict[tuple[int | None, Windows], Mask] = {}
        self._sums: dict[tuple[int | None, str, Windows], Floats] = {}
        self._answers: dict[Question, list[Values]] = {}

    def answers(self, question: Question) -> list[Values]:
        """Per window the values of the entities."""
        answers = self._answers.get(question)
        if answers is None:
            answers = self._answers[question] = list(self._answer(question))
        return answers

    def _answer(self, question: Question) -> Iterable[Values]:
        fields, seen = self._records.fields, self._seen(question.bit, question.windows)
        match question.function:
            case "count":
                return list(self._events(seen))
            case "days_active":
                return self._distinct(seen, fields["day"])
            case "time_since_last":
                ages = self._reduced(np.minimum, np.where(seen, self._age, _FOREVER), _FOREVER)
                none = ages == _FOREVER
                return np.where(none, np.nan, in_days(np.where(none, 0, ages)))
            case "time_since_first":
                ages = self._reduced(np.maximum, np.where(seen, self._age, -1), -1)
                return np.where(ages == -1, np.nan, in_days(ages))
            case "sum" | "mean":
                return self._sum(question, seen)
        values = np.ascontiguousarray(fields[question.field])
        seen = seen & (values != NO_TEXT if question.text else ~np.isnan(values))
        match question.function:
            case "min" | "max":
                pick = np.fmin if question.function == "min" else np.fmax
                return list(self._reduced(pick, np.where(seen, values, np.nan), np.nan))
            case "std":
                return self._std(seen, values)
            case "distinct_count":
                return self._distinct(seen, values)
            case "entropy":
                return [self._entropy(np.flatnonzero(row), values) for row in seen]
        return self._end(question, seen, values)

    def _seen(self, bit: int | None, windows: Windows) -> Mask:
        """Matrix of the records that the condition and the window let through."""
        mask = self._masks.get((bit, windows))
        if mask is None:
            mask = self._age <= np.array(windows)[:, None]
            if bit is not None:
                mask &= holds(self._records, bit)
            self._masks[bit, windows] = mask
        return mask

    def _reduced(self, reduce: np.ufunc, matrix: Any, empty: float) -> Any:
        """Matrix of each entity's records made one value; `empty` where there is no record."""
        there = reduce.reduceat(matrix, self._start, axis=1)
        if self._all_there:
            return there
        reduced = np.full((len(matrix), self._entities), empty, dtype=matrix.dtype)
        reduced[:, self._who] = there
        return reduced

    def _events(self, seen: Mask) -> Any:
        return self._reduced(np.add, seen * self._records.fields["n"].astype(np.int64), 0)

    def _sum(self, question: Question, seen: Mask) -> Floats:
        key = (question.bit, question.field, question.windows)
        if key not in self._sums:
            values = np.where(seen, self._records.fields[question.field], 0.0)
            self._sums[key] = self._added(values)
        total = self._sums[key]
        if question.counted is not None:
            total = total / self._events(seen & holds(self._records, question.counted))
        return np.where(np.isfinite(total), total, np.nan)  # 0 / 0 is NaN: null

    def _added(self, values: Floats) -> Floats:
        """Matrix of each entity's sums, correctly rounded; NaN where too large for a float.

        Added with more digits than float64 has; where what these lose could change the rounding,
        exactly.
        """
        long = values.astype(_Long)
        plain = np.add.reduceat(long, self._start, axis=1)
        lost = np.add.reduceat(np.abs(long), self._start, axis=1) * self._size * _EPSILON
        low, high = (plain - lost).astype(np.float64), (plain + lost).astype(np.float64)
        doubtful = (low != high) | ~np.isfinite(high)
        for row, number in np.argwhere(doubtful) if doubtful.any() else ():
            first = self._start[number]
            terms = values[row, first : first + self._size[number]].tolist()
            high[row, number] = _exact_sum(terms)
        total = np.zeros((len(values), self._entities))
        total[:, self._who] = high
        return total

    def _std(self, seen: Mask, values: Floats) -> Floats:
        """The standard deviation of a sample, by the corrected two-pass algorithm.

        See Chan, Golub and LeVeque 1983.
        """
        entity, weights = self._records.entity, seen * self._records.fields["n"].astype(np.float64)
        values = np.where(seen, values, 0.0)
        largest = self._reduced(np.maximum, np.abs(values), 0.0)
        scale = np.ldexp(1.0, np.frexp(largest)[1] - 1)  # so that no square overflows or vanishes
        values = values / scale[:, entity]
        count = self._reduced(np.add, weights, 0.0)
        finite = np.isfinite(self._reduced(np.add, weights * values, 0.0) * scale)
        # one of the values is near enough to their mean to lose nothing of small differences
        near = self._reduced(np.maximum, np.where(seen, values, -np.inf), 0.0)
        values = values - near[:, entity]
        values = values - (self._reduced(np.add, weights * values, 0.0) / count)[:, entity]
        rest = self._reduced(np.add, weights * values, 0.0) ** 2 / count
        squares = self._reduced(np.add, weights * values**2, 0.0) - rest
        result = np.sqrt(squares / (count - 1)) * scale
        return np.where((count > 1) & finite & np.isfinite(result), result, np.nan)

    def _distinct(self, seen: Mask, values: Integers) -> Integers:
        """Matrix of how many values there are: one is seen where its youngest record is."""
        rows = np.flatnonzero(seen[-1])  # the longest window sees what any of them sees
        entity = self._records.entity
        rows = rows[np.lexsort((self._age[rows], values[rows], entity[rows]))]
        youngest = np.zeros(len(values), dtype=np.int64)
        youngest[rows[_changes(entity[rows]) | _changes(values[rows])]] = 1
        distinct: Integers = self._reduced(np.add, seen * youngest, 0)
        return distinct

    def _entropy(self, rows: Integers, codes: Integers) -> Floats:
        """Shannon's, in nats, of the records at these positions."""
        width = len(self._records.words)
        pair = self._records.entity[rows] * width + codes[rows]
        pairs, place = np.unique(pair, return_inverse=True)
        size = np.bincount(place, self._records.fields["n"][rows], len(pairs))
        owner = pairs // max(width, 1)
        count = np.bincount(owner, size, self._entities)
        share = size / count[owner]
        result = np.bincount(owner, -share * np.log(share), self._entities)
        return np.where(count > 0, result + 0.0, np.nan)

    def _end(self, question: Question, seen: Mask, values: Floats | Integers) -> Iterable[Values]:
        """Each entity's first or last value in the order of events."""
        if self._order is None:
            self._order = in_order(self._records, np.arange(len(values)))
        rows, place = self._order, np.arange(len(values))
        if question.function == "first":
            none = len(values)
            chosen = self._reduced(np.minimum, np.where(seen[:, rows], place, none), none)
        else:
            chosen = self._reduced(np.maximum, np.where(seen[:, rows], place, -1), -1)
        if question.text:
            codes = np.append(values[rows].astype(np.int64), -1)
            return [Texts(codes[row], self._records.words) for row in chosen]
        numbers: Floats = np.append(values[rows], np.nan)[chosen]
        return numbers


def _changes(values: npt.NDArray[np.generic]) -> Mask:
    """True where a value is the first or differs from the one before it."""
    changes = np.ones(len(values), dtype=bool)
    np.not_equal(values[1:], values[:-1], out=changes[1:])
    return changes


def _lengths(start: Integers, stop: int) -> Integers:
    """How long each run is, of those that begin at `start` and end where the next does."""
    end = np.empty_like(start)
    end[:-1], end[-1:] = start[1:], stop
    return end - start


def _exact_sum(values: list[float]) -> float:
    """The float nearest to the sum; NaN where that is too large."""
    try:
        return math.fsum(values)
    except OverflowError:  # on the way, and perhaps not in the end
        with suppress(OverflowError):
            return float(sum(map(Fraction, values)))
    return math.nan
