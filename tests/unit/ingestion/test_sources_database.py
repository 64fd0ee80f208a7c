"""A database as a source: one that does not answer, and what is said of its errors."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import pytest

from include.errors import SourceError
from include.wiring import connect_from_environment
from tests.unit.ingestion.sources import SECRETS, World

CONNECTOR = {"type": "postgres", "connection": "alder", "table": "public.sales", "cursor": "at"}
READY = b"R" + struct.pack("!ii", 8, 0) + b"Z" + struct.pack("!ic", 5, b"I")


def refusal(state: str, message: str) -> bytes:
    """An error of the server's."""
    fields = f"SERROR\0VERROR\0C{state}\0M{message}\0\0".encode()
    return b"E" + struct.pack("!i", len(fields) + 4) + fields


@contextmanager
def database(answer: bytes, to_queries: bytes = b"") -> Iterator[str]:
    """A server that says one thing to a login, another to each query; yields its DSN."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.2)
        over = threading.Event()

        def serve(line: socket.socket) -> None:
            with line, suppress(OSError):
                while True:
                    head = line.recv(65_536)
                    if struct.unpack("!i", head[4:8])[0] in (80877103, 80877104):
                        line.sendall(b"N")  # neither TLS nor Kerberos
                        continue
                    break
                line.sendall(answer)
                while line.recv(65_536):
                    line.sendall(to_queries)

        def accept() -> None:
            while not over.is_set():
                with suppress(OSError):
                    threading.Thread(
                        target=serve, args=(listening.accept()[0],), daemon=True
                    ).start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            port = listening.getsockname()[1]
            yield f"postgresql://ann:{SECRETS[2]}@127.0.0.1:{port}/alder?connect_timeout=2"
        finally:
            over.set()
            accepting.join()


@pytest.fixture
def read(world: World, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Reads the source at a DSN, and returns the error, which shows no secret."""

    def attempt(dsn: str) -> str:
        monkeypatch.setenv("AIRFLOW_CONN_ALDER", dsn)
        with pytest.raises(SourceError) as caught:
            world.read(CONNECTOR, connect=connect_from_environment)
        world.require_silence(caught.value)
        return str(caught.value)

    return attempt


@pytest.mark.parametrize("answer", [b"", READY], ids=["login", "query"])
def test_a_database_that_never_answers_is_given_up(
    world: World, read: Callable[[str], str], answer: bytes
) -> None:
    """Whether it goes silent before the login or after it; nothing waits for ever."""
    world.grant({}, limits={"statement_seconds": 0.2, "idle_seconds": 0.3})
    began = time.monotonic()
    with database(answer) as dsn:
        told = read(dsn)
    assert "did not answer within 0.5 s" in told if answer else "cannot be opened" in told
    assert time.monotonic() - began < 60


def test_a_servers_error_is_told_without_values(world: World, read: Callable[[str], str]) -> None:
    """What quotes a value of the data is named by its kind; the rest on one line, redacted."""
    value = refusal("22P02", f'invalid input syntax for type double precision: "{SECRETS[3]}"')
    with database(READY, value + READY[9:]) as dsn:
        told = read(dsn)
    assert "InvalidTextRepresentation (SQLSTATE 22P02)" in told
    other = refusal("42P01", f"relation does not exist\nLINE 1: password={SECRETS[2]}")
    with database(READY, other + READY[9:]) as dsn:
        assert "relation does not exist" in read(dsn)
    link = refusal("08006", f"could not connect to postgresql://u:{SECRETS[2]}@h/d?x={SECRETS[0]}")
    with database(READY, link + READY[9:]) as dsn:
        assert "postgresql://***@h/d?***" in read(dsn)


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgresq://ann:{SECRETS[2]}@host/db",
        f"postgresql://ann:{SECRETS[2]}@host:port/db",
        f"postgresql://ann:{SECRETS[2]}@[host/db",
        f"postgresql://ann:{SECRETS[2]}@127.0.0.1:1/db?nonsense={SECRETS[0]}",
        f"postgresql://ann:{SECRETS[2]}@127.0.0.1:1/db",
        f"password={SECRETS[2]} host",
        f"password='{SECRETS[2]} host=x",
        json.dumps({"host": "127.0.0.1", "port": 1, "password": SECRETS[2]}),
        json.dumps({"host": "127.0.0.1", "extra": {"nonsense": SECRETS[0]}}),
        json.dumps({"password": SECRETS[2]})[:-3],
    ],
)
def test_no_error_shows_a_connections_address(read: Callable[[str], str], dsn: str) -> None:
    """Malformed, refused or unknown: the message names the connection only."""
    assert "connection 'alder'" in read(dsn)


def test_an_error_in_airflows_hook_is_not_chained(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the hook raises can hold the address; a task's log prints whole chains."""
    from include.pipeline import connections

    class Hook:
        def __init__(self, **_: Any) -> None:
            raise psycopg.ProgrammingError(f"invalid dsn: password={SECRETS[2]}")

    monkeypatch.setattr(connections, "PostgresHook", Hook)
    with pytest.raises(SourceError) as caught, connections.through_airflow("alder"):
        pytest.fail("it was opened")
    assert caught.value.__suppress_context__
    assert caught.value.__cause__ is None
    assert SECRETS[2] not in str(caught.value)
