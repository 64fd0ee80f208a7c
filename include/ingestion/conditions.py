"""A source's `where`: which of its rows are meant, read the same way in every format.

Text means itself. A number means what reads as that number, a boolean `true` or `false`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from include.ingestion.columns import numbers, texts
from include.tenants.fields import Scalar

Where = Mapping[str, Scalar | tuple[Scalar, ...]]

_EXACT: Final = 2**53  #: integers up to here are the same as floats


def meant(rows: pa.Table, where: Where) -> pa.Array:
    """For each row, whether every condition holds for it."""
    chosen = pa.repeat(True, len(rows))
    for name, wanted in where.items():
        column = rows[name].combine_chunks()
        equal = pa.repeat(False, len(rows))
        for value in listed(wanted):
            equal = pc.or_(equal, _equal(column, value))
        chosen = pc.and_(chosen, equal)
    return chosen


def listed(wanted: Scalar | tuple[Scalar, ...]) -> tuple[Scalar, ...]:
    """The values of a condition."""
    return wanted if isinstance(wanted, tuple) else (wanted,)


def is_integer(value: Scalar) -> bool:
    """Whether it is an integer that any database has."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def _equal(column: pa.Array, value: Scalar) -> pa.Array:
    text = texts(column)
    if isinstance(value, str):
        return pc.fill_null(pc.equal(text, value), False)
    if isinstance(value, bool):
        return pc.fill_null(pc.equal(pc.utf8_lower(text), str(value).lower()), False)
    found = pc.fill_null(pc.equal(text, str(value)), False)
    if abs(value) < _EXACT:
        found = pc.or_(found, pc.fill_null(pc.equal(numbers(column), float(value)), False))
    return found
