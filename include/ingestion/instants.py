"""Source columns → instants, by the one format that the source's connector declares.

Nothing is guessed: `iso` takes what ISO 8601 and its usual spellings leave no doubt about, and
never a day and a month that could be the other way round.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from include.handoffs import INSTANTS
from include.ingestion.columns import numbers, texts
from include.storage.canonical import TIMESTAMP

#: What lies outside is a typing error or a sentinel, not a date.
ENDS: Final = INSTANTS
_ROOM: Final = timedelta(days=2)  #: for any time zone
#: Microseconds of a unit of time since 1970.
EPOCH_UNITS: Final = {"epoch_s": 1e6, "epoch_ms": 1e3, "epoch_us": 1.0}
_LOCAL: Final = r"^\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d{1,6})?)?$"
_ZONED: Final = rf"{_LOCAL[:-1]}(Z|[+-]\d\d(:?\d\d)?)$"
#: A day, a time of it, and what may stand behind: an offset, the name of a zone, or both.
_ISO: Final = re.compile(
    r"(?P<day>\d{4}-?\d\d-?\d\d)"
    r"(?:[ T](?P<clock>[\d:]+(?:[.,]\d+)?))?"
    r" ?(?P<offset>Z|[+-]\d\d(?::?\d\d(?::?\d\d)?)?)?"
    r"(?: ?(?P<utc>UTC|GMT)| ?\[?(?P<zone>[A-Z][A-Za-z_]+/[A-Za-z_/+-]+)\]?)?",
    re.ASCII,
)


def instants(column: pa.Array, timezone: str, form: str = "iso") -> pa.Array:
    """As UTC microseconds; what is no instant, or lies outside 1800–2199, becomes null.

    Args:
        timezone: of values that carry none. A local time that occurs twice means the first; one
            that is skipped means the instant the clocks went forward.
        form: how text and numbers say an instant; days and instants of their own type are clear.
    """
    kind = column.type
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        near = _without_far(column)  # a far instant would overflow in microseconds
        read = _located(near.cast(_micro(kind), safe=False), timezone)
    elif form in EPOCH_UNITS:
        read = _of_epochs(numbers(column), EPOCH_UNITS[form])
    elif form == "iso":
        read = _of_iso(pc.utf8_trim_whitespace(texts(column)), timezone)
    else:
        read = _of_pattern(pc.utf8_trim_whitespace(texts(column)), form, timezone)
    first, end = (pa.scalar(value, TIMESTAMP) for value in ENDS)
    usable = pc.and_(pc.greater_equal(read, first), pc.less(read, end))
    return pc.if_else(usable, read, pa.scalar(None, TIMESTAMP))


def _of_epochs(values: pa.Array, unit: float) -> pa.Array:
    microseconds = pc.round(pc.multiply(values, unit))
    # a count of less than nothing is a sentinel: -1 says "never"
    near = pc.and_(
        pc.greater_equal(microseconds, 0), pc.less(microseconds, ENDS[1].timestamp() * 1e6)
    )
    return pc.if_else(near, microseconds, None).cast(pa.int64()).cast(TIMESTAMP)


def _of_iso(column: pa.Array, timezone: str) -> pa.Array:
    """Whole columns by Arrow, which reads the common spellings; the others value by value."""
    for kind in (TIMESTAMP, pa.timestamp("us")):
        with suppress(pa.ArrowInvalid):
            return _located(column.cast(kind), timezone)
    zoned = pc.fill_null(pc.match_substring_regex(column, _ZONED), False)
    local = pc.fill_null(pc.match_substring_regex(column, _LOCAL), False)
    try:
        instant = pc.if_else(zoned, column, None).cast(TIMESTAMP)
        clock = pc.if_else(local, column, None).cast(pa.timestamp("us"))
        read = pc.coalesce(instant, _located(clock, timezone))
    except pa.ArrowInvalid:  # a 13th month
        read = pa.nulls(len(column), TIMESTAMP)
    left = pc.and_(pc.is_null(read), pc.is_valid(column))
    if not pc.any(left).as_py():
        return read
    zone = ZoneInfo(timezone)
    others = [_of_text(text, zone) for text in column.filter(left).to_pylist()]
    return pc.replace_with_mask(read, left, pa.array(others, TIMESTAMP))


def _of_pattern(column: pa.Array, pattern: str, timezone: str) -> pa.Array:
    with duckdb.connect(config={"enable_external_access": "false"}) as connection:
        connection.execute("SET timezone = 'UTC'")
        connection.register("rows", pa.table({"text": column}))
        parsed = connection.sql(
            "SELECT try_strptime(text, $1) AS instant FROM rows", params=[pattern]
        )
        read = parsed.to_arrow_table()["instant"].combine_chunks()
    return _located(read.cast(_micro(read.type), safe=False), timezone)


def _of_text(text: str, zone: ZoneInfo) -> datetime | None:
    parts = _ISO.fullmatch(text)
    try:
        if parts is None:
            return _as_utc(datetime.fromisoformat(text), zone)  # a week's day, a basic form
        if parts["zone"] and parts["offset"] is None:
            zone = ZoneInfo(parts["zone"])
        day, clock, more = parts["day"], parts["clock"] or "00:00", timedelta(0)
        if re.match(r"24(:?00)?(:?00)?([.,]0+)?$", clock):
            clock, more = "00:00", timedelta(days=1)
        elif leap := re.fullmatch(r"(\d\d:?\d\d:?)60([.,]\d+)?", clock):
            clock, more = f"{leap[1]}59", timedelta(seconds=1)
        offset = "Z" if parts["utc"] and not parts["offset"] else parts["offset"] or ""
        return _as_utc(datetime.fromisoformat(f"{day}T{clock}{offset}") + more, zone)
    except (ValueError, OverflowError, KeyError, OSError):  # Arrow's and zoneinfo's among them
        return None


def _as_utc(value: datetime, zone: ZoneInfo) -> datetime:
    if value.tzinfo is not None:
        return value.astimezone(UTC)
    instant: datetime = _located(pa.array([value], pa.timestamp("us")), zone.key)[0].as_py()
    return instant


def _without_far(column: pa.Array) -> pa.Array:
    """Instants well beyond `ENDS` become null: in microseconds they could overflow."""
    kind = column.type
    bare = kind if pa.types.is_date(kind) else pa.timestamp(kind.unit)
    first, end = ENDS[0] - _ROOM, ENDS[1] + _ROOM
    ends = [pa.scalar(edge.replace(tzinfo=None), bare).cast(kind) for edge in (first, end)]
    near = pc.and_(pc.greater_equal(column, ends[0]), pc.less(column, ends[1]))
    return pc.if_else(near, column, pa.scalar(None, kind))


def _micro(kind: pa.DataType) -> pa.DataType:
    return pa.timestamp("us", tz=kind.tz if pa.types.is_timestamp(kind) else None)


def _located(column: pa.Array, timezone: str) -> pa.Array:
    if column.type.tz is None:
        column = pc.assume_timezone(column, timezone, ambiguous="earliest", nonexistent="latest")
    return column.cast(TIMESTAMP)
