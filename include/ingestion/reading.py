"""What every kind of connector's rows go through: granted, numbered, counted, filtered, and worded.

A kind's own module only gives rows. What holds for all of them is here, so that none can forget it.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from importlib import import_module
from typing import Any, Protocol, cast

import pyarrow as pa

from include.errors import IsolationError, SourceError
from include.handoffs import Interval
from include.ingestion.conditions import meant
from include.ingestion.grants import Grants
from include.ingestion.mapping import ROW, columns_read
from include.ingestion.opening import Connect, Opener, UnopenedError
from include.ingestion.text_files import UNPARSED
from include.redaction import redacted, shown_address, without_secrets
from include.tenants.config import Source
from include.tenants.connectors import Connector


class SourceReader(Protocol):
    """The module of a kind of connector."""

    def read(
        self,
        source: Source,
        connector: Any,
        columns: list[str],
        interval: Interval,
        opener: Opener,
    ) -> Iterator[pa.Table]:
        """Tables of the columns, in an order that is the same every time.

        Lines that cannot be parsed come in tables of `UNPARSED` and a reason. Rows that the
        source's `where` or the interval leaves out may be among the others.

        Args:
            connector: the source's, of the kind that the module reads.
            opener: the only way to open anything.

        Raises:
            IsolationError: the tenant may not read what is asked for.
            SourceError: what is wrong there, without the place and without a value.
        """


def read_source(
    source: Source, interval: Interval, grants: Grants, connect: Connect
) -> Iterator[pa.Table]:
    """Tables of the source's columns and `ROW`; unparsed lines come in tables of their own.

    The rows are those that `where` means, of the interval and perhaps of times around it.

    Raises:
        IsolationError: the tenant may not read what the source names.
        SourceError: the source cannot be reached, lacks a column, or exceeds the limits.
    """
    connector = source.connector
    read = reader_of(connector).read
    most, row = grants.limits.rows, 0
    try:
        for table in read(
            source, connector, columns_read(source), interval, Opener(grants, connect)
        ):
            numbers = pa.array(range(row, row + len(table)), pa.int64())
            row += len(table)
            if row > most:
                raise SourceError(f"holds more rows than `rows` allows ({most:,})")
            numbered = table.append_column(ROW, numbers)
            yield numbered if UNPARSED in table.column_names else meant(numbered, source.where)
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
    if isinstance(error, (zipfile.BadZipFile, EOFError, ImportError)):
        told = str(error).replace(connector.place, shown_address(connector.place))
        return f"{redacted(told)[:200]} ({kind})"
    return f"it is no {connector.content} as far as can be told ({kind})"
