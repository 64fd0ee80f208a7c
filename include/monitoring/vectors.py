"""Comparison of the same feature vectors, made twice: where they differ, and by how much."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.monitoring.skew_findings import Mismatch

#: Relative difference up to which two floats are equal: sums may be added up in another order.
TOLERANCE: Final = 1e-9


def compare(logged: pa.Table, again: pa.Table, features: Sequence[str]) -> list[Mismatch]:
    """The features that differ, row by row, in their order.

    Whole numbers and texts are equal to the bit, floats to `TOLERANCE`; null equals null alone. A
    feature that only one table has differs in every row.
    """
    found = []
    for name in features:
        here, there = name in logged.column_names, name in again.column_names
        if here and there:
            differs, size = _differences(logged[name], again[name])
        else:
            differs, size = np.full(logged.num_rows, here or there), None
        if differs.any():
            rows = np.flatnonzero(differs)
            found.append(Mismatch(name, logged.num_rows, len(rows), int(rows[0]), size))
    return found


def _differences(
    before: pa.ChunkedArray, after: pa.ChunkedArray
) -> tuple[npt.NDArray[np.bool_], float | None]:
    """Which rows differ, and the largest relative difference where all that do are numbers."""
    nulls = pc.is_null(before).to_numpy(), pc.is_null(after).to_numpy()
    other = nulls[0] != nulls[1]
    if not (_is_number(before.type) and _is_number(after.type)):
        texts = (_objects(before), _objects(after))
        return other | (texts[0] != texts[1]), None
    if pa.types.is_integer(before.type) and pa.types.is_integer(after.type):
        left, right = (pc.fill_null(c, 0).to_numpy() for c in (before, after))
        unequal = left != right
    else:
        left, right = (pc.fill_null(c.cast(pa.float64()), 0).to_numpy() for c in (before, after))
        unequal = ~np.isclose(left, right, rtol=TOLERANCE, atol=0.0, equal_nan=True)
    differs = other | unequal
    if other.any() or not differs.any():
        return differs, None
    a, b = left[unequal].astype(np.float64), right[unequal].astype(np.float64)
    with np.errstate(all="ignore"):
        size = float(np.max(np.abs(a - b) / np.maximum(np.abs(a), np.abs(b))))
    return differs, size if np.isfinite(size) else None


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _objects(column: pa.ChunkedArray) -> npt.NDArray[Any]:
    return np.array(column.to_pylist(), dtype=object)
