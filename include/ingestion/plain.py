"""Values as they come in any format → one of few plain types, so that equal values are equal.

Text, booleans, integers, floats, decimals, days and instants stay what they are. Whatever else has
a meaning becomes text: an id its digits, nested values JSON.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import pyarrow as pa

#: Integers up to here in a column of floats are spelled as integers.
_INTEGERS: Final = 2.0**63


def plain(column: pa.Array) -> pa.Array:
    """The column in a plain type; its length stays, and null stays null."""
    kind = column.type
    if isinstance(kind, pa.UuidType):
        return pa.array([None if v is None else str(v) for v in column.to_pylist()], pa.string())
    if isinstance(column, pa.ExtensionArray):
        return plain(column.storage)
    if pa.types.is_dictionary(kind):
        return plain(column.dictionary_decode())
    if pa.types.is_run_end_encoded(kind):
        return plain(pa.compute.run_end_decode(column))
    if pa.types.is_nested(kind):
        values = column.to_pylist(maps_as_pydicts="lossy")
        return pa.array(
            [None if value is None else as_text(value) for value in values], pa.string()
        )
    if pa.types.is_float16(kind):
        return column.cast(pa.float32())
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_null(kind):
        return column.cast(pa.string())
    if _is_kept(kind):
        return column
    return pa.array([None if v is None else as_text(v) for v in column.to_pylist()], pa.string())


def _is_kept(kind: pa.DataType) -> bool:
    kept: tuple[Callable[[pa.DataType], bool], ...] = (
        *(pa.types.is_string, pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating),
        *(pa.types.is_decimal, pa.types.is_date, pa.types.is_timestamp),
    )
    return any(is_kind(kind) for is_kind in kept)


def as_text(value: Any) -> str | None:
    """A value as text: what nests as JSON, text as itself.

    A number is spelled by its value alone: 1001, 1001.0 and a decimal 1001.00 are all `1001`.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, float):  # by far the most of what is no text
        number = _number(value)
        return None if number is None else repr(number)
    if isinstance(value, (dict, list, tuple)):
        return json.dumps(_json(value), sort_keys=True, ensure_ascii=False)
    simple = _json(value)
    if simple is None or isinstance(simple, str):
        return simple
    return json.dumps(simple)


def _json(value: Any) -> Any:
    """The value as JSON has it; a member without a value is left out, as files leave it out."""
    if isinstance(value, dict):
        members = ((str(key), _json(member)) for key, member in value.items())
        return {key: member for key, member in members if member is not None}
    if isinstance(value, (list, tuple)):
        return [_json(member) for member in value]
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Decimal):
        if not value.is_finite():
            return None
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes):
        return _decoded(value)
    if isinstance(value, (datetime, date, time)):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return _number(value.total_seconds())
    if isinstance(value, UUID):
        return str(value)
    return value if value is None or isinstance(value, (str, bool, int)) else str(value)


def _number(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() and abs(value) < _INTEGERS else value


def _decoded(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def split_path(name: str, columns: Sequence[str]) -> tuple[str, tuple[str, ...]] | None:
    """The column that a dotted name leads into, and the way within it; None where there is none.

    A column of that very name comes first, then the one with the longest name.
    """
    if name in columns:
        return name, ()
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        if (column := ".".join(parts[:length])) in columns:
            return column, tuple(parts[length:])
    return None


def at_path(value: Any, path: Sequence[str]) -> Any:
    """What stands at a path of members and list positions within a value; None if nothing does."""
    for part in path:
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, (list, tuple)) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value
