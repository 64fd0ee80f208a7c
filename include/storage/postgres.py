"""The only door to tenant rows: a transaction that Postgres itself confines to one tenant.

Every table with a `tenant_id` has row-level security enabled and forced, and the role that
connects here owns nothing, so a forgotten WHERE clause returns nothing of anybody else's.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit, urlunsplit
from weakref import WeakKeyDictionary

import psycopg
from psycopg.rows import DictRow, dict_row, tuple_row

from include.errors import ConfigError, IsolationError, UnavailableError
from include.tenants.namespace import TenantRef, database

Connection = psycopg.Connection[DictRow]
Query = tuple[str, Sequence[Any]]
T = TypeVar("T")

#: Connections between two transactions, by process and DSN; a forked process opens its own.
_idle: dict[tuple[int, str], list[Connection]] = {}
_MOST_IDLE: Final = 8
_OPTIONS: Final = "-c search_path=tenantry -c timezone=UTC"
#: What is over in a millisecond finds rows by their key, and is planned once.
_POOLED_OPTIONS: Final = "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off"
_BEGIN_SNAPSHOT: Final = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
#: What pooled connections have prepared: query → name.
_prepared: WeakKeyDictionary[Connection, dict[str, str]] = WeakKeyDictionary()
#: What the login is, or may become by SET ROLE, decides what it could see.
_ENTER: Final = """
    SELECT set_config('tenantry.tenant', %s, true),
           coalesce(bool_or(rolsuper OR rolbypassrls), true) AS unbound,
           bool_or(EXISTS (SELECT FROM pg_class WHERE relowner = pg_roles.oid)) AS owner
    FROM pg_roles WHERE pg_has_role(session_user, oid, 'MEMBER')
"""


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
    idle: list[Connection], tenant: TenantRef, first: Callable[[Connection], T]
) -> tuple[Connection, T]:
    """A connection of this process, and what came of `first` on it.

    An idle one or, where the server has hung up on that, a new one.
    """
    try:
        connection = idle.pop()
        return connection, _or_closed(connection, first)
    except (IndexError, psycopg.OperationalError):
        while idle:
            idle.pop().close()
    arguments = _arguments() | {"options": f"{_OPTIONS} {_POOLED_OPTIONS}"}
    try:
        connection = psycopg.connect(
            _dsn(tenant), autocommit=True, prepare_threshold=1, **arguments
        )
    except psycopg.OperationalError as error:
        raise _unavailable(tenant, error) from error
    return connection, _or_closed(connection, first)


def _or_closed(connection: Connection, first: Callable[[Connection], T]) -> T:
    try:
        return first(connection)
    except BaseException:
        connection.close()
        raise


def _pool(tenant: TenantRef) -> list[Connection]:
    """The idle connections that serve the tenant."""
    return _idle.setdefault((os.getpid(), _dsn(tenant)), [])


def _keep(idle: list[Connection], connection: Connection) -> None:
    if len(idle) < _MOST_IDLE:
        idle.append(connection)
    else:
        connection.close()


def _begin(connection: Connection, tenant: TenantRef) -> None:
    connection.execute("BEGIN")
    _confine(connection.execute(_ENTER, [tenant.id]).fetchone())


def _asked(
    connection: Connection, tenant: TenantRef, queries: Sequence[Query]
) -> list[list[tuple[Any, ...]]]:
    """The queries' rows; no row is looked at before the login is known to be confined."""
    calls: list[str] = []
    values: list[Any] = []
    for query, arguments in ((_ENTER.replace("%s", "$1"), [tenant.id]), *queries):
        given = f" ({', '.join(['%s'] * len(arguments))})" if arguments else ""
        calls.append(f"EXECUTE {_prepared_as(connection, query)}{given}")
        values += arguments
    # a ClientCursor sends several statements at once
    cursor = psycopg.ClientCursor(connection, row_factory=tuple_row)
    cursor.execute("; ".join((_BEGIN_SNAPSHOT, *calls, "COMMIT")).encode(), values)
    cursor.nextset()
    _, unbound, owner = cursor.fetchone() or (None, True, True)
    _confine({"unbound": unbound, "owner": owner})
    rows = []
    for _ in queries:
        cursor.nextset()
        rows.append(cursor.fetchall())
    return rows


def _prepared_as(connection: Connection, query: str) -> str:
    """The name of the query among those that the connection has prepared."""
    names = _prepared.setdefault(connection, {})
    if query not in names:
        name = f"query_{len(names)}"
        connection.execute(f"PREPARE {name} AS {query}".encode())
        names[query] = name
    return names[query]


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
