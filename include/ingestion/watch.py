"""A database that answers too late, or never, is hung up on; and what may be said of its errors."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

import psycopg

from include.redaction import redacted

#: Classes of errors whose message quotes a value: data exceptions and violated constraints.
_QUOTING: Final = ("22", "23")


class Watch:
    """Ends a connection once a single answer has taken too long.

    The server's own time-out is a courtesy of the server; this one needs none.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.over = False  #: whether the connection was ended
        self._descriptor = -1
        self._timer: threading.Timer | None = None

    @contextmanager
    def on(self, connection: psycopg.Connection[Any]) -> Iterator[None]:
        """Watch the connection, from now on."""
        self._descriptor = connection.fileno()
        self.begin()
        try:
            yield
        finally:
            self.rest()

    def begin(self) -> None:
        """An answer is waited for."""
        self.rest()
        self._timer = threading.Timer(self.seconds, self._end)
        self._timer.daemon = True
        self._timer.start()

    def rest(self) -> None:
        """The answer is there; whoever works on it may take as long as it takes."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self) -> None:
        self.over = True
        # A copy, so that closing it here leaves the driver's own descriptor alone.
        with suppress(OSError), socket.socket(fileno=os.dup(self._descriptor)) as line:
            line.shutdown(socket.SHUT_RDWR)


def reason_of(error: psycopg.Error) -> str:
    """What a database said, on one line, without values and secrets."""
    kind = type(error).__name__
    state = error.sqlstate or ""
    if state.startswith(_QUOTING):
        return f"{kind} (SQLSTATE {state}) in the table's own data or view"
    if isinstance(error, psycopg.ProgrammingError) and not state:
        return f"its address is malformed ({kind})"
    lines = (error.diag.message_primary or str(error)).strip().splitlines()
    return redacted(lines[0])[:300] if lines else kind
