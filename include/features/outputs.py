"""From what an engine computed to a view's columns; every engine but the reference uses it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

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
    return {
        column: _column(expression, primitives, rows, integer=view.columns[column] == "integer")
        for column, expression in view.outputs.items()
    }


def _column(
    expression: Expression, values: Mapping[str, Values], rows: int, *, integer: bool
) -> pa.Array:
    if isinstance(expression, Feature):
        return _array(values[expression.name])
    numbers = np.broadcast_to(_evaluate(expression, values), (rows,))
    if not integer:
        return _array(numbers)
    missing = np.isnan(numbers)  # a count that is only told where enough tenants are behind it
    return pa.array(np.where(missing, 0, numbers).astype(np.int64), mask=missing)


def _evaluate(expression: Expression, values: Mapping[str, Values]) -> Floats:
    """The expression with NaN for null."""
    with np.errstate(all="ignore"):
        match expression:
            case Constant(value):
                return np.float64(value).reshape(1)
            case Feature(name):
                found = values[name]
                assert not isinstance(found, Texts)  # refused by FeatureView
                return found.astype(np.float64)
            case OnlyIf(operand, support, minimum):
                enough = _evaluate(support, values) >= minimum
                return np.where(enough, _evaluate(operand, values), np.nan)
            case Log1p(operand):
                result = np.log1p(_evaluate(operand, values))
            case Ratio(numerator, denominator):
                result = _evaluate(numerator, values) / _evaluate(denominator, values)
            case Difference(left, right):
                result = _evaluate(left, values) - _evaluate(right, values)
        return np.where(np.isfinite(result), result, np.nan)


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
