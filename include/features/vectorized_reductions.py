"""From (row, event) pairs to one value per row: int64, float64 with NaN for null, or text codes."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from include.features.declarations import Aggregation
from include.features.vectorized_columns import Floats, Integers
from include.features.vectorized_pairs import Selection

Numbers: TypeAlias = Integers | Floats

_MICROSECONDS_PER_DAY = 86_400_000_000


def reduce(aggregation: Aggregation, pairs: Selection) -> Numbers:
    """The aggregation's value for each row; text codes are -1 for null."""
    with np.errstate(all="ignore"):
        match aggregation.function:
            case "count":
                return _count(pairs.rows, pairs.row)
            case "days_active":
                return _distinct(pairs.rows, pairs.row, pairs.columns.local_day[pairs.event])
            case "time_since_last":
                return _pick(pairs.rows, pairs.row, pairs.age, "last") / _MICROSECONDS_PER_DAY
            case "time_since_first":
                return _pick(pairs.rows, pairs.row, pairs.age, "first") / _MICROSECONDS_PER_DAY
        if aggregation.source is None:  # pragma: no cover - refused by Aggregation
            raise TypeError(f"{aggregation.function} without a value")
        if aggregation.reading == "text":
            return _of_texts(aggregation, pairs)
        return _of_numbers(aggregation, pairs)


def _of_texts(aggregation: Aggregation, pairs: Selection) -> Numbers:
    assert aggregation.source is not None
    codes = pairs.columns.texts(aggregation.source).codes[pairs.event]
    row, codes = pairs.row[codes >= 0], codes[codes >= 0]
    if aggregation.function == "distinct_count":
        return _distinct(pairs.rows, row, codes)
    if aggregation.function == "entropy":
        return _entropy(pairs.rows, row, codes)
    picked = _pick(pairs.rows, row, codes, aggregation.function)
    return np.where(np.isnan(picked), -1, picked).astype(np.int64)


def _of_numbers(aggregation: Aggregation, pairs: Selection) -> Numbers:
    assert aggregation.source is not None
    values = pairs.columns.numbers(aggregation.source)[pairs.event]
    present = ~np.isnan(values)
    row, values = pairs.row[present], values[present]
    rows, function = pairs.rows, aggregation.function
    if function in ("first", "last"):
        return _pick(rows, row, values, function)
    if function in ("min", "max"):
        return _extreme(rows, row, values, function)
    result = np.bincount(row, weights=values, minlength=rows).astype(np.float64)
    count = _count(rows, row)
    if function != "sum":
        result = result / count  # 0 / 0 is NaN: null
    if function == "std":
        squares = np.bincount(row, weights=(values - result[row]) ** 2, minlength=rows)
        result = np.where(count > 1, np.sqrt(squares / (count - 1)), np.nan)
    return np.where(np.isfinite(result), result, np.nan)


def _count(rows: int, row: Integers) -> Integers:
    return np.bincount(row, minlength=rows).astype(np.int64)


def _pick(rows: int, row: Integers, values: Numbers, which: str) -> Floats:
    """The first or last value of each row, NaN where it has none."""
    result = np.full(rows, np.nan)
    edge = row[1:] != row[:-1]
    chosen = np.append(True, edge) if which == "first" else np.append(edge, True)
    chosen = chosen[: len(row)]
    result[row[chosen]] = values[chosen]
    return result


def _extreme(rows: int, row: Integers, values: Floats, function: str) -> Floats:
    result = np.full(rows, np.nan)
    if len(row):
        starts = np.flatnonzero(np.append(True, row[1:] != row[:-1]))
        ufunc = np.minimum if function == "min" else np.maximum
        result[row[starts]] = ufunc.reduceat(values, starts)
    return result


def _distinct(rows: int, row: Integers, codes: Integers) -> Integers:
    return _count(rows, _groups(row, codes)[0])


def _entropy(rows: int, row: Integers, codes: Integers) -> Floats:
    """Shannon's entropy in nats; summed from the rarest value up, whatever the values are."""
    group_row, group_size = _groups(row, codes)
    order = np.lexsort((group_size, group_row))
    group_row, group_size = group_row[order], group_size[order]
    count = _count(rows, row)
    share = group_size / count[group_row]
    result = np.bincount(group_row, weights=-share * np.log(share), minlength=rows)
    return np.where(count > 0, result + 0.0, np.nan)


def _groups(row: Integers, codes: Integers) -> tuple[Integers, Integers]:
    """Row and size of each distinct (row, code), by row."""
    if not len(row):
        return row, row
    low = codes.min()
    width = codes.max() - low + 1
    groups, sizes = np.unique(row * width + (codes - low), return_counts=True)
    return groups // width, sizes.astype(np.int64)
