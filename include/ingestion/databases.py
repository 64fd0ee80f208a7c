"""A table of the tenant's own Postgres, streamed by its cursor column."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

import psycopg
import pyarrow as pa
from psycopg import sql
from psycopg.rows import tuple_row

from include.errors import SourceError
from include.handoffs import Interval
from include.ingestion.mapping import ROW
from include.tenants.config import PostgresConnector, Source

#: Opens the database behind a connection id.
Connect = Callable[[str], AbstractContextManager[psycopg.Connection[Any]]]

_FETCH_ROWS: Final = 20_000


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
    # A day of slack on both sides: a cursor without time zone is read in the mapping's.
    cursor = sql.Identifier(connector.cursor)
    wanted = [
        sql.SQL("{} >= %s::timestamptz - interval '1 day'").format(cursor),
        sql.SQL("{} < %s::timestamptz + interval '1 day'").format(cursor),
    ]
    values: list[Any] = [interval.start, interval.end]
    for name, allowed in source.where.items():
        wanted.append(sql.SQL("{}::text = ANY(%s)").format(sql.Identifier(name)))
        listed = allowed if isinstance(allowed, tuple) else (allowed,)
        values.append([str(value) for value in listed])
    query = sql.SQL("SELECT {} FROM {} WHERE {} ORDER BY {}").format(
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.Identifier(*connector.table.split(".")),
        sql.SQL(" AND ").join(wanted),
        sql.SQL(", ").join(map(sql.Identifier, _order(source, connector))),
    )
    try:
        with connect(connector.connection) as connection:
            connection.execute("SET TRANSACTION READ ONLY")
            with connection.cursor(name="tenantry_ingestion", row_factory=tuple_row) as stream:
                stream.itersize = _FETCH_ROWS
                stream.execute(query, values)
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
