"""A table of the tenant's own Postgres, streamed by its cursor column."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.abc import AdaptContext, Buffer
from psycopg.abc import Loader as LoaderOfOne
from psycopg.adapt import Loader
from psycopg.postgres import types
from psycopg.pq import Format
from psycopg.rows import tuple_row
from psycopg.types.string import TextLoader

from include.errors import SourceError
from include.handoffs import Interval
from include.ingestion.conditions import listed
from include.ingestion.instants import ENDS, EPOCH_UNITS
from include.ingestion.opening import Opener
from include.ingestion.plain import as_text, split_path
from include.ingestion.wanted import Presence, Wanted
from include.ingestion.watch import Watch, reason_of
from include.tenants.config import Source
from include.tenants.connectors import PostgresConnector
from include.tenants.fields import Scalar

DECIDES_WHERE = True
_FETCH_ROWS: Final = 20_000
_INSTANTS: Final = ("timestamptz", "timestamp", "date")


def _oids(*names: str) -> frozenset[int]:
    return frozenset(types[name].oid for name in names)


_WHOLE: Final = _oids("int2", "int4", "int8")
_NUMBERS: Final = _WHOLE | _oids("float4", "float8", "numeric")
_TEXTS: Final = _oids("text", "varchar", "bpchar")
_JSON: Final = _oids("json", "jsonb")
#: Types of which Python has the values; what another type holds is text as Postgres prints it.
_IN_PYTHON: Final = _NUMBERS | _TEXTS | _JSON | _oids("bool", "bytea", *_INSTANTS)
#: What arrived in the interval, and rows whose arrival is no usable instant, which have to be set
#: aside. A day of slack: a cursor without time zone is read in the mapping's, later.
_ARRIVED: Final = """
    ({cursor} >= {start} AND {cursor} < {end}
     OR {cursor} IS NULL OR {cursor} < {first} OR {cursor} >= {last})
"""
_SLACK: Final = timedelta(days=1)
#: A number that stands in text, as files have it; only what can be cast is.
_READS_AS: Final = """
    CASE WHEN {text} ~ '^[+-]?[0-9]{{1,15}}([.][0-9]{{1,15}})?$'
         THEN {text}::numeric = {number} ELSE {text} = {spelled} END
"""


def read(
    source: Source,
    connector: PostgresConnector,
    wanted: Wanted,
    interval: Interval,
    opener: Opener,
) -> Iterator[pa.Table]:
    """Tables of the source's columns: what the cursor says arrived in the interval.

    The database keeps the result; this process holds one fetch of it. It also chooses rows by
    `where`: what it calls equal is equal, such as `PAID` and the padded value of a `char(8)`.

    Raises:
        IsolationError: the connection is not granted to the tenant.
        SourceError: the database refuses or does not answer, or table or column are missing.
    """
    with _opened(connector, opener) as (connection, watch):
        table = _described(connection, connector, wanted)
        query = _rows(connection, source, table, wanted, interval)
        with connection.cursor(name="tenantry_ingestion", row_factory=tuple_row) as stream:
            _register_loaders(stream)
            stream.execute(query)
            while fetched := stream.fetchmany(_FETCH_ROWS):
                watch.rest()
                arrays = [_column(values) for values in zip(*fetched, strict=True)]
                yield pa.table(arrays, wanted.names)
                watch.begin()


def count_outside(
    source: Source,
    connector: PostgresConnector,
    wanted: Wanted,
    interval: Interval,
    opener: Opener,
) -> int:
    """How many rows that `where` chooses `read` leaves out, as they arrived at another time.

    Raises:
        IsolationError: the connection is not granted to the tenant.
        SourceError: the database refuses or does not answer, or table or column are missing.
    """
    with _opened(connector, opener) as (connection, _):
        table = _described(connection, connector, wanted)
        arrived = _arrived(source, table, interval)
        chosen = sql.SQL(" AND ").join(
            [sql.SQL("NOT ({})").format(arrived), *_conditions(connection, source, table)]
        )
        counting = sql.SQL("SELECT count(*) FROM {} WHERE {}").format(table.name, chosen)
        counted = connection.execute(counting).fetchone()
    assert counted is not None  # an aggregate without GROUP BY always has one row
    return int(next(iter(counted.values())) if isinstance(counted, dict) else counted[0])


@contextmanager
def _opened(
    connector: PostgresConnector, opener: Opener
) -> Iterator[tuple[psycopg.Connection[Any], Watch]]:
    """A read-only transaction in which no statement lasts longer than the limits allow."""
    limits = opener.limits
    watch = Watch(limits.statement_seconds + limits.idle_seconds)
    try:
        with opener.database(connector.connection) as connection, watch.on(connection):
            connection.execute("SET TRANSACTION READ ONLY")
            milliseconds = int(limits.statement_seconds * 1_000)
            connection.execute(f"SET LOCAL statement_timeout = {milliseconds}")
            connection.execute("SET LOCAL timezone = 'UTC'")
            yield connection, watch
    except psycopg.Error as error:
        # Not chained: what a driver says can quote its whole address, and a server's error a value.
        late = f"the database did not answer within {watch.seconds:g} s"
        raise SourceError(late if watch.over else reason_of(error)) from None


@dataclass(frozen=True)
class _Table:
    """A table, and how each column that is wanted is got of it."""

    name: sql.Composable
    columns: Mapping[str, sql.Composable]
    kinds: Mapping[str, int]  #: object ids of their types

    def text(self, name: str) -> sql.Composable:
        """A column as Postgres prints it; text that stands in JSON as it is."""
        form = "({} #>> '{{}}')" if self.kinds[name] in _JSON else "({}::text)"
        return sql.SQL(form).format(self.columns[name])


def _described(
    connection: psycopg.Connection[Any], connector: PostgresConnector, wanted: Wanted
) -> _Table:
    """Columns, and dotted paths into those that hold JSON."""
    table = sql.Identifier(*connector.table.split("."))
    described = connection.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(table)).description
    there = {column.name: column.type_code for column in described or ()}
    columns: dict[str, sql.Composable] = {name: sql.Identifier(name) for name in there}
    kinds = dict(there)
    for name in wanted.names:
        column, path = split_path(name, tuple(there)) or (name, ())
        if path and there[column] in _JSON:
            within = sql.SQL("({} #> {})").format(sql.Identifier(column), sql.Literal(list(path)))
            columns[name], kinds[name] = within, there[column]
    presence = Presence(wanted)
    presence.note(columns)
    presence.finish()
    return _Table(table, columns, kinds)


def _rows(
    connection: psycopg.Connection[Any],
    source: Source,
    table: _Table,
    wanted: Wanted,
    interval: Interval,
) -> sql.Composed:
    """The rows in a total order: numbers, and the first of equal ids, are the same every time."""
    cursor = source.connector.cursor_column
    ids = source.events.event_id if source.events else ()
    order = [
        sql.SQL('{} COLLATE "C"').format(table.text(name))
        for name in dict.fromkeys([*ids, *wanted.names])
        if name != cursor
    ]
    return sql.SQL("SELECT {} FROM {} WHERE {} ORDER BY {}").format(
        sql.SQL(", ").join(table.columns[name] for name in wanted.names),
        table.name,
        sql.SQL(" AND ").join(
            [_arrived(source, table, interval), *_conditions(connection, source, table)]
        ),
        sql.SQL(", ").join([table.columns[cursor or ""], *order]),
    )


def _arrived(source: Source, table: _Table, interval: Interval) -> sql.Composable:
    """What the cursor says; where only the mapping can read it, every row."""
    cursor, form = source.connector.cursor_column or "", source.connector.timestamp_format
    kind = table.kinds[cursor]
    ends = {
        "start": interval.start - _SLACK,
        "end": interval.end + _SLACK,
        "first": ENDS[0] + _SLACK,
        "last": ENDS[1] - _SLACK,
    }
    if kind in _oids(*_INSTANTS):
        bounds = {
            name: sql.SQL("{}::timestamptz").format(sql.Literal(instant))
            for name, instant in ends.items()
        }
    elif kind in _NUMBERS and form in EPOCH_UNITS:
        per_second = 1e6 / EPOCH_UNITS[form]
        bounds = {
            name: sql.SQL("{}::numeric").format(sql.Literal(int(instant.timestamp() * per_second)))
            for name, instant in ends.items()
        }
    else:
        return sql.SQL("TRUE")
    return sql.SQL(_ARRIVED).format(cursor=table.columns[cursor], **bounds)


def _conditions(
    connection: psycopg.Connection[Any], source: Source, table: _Table
) -> list[sql.Composable]:
    """The source's `where`. Literals, as a `%` in a column's name is taken for a parameter."""
    return [
        sql.SQL("({})").format(
            sql.SQL(" OR ").join(
                [_equal(connection, table, name, value) for value in listed(allowed)]
                or [sql.SQL("FALSE")]
            )
        )
        for name, allowed in source.where.items()
    ]


def _equal(
    connection: psycopg.Connection[Any], table: _Table, name: str, value: Scalar
) -> sql.Composable:
    kind, text = table.kinds[name], table.text(name)
    if isinstance(value, bool):
        return sql.SQL("lower({}) = {}").format(text, sql.Literal(str(value).lower()))
    if isinstance(value, (int, float)):
        if kind in _NUMBERS:
            return sql.SQL("{} = {}").format(table.columns[name], sql.Literal(value))
        literals = {"number": sql.Literal(value), "spelled": sql.Literal(str(value))}
        return sql.SQL(_READS_AS).format(text=text, **literals)
    if kind in _JSON:
        return sql.SQL("{} = {}").format(text, sql.Literal(value))
    equal = sql.SQL("{} = {}").format(table.columns[name], sql.Literal(value))
    try:
        with connection.transaction():  # the type reads the text, or nothing of it is equal
            connection.execute(sql.SQL("SELECT {} FROM {} LIMIT 0").format(equal, table.name))
    except psycopg.DataError:
        return sql.SQL("FALSE")
    except psycopg.ProgrammingError:  # a type without equality
        return sql.SQL("{} = {}").format(text, sql.Literal(value))
    return equal


class _Trimmed(TextLoader):
    """`char(n)` without the blanks that fill it up, which are no part of its value."""

    def load(self, data: Buffer) -> str | bytes:
        value = super().load(data)
        return value.rstrip(" ") if isinstance(value, str) else value


def _register_loaders(stream: psycopg.Cursor[Any] | psycopg.ServerCursor[Any]) -> None:
    for kind in types:
        if kind.oid not in _IN_PYTHON:
            stream.adapters.register_loader(kind.oid, TextLoader)
    for name in _INSTANTS:
        stream.adapters.register_loader(name, _lenient(stream, name))
    stream.adapters.register_loader("bpchar", _Trimmed)


def _lenient(context: AdaptContext, kind: str) -> type[Loader]:
    """Loads an instant as psycopg does, and as text where Python has none: `infinity`."""
    adapters = context.adapters
    loader = adapters.get_loader(adapters.types[kind].oid, Format.TEXT)
    assert loader is not None  # psycopg brings one for each of these types
    create: Callable[[int, AdaptContext | None], LoaderOfOne] = loader

    class Lenient(Loader):
        def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
            super().__init__(oid, context)
            self._parent = create(oid, context)

        def load(self, data: Buffer) -> Any:
            try:
                return self._parent.load(data)
            except psycopg.DataError:
                return bytes(data).decode()

    return Lenient


def _column(values: Sequence[Any]) -> pa.Array:
    """One fetched column; what nests, has no Arrow type, or several, is text."""
    if not any(isinstance(value, (list, dict)) for value in values):
        try:
            return pa.array(values)
        except (pa.ArrowException, OverflowError):
            pass
    return pa.array([_text(value) for value in values], pa.string())


def _text(value: Any) -> str | None:
    return str(value) if isinstance(value, Decimal) and value.is_nan() else as_text(value)
