"""The only way for a connector to open anything: each file and database is granted, or refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import psycopg

from include.errors import IsolationError, SourceError
from include.ingestion.grants import Grants, SourceLimits
from include.ingestion.places import Opened as Opened  # readers pass it on
from include.ingestion.places import opened_files
from include.ingestion.zone_maps import Survey
from include.redaction import shown_address

#: Opens the database behind a connection id.
Connect = Callable[[str], AbstractContextManager[psycopg.Connection[Any]]]


class UnopenedError(SourceError):
    """A connection does not open; the message says which and why."""


class Opener:
    """What the sources of one tenant are opened through, within its limits."""

    def __init__(self, grants: Grants, connect: Connect, survey: Survey | None = None) -> None:
        self._grants = grants
        self._connect = connect
        self.survey = survey  #: which blocks of text are passed over; None where all are read

    @property
    def limits(self) -> SourceLimits:
        """What a file, or a statement, may cost."""
        return self._grants.limits

    def files(self, path: str, kind: str) -> Opened:
        """Name and content of each file that a path or URL stands for; see `opened_files`.

        Raises:
            IsolationError: the tenant may not read from there.
            SourceError: there is no such file, or it takes too long, or is no regular file.
        """
        try:
            yield from opened_files(path, kind, self._grants)
        except IsolationError as error:
            raise IsolationError(f"{shown_address(path)!r}: {error}") from None

    @contextmanager
    def database(self, connection_id: str) -> Iterator[psycopg.Connection[Any]]:
        """The database behind an Airflow connection.

        Raises:
            IsolationError: the connection is not granted to the tenant.
            UnopenedError: it cannot be opened.
        """
        self._grants.require_connection(connection_id)
        with ExitStack() as opened:
            try:
                connection = opened.enter_context(self._connect(connection_id))
            except SourceError as error:
                raise UnopenedError(str(error)) from None
            yield connection
