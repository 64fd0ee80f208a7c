"""A table of the tenant's own Postgres, streamed by its cursor column."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
from include.ingestion.columns import ENDS, require
from include.ingestion.conditions import is_integer, listed
from include.ingestion.opening import Opener
from include.ingestion.watch import Watch, reason_of
from include.tenants.config import Source
from include.tenants.connectors import PostgresConnector

_FETCH_ROWS: Final = 20_000
_INSTANTS: Final = ("timestamptz", "timestamp", "date")
#: Types that Postgres spells better than Python.
_AS_TEXT: Final = ("numeric", "json", "jsonb", "interval", "time", "timetz", "uuid", "inet", "cidr")
_INTEGERS: Final = frozenset(types[name].oid for name in ("int2", "int4", "int8"))
_TEXTS: Final = frozenset(types[name].oid for name in ("text", "varchar"))
#: What arrived in the interval, and rows whose arrival is no usable instant, which have to be set
#: aside. A day of slack: a cursor without time zone is read in the mapping's, later.
_ARRIVED: Final = """
    ({cursor} >= {start}::timestamptz - interval '1 day'
     AND {cursor} < {end}::timestamptz + interval '1 day'
     OR {cursor} IS NULL
     OR {cursor} < {first}::timestamptz + interval '1 day'
     OR {cursor} >= {last}::timestamptz - interval '1 day')
"""


def read(
    source: Source,
    connector: PostgresConnector,
    columns: list[str],
    interval: Interval,
    opener: Opener,
) -> Iterator[pa.Table]:
    """Tables of the source's columns: what the cursor says arrived in the interval.

    The database keeps the result; this process holds one fetch of it.

    Raises:
        IsolationError: the connection is not granted to the tenant.
        SourceError: the database refuses or does not answer, or table or column are missing.
    """
    limits = opener.limits
    watch = Watch(limits.statement_seconds + limits.idle_seconds)
    try:
        with opener.database(connector.connection) as connection, watch.on(connection):
            connection.execute("SET TRANSACTION READ ONLY")
            milliseconds = int(limits.statement_seconds * 1_000)
            connection.execute(f"SET LOCAL statement_timeout = {milliseconds}")
            connection.execute("SET LOCAL timezone = 'UTC'")
            kinds = _kinds(connection, connector, columns)
            query = _query(source, connector, columns, kinds, interval)
            with connection.cursor(name="tenantry_ingestion", row_factory=tuple_row) as stream:
                for kind in (*_INSTANTS, *_AS_TEXT):
                    stream.adapters.register_loader(kind, _loader(connection, kind))
                stream.execute(query)
                while fetched := stream.fetchmany(_FETCH_ROWS):
                    watch.rest()
                    arrays = [_column(values) for values in zip(*fetched, strict=True)]
                    yield pa.table(arrays, columns)
                    watch.begin()
    except psycopg.Error as error:
        # Not chained: what a driver says can quote its whole address, and a server's error a value.
        late = f"the database did not answer within {watch.seconds:g} s"
        raise SourceError(late if watch.over else reason_of(error)) from None


def _kinds(
    connection: psycopg.Connection[Any], connector: PostgresConnector, columns: list[str]
) -> dict[str, int]:
    """The type of each column that the table has."""
    table = sql.Identifier(*connector.table.split("."))
    described = connection.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(table)).description
    kinds = {column.name: column.type_code for column in described or ()}
    require(columns, kinds)
    return kinds


def _query(
    source: Source,
    connector: PostgresConnector,
    columns: list[str],
    kinds: dict[str, int],
    interval: Interval,
) -> sql.Composed:
    """The rows in a total order: numbers, and the first of equal ids, are the same every time."""
    cursor = sql.Identifier(connector.cursor)
    ends = {"start": interval.start, "end": interval.end, "first": ENDS[0], "last": ENDS[1]}
    # Literals rather than parameters: a `%` in a column's name would be taken for one.
    arrived = sql.SQL(_ARRIVED).format(
        cursor=cursor, **{name: sql.Literal(instant) for name, instant in ends.items()}
    )
    wanted: list[sql.Composable] = [arrived]
    for name, allowed in source.where.items():  # `meant` decides; this spares the others the way
        allowed = listed(allowed)
        if (kinds[name] in _INTEGERS and all(map(is_integer, allowed))) or (
            kinds[name] in _TEXTS and all(isinstance(value, str) for value in allowed)
        ):
            literals = sql.SQL(", ").join(map(sql.Literal, allowed))
            found = sql.SQL("{} IN ({})").format(sql.Identifier(name), literals)
            wanted.append(found if allowed else sql.SQL("FALSE"))  # no value: no row, as in files
    ids = source.events.event_id if source.events else ()
    texts = [
        sql.SQL('{}::text COLLATE "C"').format(sql.Identifier(name))
        for name in dict.fromkeys([*ids, *columns])
        if name != connector.cursor
    ]
    return sql.SQL("SELECT {} FROM {} WHERE {} ORDER BY {}").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.Identifier(*connector.table.split(".")),
        sql.SQL(" AND ").join(wanted),
        sql.SQL(", ").join([cursor, *texts]),
    )


def _loader(connection: psycopg.Connection[Any], kind: str) -> type[Loader]:
    """Loads a value as psycopg does, and as text where Python has nothing for it: `infinity`."""
    if kind in _AS_TEXT:
        return TextLoader
    found = connection.adapters.get_loader(connection.adapters.types[kind].oid, Format.TEXT)
    assert found is not None  # psycopg brings one for each of these types
    create: Callable[[int, AdaptContext | None], LoaderOfOne] = found

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
    """One fetched column; what has no Arrow type, or several, is read as text."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return pa.array([None if v is None else str(v) for v in values], pa.string())
