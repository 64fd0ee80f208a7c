"""A table of the tenant's own Postgres, streamed by its cursor column."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.abc import AdaptContext, Buffer
from psycopg.abc import Loader as LoaderOfOne
from psycopg.adapt import Loader
from psycopg.pq import Format
from psycopg.rows import tuple_row
from psycopg.types.string import TextLoader

from include.errors import SourceError
from include.handoffs import Interval
from include.ingestion.columns import ENDS, require
from include.ingestion.mapping import ROW
from include.tenants.config import PostgresConnector, Source

#: Opens the database behind a connection id.
Connect = Callable[[str], AbstractContextManager[psycopg.Connection[Any]]]

_FETCH_ROWS: Final = 20_000
#: What arrived in the interval, and rows whose arrival is no usable instant, which have to be set
#: aside. A day of slack: a cursor without time zone is read in the mapping's, later.
_ARRIVED: Final = """
    ({cursor} >= %(start)s::timestamptz - interval '1 day'
     AND {cursor} < %(end)s::timestamptz + interval '1 day'
     OR {cursor} IS NULL
     OR {cursor} < %(first)s::timestamptz + interval '1 day'
     OR {cursor} >= %(last)s::timestamptz - interval '1 day')
"""


def read_postgres(
    source: Source,
    connector: PostgresConnector,
    columns: list[str],
    interval: Interval,
    connect: Connect,
) -> Iterator[pa.Table]:
    """Tables of the source's columns and `ROW`: what the cursor says arrived in the interval.

    The database keeps the result; this process holds one fetch of it.

    Raises:
        SourceError: the database refuses, or table or column are missing.
    """
    wanted = [sql.SQL(_ARRIVED).format(cursor=sql.Identifier(connector.cursor))]
    for name, allowed in source.where.items():
        listed = allowed if isinstance(allowed, tuple) else (allowed,)
        # Literals without a type take the column's.
        literals = [sql.Literal(v if isinstance(v, str) else json.dumps(v)) for v in listed]
        condition = sql.SQL("{} IN ({})").format(sql.Identifier(name), sql.SQL(", ").join(literals))
        wanted.append(condition)
    instants = {"start": interval.start, "end": interval.end, "first": ENDS[0], "last": ENDS[1]}
    query = sql.SQL("SELECT {} FROM {} WHERE {} ORDER BY {}").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.Identifier(*connector.table.split(".")),
        sql.SQL(" AND ").join(wanted),
        sql.SQL(", ").join(map(sql.Identifier, _order(source, connector))),
    )
    try:
        with connect(connector.connection) as connection:
            connection.execute("SET TRANSACTION READ ONLY")
            _require(connection, connector, columns)
            with connection.cursor(name="tenantry_ingestion", row_factory=tuple_row) as stream:
                for kind in ("timestamptz", "timestamp", "date", "json", "jsonb"):
                    stream.adapters.register_loader(kind, _loader(connection, kind))
                stream.execute(query, instants)
                row = 0
                while fetched := stream.fetchmany(_FETCH_ROWS):
                    table = pa.table(
                        [_column(values) for values in zip(*fetched, strict=True)], names=columns
                    )
                    numbers = pa.array(range(row, row + len(fetched)), pa.int64())
                    yield table.append_column(ROW, numbers)
                    row += len(fetched)
    except psycopg.Error as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SourceError(
            f"connection {connector.connection!r}, table {connector.table}: {reason}"
        ) from error


def _require(
    connection: psycopg.Connection[Any], connector: PostgresConnector, columns: list[str]
) -> None:
    table = sql.Identifier(*connector.table.split("."))
    described = connection.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(table)).description
    require(
        columns,
        [column.name for column in described or ()],
        f"connection {connector.connection!r}, table {connector.table}",
    )


def _loader(connection: psycopg.Connection[Any], kind: str) -> type[Loader]:
    """Loads a value as psycopg does, and as text where Python has nothing for it: `infinity`."""
    if kind.startswith("json"):
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


def _order(source: Source, connector: PostgresConnector) -> list[str]:
    """The cursor, then what identifies a row, so that row numbers are the same every time."""
    ids = source.events.event_id if source.events else (source.attributes.entity_id,)  # type: ignore[union-attr]
    return list(dict.fromkeys([connector.cursor, *ids]))


def _column(values: Sequence[Any]) -> pa.Array:
    """One fetched column; what has no Arrow type, or several, is read as text."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return pa.array([None if v is None else str(v) for v in values], pa.string())
