"""The only door to tenant rows: a transaction that Postgres itself confines to one tenant.

Every table with a `tenant_id` has row-level security enabled and forced, and the role that
connects here owns nothing, so a forgotten WHERE clause returns nothing of anybody else's.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg.rows import DictRow, dict_row

from include.errors import ConfigError, IsolationError, UnavailableError
from include.tenants.namespace import TenantRef, database

Connection = psycopg.Connection[DictRow]

#: Connections between two transactions, by process and DSN; a forked process opens its own.
_idle: dict[tuple[int, str], list[Connection]] = {}
_MOST_IDLE: Final = 8
_OPTIONS: Final = "-c search_path=tenantry -c timezone=UTC"
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
def pooled_transaction(tenant: TenantRef, *, snapshot: bool = False) -> Iterator[Connection]:
    """`tenant_transaction` on a connection that stays open for this process's next one.

    For what is over in a millisecond; the tenant is left with the transaction, as it is there.

    Args:
        snapshot: all statements see the database as the first one does.
    """
    dsn = _dsn(tenant)
    idle = _idle.setdefault((os.getpid(), dsn), [])
    try:
        connection = _entered(idle.pop(), tenant, snapshot=snapshot)
    except (IndexError, psycopg.OperationalError):  # none, or the server was restarted
        while idle:
            idle.pop().close()
        try:
            connection = psycopg.connect(dsn, prepare_threshold=1, **_arguments())
        except psycopg.OperationalError as error:
            raise _unavailable(tenant, error) from error
        _entered(connection, tenant, snapshot=snapshot)
    try:
        yield connection
        connection.commit()
    except BaseException:
        connection.close()
        raise
    if len(idle) < _MOST_IDLE:
        idle.append(connection)
    else:
        connection.close()


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


def _entered(connection: Connection, tenant: TenantRef, *, snapshot: bool) -> Connection:
    """The connection inside a transaction of the tenant's; closed where that is not to be had."""
    try:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ if snapshot else None
        _confine(connection.execute(_ENTER, [tenant.id]).fetchone())
    except BaseException:
        connection.close()
        raise
    return connection


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
