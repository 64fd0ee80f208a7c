"""From events to one value per cell: int64, float64 with NaN for null, or text codes."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import TypeAlias

import numpy as np

from include.features.columns import Column, Reading
from include.features.conditions import Condition
from include.features.declarations import Aggregation
from include.features.outputs import Floats
from include.features.time_order import Integers, in_days
from include.features.vectorized.cells import Cells, Selection, selections
from include.features.vectorized.exact import standard_deviations, sums
from include.features.vectorized.history import EventHistory
from include.features.vectorized.ranges import distinct_counts, extremes

Numbers: TypeAlias = Integers | Floats
#: What aggregations with the same events have in common: conditions, value and its reading.
_Read: TypeAlias = tuple[tuple[Condition, ...], Column | None, Reading | None]


def reduce(
    history: EventHistory, wanted: Iterable[tuple[Aggregation, timedelta]]
) -> dict[tuple[Aggregation, timedelta], Numbers]:
    """Every (aggregation, window), one value per distinct spine row."""
    numbers_by_pair: dict[tuple[Aggregation, timedelta], Numbers] = {}
    reads: dict[_Read, list[tuple[Aggregation, timedelta]]] = {}
    for aggregation, window in wanted:
        read: _Read = (aggregation.where, aggregation.source, aggregation.reading)
        reads.setdefault(read, []).append((aggregation, window))
    for read, pairs in reads.items():
        windows = dict.fromkeys(window for _, window in pairs)
        present = history.columns.present(*read)
        mask = None if present is None else present[history.rows]
        for selection, some in selections(history, mask, windows):
            numbers_by_pair |= _reduced(selection, [pair for pair in pairs if pair[1] in some])
    return numbers_by_pair


def _reduced(
    selection: Selection, pairs: list[tuple[Aggregation, timedelta]]
) -> dict[tuple[Aggregation, timedelta], Numbers]:
    numbers_by_pair: dict[tuple[Aggregation, timedelta], Numbers] = {}
    functions: dict[str, list[tuple[Aggregation, timedelta]]] = {}
    for pair in pairs:  # a mean is a sum divided
        function: str = "sum" if pair[0].function == "mean" else pair[0].function
        functions.setdefault(function, []).append(pair)
    for function, some in functions.items():
        windows = list(dict.fromkeys(window for _, window in some))
        cells = selection.cells(windows)
        source, reading = some[0][0].source, some[0][0].reading
        values = _values(function, source, reading, cells).reshape(len(windows), -1)
        sizes = cells.sizes.reshape(values.shape)
        for aggregation, window in some:
            place = windows.index(window)
            numbers_by_pair[aggregation, window] = values[place]
            if aggregation.function == "mean":
                with np.errstate(invalid="ignore"):  # 0 / 0 is NaN: null
                    numbers_by_pair[aggregation, window] = values[place] / sizes[place]
    return numbers_by_pair


def _values(function: str, source: Column | None, reading: Reading | None, cells: Cells) -> Numbers:
    """The function's value for each cell."""
    columns, rows = cells.selection.history.columns, cells.selection.rows
    match function:
        case "count":
            return cells.sizes.astype(np.int64)
        case "days_active":
            return _distinct(cells, columns.local_day[rows])
        case "time_since_first" | "time_since_last":
            age = cells.as_of - _picked(cells, columns.at, function == "time_since_last", 0)
            return np.where(cells.sizes > 0, in_days(age), np.nan)
    assert source is not None  # Aggregation refuses these functions without a value
    if reading == "text":
        codes = columns.texts(source).codes
        if function == "distinct_count":
            return _distinct(cells, codes[rows])
        if function == "entropy":
            return _entropy(cells, codes[rows])
        return _picked(cells, codes, function == "last", -1)
    numbers = columns.numbers(source)
    if function in ("first", "last"):
        return _picked(cells, numbers, function == "last", np.nan)
    if function in ("min", "max"):
        return _extremes(cells, numbers[rows], function == "max")
    exactly = sums if function == "sum" else standard_deviations
    result = exactly(numbers[rows], cells.runs)
    return np.where(np.isfinite(result), result, np.nan)


def _picked(cells: Cells, values: Numbers, last: bool, nothing: float) -> Numbers:
    """The elements of an array over the events' table at each cell's first or last event."""
    event = np.where(cells.sizes > 0, cells.behind - 1 if last else cells.low, -1)
    if cells.scattered.size:
        event[cells.scattered] = cells.each(cells.scattered, _last if last else _first)
    picked = np.full(len(event), nothing, dtype=values.dtype)
    some = event >= 0
    picked[some] = values[cells.selection.rows[event[some]]]
    return picked


def _first(count: int, cell: Integers, event: Integers) -> Integers:
    return _last(count, cell[::-1], event[::-1])


def _last(count: int, cell: Integers, event: Integers) -> Integers:
    result = np.full(count, -1)
    result[cell] = event  # of several for one cell the last stays
    return result


def _extremes(cells: Cells, values: Floats, largest: bool) -> Floats:
    result = extremes(values, cells.low, cells.behind, largest)

    def each(count: int, cell: Integers, event: Integers) -> Floats:
        extremes = np.full(count, -np.inf if largest else np.inf)
        (np.maximum if largest else np.minimum).at(extremes, cell, values[event])
        return extremes

    if cells.scattered.size:
        result[cells.scattered] = cells.each(cells.scattered, each)
    return result


def _distinct(cells: Cells, codes: Integers) -> Integers:
    """How many distinct codes each cell sees; `codes` are the selected events'."""
    groups = cells.selection.of(cells.selection.history.entity)
    fresh = (codes[1:] != codes[:-1]) | (groups[1:] != groups[:-1])
    if bool(((codes[1:] >= codes[:-1]) | (groups[1:] != groups[:-1])).all()):
        number = np.append(0, np.cumsum(fresh))  # equal codes stand together, as days do
        ends = np.maximum(cells.behind, 1) - 1
        starts = np.minimum(cells.low, ends)
        result = np.where(cells.sizes > 0, number[ends] - number[starts] + 1, 0)
    else:
        lowest = codes.min(initial=0)
        result = distinct_counts(codes - lowest, groups, cells.low, cells.behind)

    def each(count: int, cell: Integers, event: Integers) -> Integers:
        return np.bincount(_groups(cell, codes[event])[0], minlength=count)

    if cells.scattered.size:
        result[cells.scattered] = cells.each(cells.scattered, each)
    return result


def _entropy(cells: Cells, codes: Integers) -> Floats:
    """Shannon's entropy in nats; summed from the rarest value up, whatever the values are."""

    def each(count: int, cell: Integers, event: Integers) -> Floats:
        group_cell, group_size = _groups(cell, codes[event])
        order = np.lexsort((group_size, group_cell))
        group_cell, group_size = group_cell[order], group_size[order]
        total = np.bincount(cell, minlength=count)
        share = group_size / total[group_cell]
        entropy = np.bincount(group_cell, weights=-share * np.log(share), minlength=count)
        return np.where(total > 0, entropy + 0.0, np.nan)

    return cells.each(np.arange(len(cells.low)), each)


def _groups(cell: Integers, codes: Integers) -> tuple[Integers, Integers]:
    """Cell and size of each distinct (cell, code), by cell."""
    if not len(cell):
        return cell, cell
    lowest = codes.min()
    width = int(codes.max()) - int(lowest) + 1
    groups, sizes = np.unique(cell * width + (codes - lowest), return_counts=True)
    return groups // width, sizes
