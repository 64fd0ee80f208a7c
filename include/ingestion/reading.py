"""What every kind of connector's rows go through: granted, numbered, counted, filtered, and worded.

A kind's own module only gives rows. What holds for all of them is here, so that none can forget it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from typing import Any, Protocol, cast

import pyarrow as pa
import pyarrow.compute as pc

from include.errors import ConfigError, IsolationError, SourceError
from include.handoffs import Interval
from include.ingestion.conditions import meant
from include.ingestion.expressions import Computing, computing
from include.ingestion.grants import Grants
from include.ingestion.mapping import columns_read
from include.ingestion.opening import Connect, Opener, UnopenedError
from include.ingestion.personal import Hide
from include.ingestion.plain import plain
from include.ingestion.rows import BlockEnd, LeftOut, Rows, Unread
from include.ingestion.wanted import Wanted
from include.ingestion.zone_maps import Survey
from include.redaction import redacted, shown_address, without_secrets
from include.tenants.config import Source
from include.tenants.connectors import Connector


class SourceReader(Protocol):
    """The module of a kind of connector."""

    #: Whether the source itself chooses rows by `where`, as a database does by its own equality.
    DECIDES_WHERE: bool

    def read(
        self,
        source: Source,
        connector: Any,
        wanted: Wanted,
        interval: Interval,
        opener: Opener,
    ) -> Iterator[pa.Table | Unread | LeftOut | BlockEnd]:
        """Tables of the wanted columns, in an order that is the same every time.

        A table lacks an optional column where its file does. Rows that the source's `where` or the
        interval leaves out may be among the others.

        Args:
            connector: the source's, of the kind that the module reads.
            opener: the only way to open anything.

        Raises:
            IsolationError: the tenant may not read what is asked for.
            SourceError: what is wrong there, without the place and without a value.
        """


class CountingReader(SourceReader, Protocol):
    """That of a source that itself leaves out what arrived at another time."""

    def count_outside(
        self,
        source: Source,
        connector: Any,
        wanted: Wanted,
        interval: Interval,
        opener: Opener,
    ) -> int:
        """How many rows that `where` chooses `read` leaves out; raises what that does."""


def read_source(
    source: Source,
    interval: Interval,
    grants: Grants,
    connect: Connect,
    hide: Hide,
    survey: Survey | None = None,
) -> Iterator[Rows | Unread | LeftOut | BlockEnd]:
    """The rows that `where` chooses, in plain types, and the records that are no rows.

    They are of the interval and perhaps of times around it. They have the columns that the
    source's expressions give, and a reason where one of these could not be computed.

    Args:
        hide: takes personal data out of rows, before an expression or anybody else sees them.
        survey: says which blocks of text are passed over, and is told what the others hold; None
            where all are read, and no `BlockEnd` is wanted.

    Raises:
        IsolationError: the tenant may not read what the source names.
        SourceError: the source cannot be reached, lacks a column, or exceeds the limits; or an
            expression is none.
    """
    try:
        with computing(source) as expressions:
            opener = Opener(grants, connect, survey)
            yield from _read(source, interval, opener, hide, expressions)
    except ConfigError as error:
        raise SourceError(str(error)) from None


def _read(
    source: Source,
    interval: Interval,
    opener: Opener,
    hide: Hide,
    expressions: Computing | None,
) -> Iterator[Rows | Unread | LeftOut | BlockEnd]:
    connector, wanted = source.connector, columns_read(source)
    reader = reader_of(connector)
    own = {name: value for name, value in source.conditions.items() if name not in source.columns}
    of_given = {name: value for name, value in source.conditions.items() if name not in own}
    most, first, block = opener.limits.rows, 0, 0
    with _worded(connector):
        for part in reader.read(source, connector, wanted, interval, opener):
            if isinstance(part, BlockEnd):
                yield replace(part, records=first - block)
                block = first
                continue
            number = first
            first += part.records if isinstance(part, LeftOut) else len(part)
            if first > most:
                raise SourceError(f"holds more rows than `rows` allows ({most:,})")
            if isinstance(part, LeftOut):
                yield part
                block = first
                continue
            numbers = pa.array(range(number, first), pa.int64())
            if isinstance(part, Unread):
                yield replace(part, numbers=numbers)
                continue
            rows = Rows(_normal(part, wanted, connector), numbers)
            if own and not reader.DECIDES_WHERE:
                rows = rows.filter(meant(rows.table, own))
            rows = replace(rows, table=hide(rows.table))
            if expressions is not None:
                rows = expressions.computed(rows, of_given)
            yield rows


def leaves_out(source: Source) -> bool:
    """Whether the source itself leaves out rows that arrived at another time, and counts them."""
    return hasattr(reader_of(source.connector), "count_outside")


def count_outside(source: Source, interval: Interval, grants: Grants, connect: Connect) -> int:
    """How many rows that `where` chooses `read_source` is not given, as they arrived outside.

    Args:
        source: one that `leaves_out` rows.

    Raises:
        IsolationError: the tenant may not read what the source names.
        SourceError: the source cannot be reached, lacks a column, or exceeds the limits.
    """
    connector, wanted = source.connector, columns_read(source)
    with _worded(connector):
        reader = cast(CountingReader, reader_of(connector))
        opener = Opener(grants, connect)
        return reader.count_outside(source, connector, wanted, interval, opener)


@contextmanager
def _worded(connector: Connector) -> Iterator[None]:
    """Whatever goes wrong becomes an error of ours that names the place."""
    try:
        yield
    except (IsolationError, MemoryError):
        raise
    except UnopenedError as error:
        raise SourceError(str(error)) from None
    except SourceError as error:
        # A file's name can be part of an address.
        raise SourceError(f"{_problem(connector)}: {without_secrets(str(error))}") from None
    except Exception as error:  # whatever a library comes up with
        # Not chained: the original may quote the address with its password, or a line of the file.
        raise SourceError(f"{_problem(connector)}: {_reason(error, connector)}") from None


def _normal(table: pa.Table, wanted: Wanted, connector: Connector) -> pa.Table:
    """Every wanted column in a plain type; null where the file lacks it or says that it is."""
    there = set(table.column_names)
    nulls = pa.array(connector.null_values, pa.string())
    columns = []
    for name in wanted.names:
        if name not in there:
            columns.append(pa.nulls(len(table), pa.string()))
            continue
        column = plain(table[name].combine_chunks())
        if len(nulls) and pa.types.is_string(column.type):
            is_null = pc.is_in(column, value_set=nulls)
            column = pc.if_else(is_null, pa.scalar(None, pa.string()), column)
        columns.append(column)
    return pa.table(columns, list(wanted.names))


def reader_of(connector: Connector) -> SourceReader:
    """The module that reads connectors of this kind."""
    return cast(SourceReader, import_module(f"include.ingestion.connectors.{connector.type}"))


def _problem(connector: Connector) -> str:
    return connector.problem.format(place=shown_address(connector.place))


def _reason(error: Exception, connector: Connector) -> str:
    """What went wrong, without a word of the content."""
    kind = type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror} ({kind})"
    if isinstance(error, ImportError):
        told = str(error).replace(connector.place, shown_address(connector.place))
        return f"{redacted(told)[:200]} ({kind})"
    return f"it is no {connector.content} as far as can be told ({kind})"
