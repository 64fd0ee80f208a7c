"""The only door to tenant rows: a transaction that Postgres itself confines to one tenant.

Every table with a `tenant_id` has row-level security enabled and forced, and the role that
connects here owns nothing, so a forgotten WHERE clause returns nothing of anybody else's.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from functools import cached_property
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg.pq.abc import Escaping
from psycopg.rows import DictRow, dict_row, tuple_row

from include.errors import ConfigError, IsolationError, UnavailableError
from include.tenants.namespace import TenantRef, database

Connection = psycopg.Connection[DictRow]
#: What a query is asked with: a list stands for an array of texts.
Value: TypeAlias = str | int | datetime | Sequence[str] | None
Query: TypeAlias = tuple[str, Sequence[Value]]
T = TypeVar("T")


class _Pooled(psycopg.Connection[DictRow]):
    """A connection that stays open for the next transaction."""

    @cached_property
    def prepared(self) -> dict[str, bytes]:
        """Query → the name that it was prepared under."""
        return {}

    @cached_property
    def asking(self) -> psycopg.Cursor[tuple[Any, ...]]:
        """The cursor of its snapshots: making one takes longer than what Postgres does."""
        return psycopg.Cursor(self, row_factory=tuple_row)

    @cached_property
    def escaping(self) -> Escaping:
        """How texts are quoted here."""
        return psycopg.pq.Escaping(self.pgconn)


#: Connections between two transactions, by process and DSN; a forked process opens its own.
_idle: dict[tuple[int, str], list[_Pooled]] = {}
_MOST_IDLE: Final = 8
_OPTIONS: Final = "-c search_path=tenantry -c timezone=UTC"
#: What is over in a millisecond finds rows by their key, and is planned once.
_POOLED_OPTIONS: Final = "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off"
_BEGIN_SNAPSHOT: Final = b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
#: What the login is, or may become by SET ROLE, decides what it could see.
_ENTER: Final = """
    SELECT set_config('tenantry.tenant', %s, true),
           coalesce(bool_or(rolsuper OR rolbypassrls), true) AS unbound,
           bool_or(EXISTS (SELECT FROM pg_class WHERE relowner = pg_roles.oid)) AS owner
    FROM pg_roles WHERE pg_has_role(session_user, oid, 'MEMBER')
"""
_ENTER_PREPARED: Final = _ENTER.replace("%s", "$1")


@contextmanager
def tenant_transaction(tenant: TenantRef) -> Iterator[Connection]:
    """A transaction in which only the tenant's rows exist; commits on success.

    Raises:
        IsolationError: the login could see past row-level security.
        UnavailableError: Postgres does not answer.
    """
    try:
        connection = psycopg.connect(_dsn(tenant), **_arguments())
    except psycopg.OperationalError as error:
        raise _unavailable(tenant, error) from error
    with connection:
        _confine(connection.execute(_ENTER, [tenant.id]).fetchone())
        yield connection


@contextmanager
def pooled_transaction(tenant: TenantRef) -> Iterator[Connection]:
    """`tenant_transaction` on a connection that stays open for this process's next one.

    For what is over in a millisecond; the tenant is left with the transaction, as it is there.
    """
    idle = _pool(tenant)
    connection, _ = _on_pooled(idle, tenant, lambda one: _begin(one, tenant))
    try:
        yield connection
        connection.commit()
    except BaseException:
        connection.close()
        raise
    _keep(idle, connection)


def snapshot(tenant: TenantRef, queries: Sequence[Query]) -> list[list[tuple[Any, ...]]]:
    """The queries' rows, all as of one moment: a `pooled_transaction` in a single round trip.

    Args:
        queries: each a SELECT whose parameters are written $1, $2 and so on, and their values.
    """
    idle = _pool(tenant)
    connection, rows = _on_pooled(idle, tenant, lambda one: _asked(one, tenant, queries))
    _keep(idle, connection)
    return rows


@asynccontextmanager
async def tenant_transaction_async(
    tenant: TenantRef,
) -> AsyncIterator[psycopg.AsyncConnection[DictRow]]:
    """`tenant_transaction` for triggers, which wait in an event loop."""
    try:
        connection = await psycopg.AsyncConnection.connect(_dsn(tenant), **_arguments())
    except psycopg.OperationalError as error:
        raise _unavailable(tenant, error) from error
    async with connection:
        cursor = await connection.execute(_ENTER, [tenant.id])
        _confine(await cursor.fetchone())
        yield connection


def database_url(variable: str, name: str) -> str:
    """The DSN in an environment variable, pointed at database `name` of the same server."""
    dsn = os.environ.get(variable)
    if not dsn:
        raise ConfigError(
            f"{variable} is not set; `make up` sets it for the embedded Postgres, "
            "or point it at your own server (docs/operations.md)"
        )
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


def _dsn(tenant: TenantRef) -> str:
    return database_url("TENANTRY_DATABASE_URL", database(tenant))


def _on_pooled(
    idle: list[_Pooled], tenant: TenantRef, first: Callable[[_Pooled], T]
) -> tuple[_Pooled, T]:
    """A connection of this process, and what came of `first` on it.

    An idle one or, where the server has hung up on that, a new one.
    """
    try:
        connection = idle.pop()
        return connection, _or_closed(connection, first)
    except (IndexError, psycopg.OperationalError):
        while idle:
            idle.pop().close()
    arguments = _arguments() | {
        "options": f"{_OPTIONS} {_POOLED_OPTIONS}",
        "client_encoding": "utf8",
    }
    try:
        connection = _Pooled.connect(
            _dsn(tenant), autocommit=True, prepare_threshold=1, **arguments
        )
    except psycopg.OperationalError as error:
        raise _unavailable(tenant, error) from error
    return connection, _or_closed(connection, first)


def _or_closed(connection: _Pooled, first: Callable[[_Pooled], T]) -> T:
    try:
        return first(connection)
    except BaseException:
        connection.close()
        raise


def _pool(tenant: TenantRef) -> list[_Pooled]:
    """The idle connections that serve the tenant."""
    return _idle.setdefault((os.getpid(), _dsn(tenant)), [])


def _keep(idle: list[_Pooled], connection: _Pooled) -> None:
    if len(idle) < _MOST_IDLE:
        idle.append(connection)
    else:
        connection.close()


def _begin(connection: Connection, tenant: TenantRef) -> None:
    connection.execute("BEGIN")
    _confine(connection.execute(_ENTER, [tenant.id]).fetchone())


def _asked(
    connection: _Pooled, tenant: TenantRef, queries: Sequence[Query]
) -> list[list[tuple[Any, ...]]]:
    """The queries' rows; no row is looked at before the login is known to be confined."""
    calls = [_called(connection, *query) for query in ((_ENTER_PREPARED, [tenant.id]), *queries)]
    cursor = connection.asking
    # several statements at once, as text: psycopg would send each parameter's type along
    cursor.execute(b"; ".join((_BEGIN_SNAPSHOT, *calls, b"COMMIT")), prepare=False)
    cursor.nextset()
    _, unbound, owner = cursor.fetchone() or (None, True, True)
    _confine({"unbound": unbound, "owner": owner})
    rows = []
    for _ in queries:
        cursor.nextset()
        rows.append(cursor.fetchall())
    return rows


def _called(connection: _Pooled, query: str, values: Sequence[Value]) -> bytes:
    """The statement that runs a query, which is prepared where it is not yet."""
    name = connection.prepared.get(query)
    if name is None:
        name = f"query_{len(connection.prepared)}".encode()
        connection.execute(b"PREPARE %b AS %b" % (name, query.encode()))
        connection.prepared[query] = name
    if not values:
        return b"EXECUTE " + name
    literals = b", ".join([_literal(connection, value) for value in values])
    return b"EXECUTE %b (%b)" % (name, literals)


def _literal(connection: _Pooled, value: Value) -> bytes:
    """The value as Postgres reads it, of whatever type the query takes it to be."""
    match value:
        case None:
            return b"NULL"
        case str():
            text = value
        case int():
            text = str(value)
        case datetime():
            text = value.isoformat()
        case _:
            elements = [one.replace("\\", "\\\\").replace('"', '\\"') for one in value]
            text = "".join(('{"', '","'.join(elements), '"}')) if elements else "{}"
    if "\0" in text:
        raise psycopg.DataError("PostgreSQL texts cannot hold the character NUL")
    literal: bytes = connection.escaping.escape_literal(text.encode())
    return literal


def _arguments() -> dict[str, Any]:
    return {"row_factory": dict_row, "options": _OPTIONS, "connect_timeout": 10}


def _confine(row: DictRow | None) -> None:
    if row is None or row["unbound"] or row["owner"]:
        raise IsolationError(
            "the login of TENANTRY_DATABASE_URL is a superuser, bypasses row-level security or "
            "owns tables; use the role `tenantry_app`, which `tenantry` creates when it migrates"
        )


def _unavailable(tenant: TenantRef, error: psycopg.OperationalError) -> UnavailableError:
    reason = str(error).strip().splitlines()[0]
    return UnavailableError(
        f"Postgres database {database(tenant)!r} does not answer ({reason}); is it up "
        "(`make up`), and has the tenant been added (`tenantry tenants add`)?"
    )
