"""Source columns of any type → canonical columns; what cannot be converted becomes null.

Whole columns go through Arrow. Only a column that holds something odd is read value by value.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from include.errors import SourceError
from include.redaction import MOST_NAMES, names_among
from include.storage.canonical import TIMESTAMP

#: Control characters, and those that reorder or hide text.
UNPRINTABLE: Final = (
    r"[\x00-\x1f\x7f-\x9f\x{61c}\x{180e}\x{200b}\x{200e}\x{200f}\x{2028}-\x{202e}"
    r"\x{2060}-\x{2069}\x{feff}\x{e0000}-\x{e007f}]"
)
#: Up to here a float tells every integer from its neighbours.
_EXACT: Final = 2.0**53
_NUMBER: Final = r"-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,2})?"
_INTEGER: Final = r"0|-?[1-9][0-9]{0,18}"
#: What lies outside is a typing error or a sentinel, not a date.
ENDS: Final = (datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC))
_ROOM: Final = timedelta(days=2)  #: for any time zone


def require(columns: list[str], there: Iterable[str], where: str = "") -> None:
    """Raise SourceError unless all columns are there; it names those that were asked for.

    Of what is there, at most twenty are named, and only what looks like a name. Where none of the
    columns asked for is there, what is may be a customer's data: a first line without names.
    """
    names = list(there)
    known = set(names)
    missing = [name for name in columns if name not in known]
    if not missing:
        return
    listed = ", ".join(map(repr, missing[:MOST_NAMES]))
    if len(missing) == len(set(columns)):
        told = "none of the columns asked for is there; is the first line the header?"
    else:
        told = f"there are: {', '.join(names_among(names))}"
    raise SourceError(f"{where}{': ' if where else ''}no column {listed}; {told}")


def texts(column: pa.Array) -> pa.Array:
    """As text, shape kept; empty text and what is not Unicode become null.

    A whole number in a column of floats is spelled as an integer, whatever stands beside it: an id
    must not depend on the batch it came in.
    """
    if pa.types.is_floating(column.type):
        column = column.cast(pa.float64())
        small = pc.less(pc.abs(column), _EXACT)
        whole = pc.fill_null(pc.and_(pc.equal(pc.floor(column), column), small), False)
        integers = pc.if_else(whole, column, 0.0).cast(pa.int64()).cast(pa.string())
        return pc.if_else(whole, integers, column.cast(pa.string()))
    found = _try(lambda: column.cast(pa.string()))
    if found is None:
        found = pa.array([_text(value) for value in column.to_pylist()], pa.string())
    return pc.if_else(pc.equal(found, ""), pa.scalar(None, pa.string()), found)


def numbers(column: pa.Array) -> pa.Array:
    """As float64; NaN, infinities and what is no number become null."""
    if pa.types.is_boolean(column.type):
        return pa.nulls(len(column), pa.float64())
    found = _try(lambda: column.cast(pa.float64(), safe=False))
    if found is None:
        found = pa.array([_number(value) for value in column.to_pylist()], pa.float64())
    return pc.if_else(pc.is_finite(found), found, pa.scalar(None, pa.float64()))


def instants(column: pa.Array, timezone: str) -> pa.Array:
    """As UTC microseconds; what is no instant, or lies outside 1970–2199, becomes null.

    Args:
        timezone: of values that carry none. A local time that occurs twice means the first; one
            that is skipped means the instant the clocks went forward.
    """
    kind = column.type
    found: pa.Array | None = None
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        near = _without_far(column)  # a far instant would overflow in microseconds
        found = _located(near.cast(_micro(kind), safe=False), timezone)
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        found = _try(lambda: column.cast(TIMESTAMP))
        if found is None:
            found = _try(lambda: _located(column.cast(pa.timestamp("us")), timezone))
    if found is None:
        zone = ZoneInfo(timezone)
        found = pa.array([_instant(v, zone) for v in column.to_pylist()], TIMESTAMP)
    first, end = (pa.scalar(value, TIMESTAMP) for value in ENDS)
    usable = pc.and_(pc.greater_equal(found, first), pc.less(found, end))
    return pc.if_else(usable, found, pa.scalar(None, TIMESTAMP))


def joined(parts: list[pa.Array]) -> pa.Array:
    """Texts joined so that different tuples never meet; null where any part is."""
    escaped = [
        pc.replace_substring(pc.replace_substring(part, "\\", "\\\\"), "|", "\\|") for part in parts
    ]
    return pc.binary_join_element_wise(*escaped, "|")


def json_objects(columns: dict[str, pa.Array]) -> pa.Array:
    """One JSON object per row; null values are left out, and so is an object without any."""
    members = [
        pc.binary_join_element_wise(f", {json.dumps(name)}: ", _json_values(column), "")
        for name, column in columns.items()
    ]
    # Not by the kernel's own skipping of nulls: of a single column, it skips the rows.
    inner = pc.binary_join_element_wise(*(pc.fill_null(one, "") for one in members), "")
    wrapped = pc.binary_join_element_wise("{", pc.utf8_slice_codeunits(inner, 2), "}", "")
    return pc.if_else(pc.equal(inner, ""), pa.scalar(None, pa.string()), wrapped)


def _json_values(column: pa.Array) -> pa.Array:
    """JSON of each value, the same whether a number or boolean comes typed or as text."""
    if pa.types.is_floating(column.type):
        return texts(numbers(column))
    encoded = texts(column).dictionary_encode()
    distinct = encoded.dictionary.to_pylist()
    decimals = [text for text in distinct if _is_decimal(text)]
    spelled = texts(pa.array(map(float, decimals), pa.float64())).to_pylist()
    known = dict(zip(decimals, spelled, strict=True))
    values = [known.get(text) or _json_value(text) for text in distinct]
    return pa.array(values, pa.string()).take(encoded.indices)


def _is_decimal(text: str) -> bool:
    return bool(re.fullmatch(_NUMBER, text)) and not re.fullmatch(_INTEGER, text)


def _json_value(text: str) -> str:
    plain = text in ("true", "false") or re.fullmatch(_INTEGER, text)
    return text if plain else json.dumps(text)


def _without_far(column: pa.Array) -> pa.Array:
    """Instants well beyond `ENDS` become null: in microseconds they could overflow."""
    kind = column.type
    plain = kind if pa.types.is_date(kind) else pa.timestamp(kind.unit)
    first, end = ENDS[0] - _ROOM, ENDS[1] + _ROOM
    ends = [pa.scalar(one.replace(tzinfo=None), plain).cast(kind) for one in (first, end)]
    near = pc.and_(pc.greater_equal(column, ends[0]), pc.less(column, ends[1]))
    return pc.if_else(near, column, pa.scalar(None, kind))


def _micro(kind: pa.DataType) -> pa.DataType:
    return pa.timestamp("us", tz=kind.tz if pa.types.is_timestamp(kind) else None)


def _located(column: pa.Array, timezone: str) -> pa.Array:
    if column.type.tz is None:
        column = pc.assume_timezone(column, timezone, ambiguous="earliest", nonexistent="latest")
    return column.cast(TIMESTAMP)


def _try(convert: Callable[[], pa.Array]) -> pa.Array | None:
    try:
        return convert()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowKeyError):
        return None


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return None
    text = value if isinstance(value, str) else str(value)
    return text if text.isascii() or not re.search("[\ud800-\udfff]", text) else None


def _number(value: Any) -> float | None:
    try:
        text = _text(value) or ""
        found = math.nan if "_" in text else float(text)  # 1_000 is a number to Python only
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _instant(value: Any, zone: ZoneInfo) -> datetime | None:
    """One value, for columns that hold something Arrow cannot convert as a whole."""
    try:
        if isinstance(value, date) and not isinstance(value, datetime):
            value = datetime.combine(value, time())
        if not isinstance(value, datetime):
            value = datetime.fromisoformat((_text(value) or "").strip())
        if value.tzinfo is None:
            local = pa.array([value], pa.timestamp("us"))
            found: datetime = _located(local, zone.key)[0].as_py()
            return found
        instant: datetime = value.astimezone(UTC)
        return instant
    except (ValueError, OverflowError):  # Arrow's errors are ValueErrors
        return None
