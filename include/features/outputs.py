"""From what an engine computed to a view's columns; every engine but the reference uses it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.features.expressions import (
    Constant,
    Difference,
    Expression,
    Feature,
    Log1p,
    OnlyIf,
    Ratio,
)
from include.features.views import FeatureView

Integers: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]


#: What a column holds → its type in Arrow.
TYPES: Final = {"integer": pa.int64(), "number": pa.float64(), "text": pa.string()}
#: Rows up to which making an Arrow array takes longer than filling it.
_FEW: Final = 1_000


@dataclass(frozen=True)
class Texts:
    """Texts as positions in a dictionary of distinct ones; -1 is null."""

    codes: Integers
    dictionary: pa.Array


#: One value per row: whole numbers without null, numbers with NaN for null, or texts.
Values: TypeAlias = Integers | Floats | Texts


def evaluate(view: FeatureView, primitives: Mapping[str, Values], rows: int) -> dict[str, pa.Array]:
    """Every output column of the view.

    Args:
        primitives: of each `(aggregation, window)` in `view.computed()` the values under the name
            `aggregation.feature(window)`, of each attribute those under `lookup.feature`; all of
            length `rows`.
    """
    with np.errstate(all="ignore"):
        columns = {
            column: _column(expression, primitives, rows)
            for column, expression in view.outputs.items()
        }
    if rows > _FEW:
        return {name: _array(values) for name, values in columns.items()}
    return _arrays(columns, rows)


def nulls(view: FeatureView, rows: int) -> dict[str, pa.Array]:
    """Every output column of a view that does not answer."""
    return {name: pa.nulls(rows, TYPES[kind]) for name, kind in view.columns.items()}


def _column(expression: Expression, values: Mapping[str, Values], rows: int) -> Values:
    if isinstance(expression, Feature):
        return values[expression.name]
    numbers = calculate(expression, values)
    if numbers.shape != (rows,):  # of constants alone
        numbers = np.broadcast_to(numbers, (rows,))
    return numbers


def calculate(expression: Expression, values: Mapping[str, Values]) -> Floats:
    """The value of an expression over arrays of one length, NaN for null."""
    match expression:
        case Constant(value):
            return np.float64(value).reshape(1)
        case Feature(name):
            column = values[name]
            assert not isinstance(column, Texts)  # refused by FeatureView
            return column.astype(np.float64)
        case OnlyIf(operand, support, minimum):
            enough = calculate(support, values) >= minimum
            return np.where(enough, calculate(operand, values), np.nan)
        case Log1p(operand):
            result = np.log1p(calculate(operand, values))
        case Ratio(numerator, denominator):
            result = calculate(numerator, values) / calculate(denominator, values)
        case Difference(left, right):
            result = calculate(left, values) - calculate(right, values)
    return np.where(np.isfinite(result), result, np.nan)


def _arrays(columns: Mapping[str, Values], rows: int) -> dict[str, pa.Array]:
    """`_array` of each; those of one type are slices of one array, which is made faster."""
    arrays: dict[str, pa.Array] = {}
    alike: dict[str, dict[str, Integers | Floats]] = {}
    for name, values in columns.items():
        if isinstance(values, np.ndarray):
            alike.setdefault(values.dtype.char, {})[name] = values
        else:
            arrays[name] = _array(values)
    for some in alike.values():
        array = _array(np.concatenate(list(some.values())))
        arrays |= {name: array.slice(row * rows, rows) for row, name in enumerate(some)}
    return arrays


def _array(values: Values) -> pa.Array:
    """An Arrow array whose bytes under nulls are zeros."""
    if isinstance(values, Texts):
        return values.dictionary.take(pa.array(values.codes, mask=values.codes < 0))
    if values.dtype == np.int64:
        return pa.array(values)
    missing = np.isnan(values)
    if not missing.any():
        return pa.array(values)
    return pa.array(np.where(missing, 0.0, values), mask=missing)
