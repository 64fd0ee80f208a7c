"""The only door to tenant rows: a transaction that Postgres itself confines to one tenant.

Every table with a `tenant_id` has row-level security enabled and forced, and the role that
connects here owns nothing, so a forgotten WHERE clause returns nothing of anybody else's.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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


class _Kept(psycopg.Connection[DictRow]):
    """A connection that outlives its transaction: the next one of this process may have it."""

    leads_to: _Address

    @cached_property
    def prepared(self) -> dict[str, bytes]:
        """Query → the name that it was prepared under."""
        return {}

    @cached_property
    def asking(self) -> psycopg.Cursor[tuple[Any, ...]]:
        """The cursor of its own statements: making one takes longer than what Postgres does."""
        return psycopg.Cursor(self, row_factory=tuple_row)

    @cached_property
    def escaping(self) -> Escaping:
        """How texts are quoted here."""
        return psycopg.pq.Escaping(self.pgconn)


#: A DSN, and whether rows are found by their keys there.
_Address: TypeAlias = tuple[str, bool]
#: Connections between two transactions, by process, the longest unused first. A forked process
#: opens its own. Lists need no lock: the interpreter appends, removes and pops without a break.
_idle: dict[int, list[_Kept]] = {}
_MOST_IDLE: Final = 8  #: to all databases together, however many silos a process visits
_OPTIONS: Final = "-c search_path=tenantry -c timezone=UTC"
#: What is over in a millisecond finds rows by their key, and is planned once.
_KEYED_OPTIONS: Final = "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off"
_BEGIN_SNAPSHOT: Final = b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
#: Whatever a transaction did to its session ends with it: DISCARD ALL but for prepared statements.
_LEAVE: Final = (
    b"COMMIT; CLOSE ALL; RESET SESSION AUTHORIZATION; RESET ALL; UNLISTEN *; "
    b"SELECT pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES"
)
#: What the login is, or may become by SET ROLE, decides what it could see: tables by owning them or
#: bypassing their policies, all bytes by replicating or in the server's files.
_ENTER: Final = """
    SELECT set_config('tenantry.tenant', $1, true),
           coalesce(bool_or(rolsuper OR rolbypassrls OR rolreplication OR rolcreaterole OR rolname
               IN ('pg_read_server_files', 'pg_write_server_files', 'pg_execute_server_program')),
               true) AS unbound,
           bool_or(EXISTS (SELECT FROM pg_class WHERE relowner = pg_roles.oid)) AS owner
    FROM pg_roles WHERE pg_has_role(session_user, oid, 'MEMBER')
"""


@contextmanager
def tenant_transaction(tenant: TenantRef) -> Iterator[Connection]:
    """A transaction in which only the tenant's rows exist; commits on success.

    Its connection is one that this process has, where one is free: what is left in it is nothing
    of this transaction, neither the tenant nor a setting, a lock or a cursor.

    Raises:
        IsolationError: the login could see past row-level security.
        UnavailableError: Postgres does not answer.
    """
    with _transaction(tenant, keyed=False) as connection:
        yield connection


@contextmanager
def keyed_transaction(tenant: TenantRef) -> Iterator[Connection]:
    """`tenant_transaction` for what finds its rows by their keys and is over in a millisecond.

    Its statements are planned once per connection, whatever they are asked with.
    """
    with _transaction(tenant, keyed=True) as connection:
        yield connection


def snapshot(tenant: TenantRef, queries: Sequence[Query]) -> list[list[tuple[Any, ...]]]:
    """The queries' rows, all as of one moment: a `keyed_transaction` in a single round trip.

    Args:
        queries: each a SELECT whose parameters are written $1, $2 and so on, and their values.
    """
    connection, rows = _on_kept(tenant, True, lambda one: _asked(one, tenant, queries))
    _keep(connection)
    return rows


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


@contextmanager
def _transaction(tenant: TenantRef, keyed: bool) -> Iterator[Connection]:
    connection, _ = _on_kept(tenant, keyed, lambda one: _begin(one, tenant))
    try:
        yield connection
        connection.execute(_LEAVE, prepare=False)
    except BaseException:
        connection.close()
        raise
    _keep(connection)


def _on_kept(tenant: TenantRef, keyed: bool, first: Callable[[_Kept], T]) -> tuple[_Kept, T]:
    """A connection of this process, and what came of `first` on it.

    An idle one or, where the server has hung up on that, a new one.
    """
    address = (_dsn(tenant), keyed)
    if (idle := _taken(address)) is not None:
        try:
            return idle, _or_closed(idle, first)
        except psycopg.OperationalError:
            while (idle := _taken(address)) is not None:
                idle.close()
    connection = _opened(tenant, address)
    return connection, _or_closed(connection, first)


def _opened(tenant: TenantRef, address: _Address) -> _Kept:
    dsn, keyed = address
    try:
        connection = _Kept.connect(
            dsn,
            autocommit=True,  # a transaction begins in the round trip that confines it
            prepare_threshold=1 if keyed else None,
            row_factory=dict_row,
            options=f"{_OPTIONS} {_KEYED_OPTIONS}" if keyed else _OPTIONS,
            client_encoding="utf8",
            connect_timeout=10,
        )
    except psycopg.OperationalError as error:
        raise _unavailable(tenant, error) from error
    connection.leads_to = address
    return connection


def _or_closed(connection: _Kept, first: Callable[[_Kept], T]) -> T:
    try:
        return first(connection)
    except BaseException:
        connection.close()
        raise


def _taken(address: _Address) -> _Kept | None:
    """An idle connection of this process that leads there, from now on the caller's; the newest."""
    idle = _idle.setdefault(os.getpid(), [])
    for connection in reversed(idle):
        if connection.leads_to == address:
            try:
                idle.remove(connection)
            except ValueError:  # another thread has it
                continue
            return connection
    return None


def _keep(connection: _Kept) -> None:
    idle = _idle.setdefault(os.getpid(), [])
    idle.append(connection)
    if len(idle) > _MOST_IDLE:
        idle.pop(0).close()


def _begin(connection: _Kept, tenant: TenantRef) -> None:
    _entered(connection, b"BEGIN", tenant, [])


def _asked(
    connection: _Kept, tenant: TenantRef, queries: Sequence[Query]
) -> list[list[tuple[Any, ...]]]:
    """The queries' rows; no row is looked at before the login is known to be confined."""
    calls = [_called(connection, *query) for query in queries]
    cursor = _entered(connection, _BEGIN_SNAPSHOT, tenant, [*calls, b"COMMIT"])
    rows = []
    for _ in queries:
        cursor.nextset()
        rows.append(cursor.fetchall())
    return rows


def _entered(
    connection: _Kept, begin: bytes, tenant: TenantRef, after: Sequence[bytes]
) -> psycopg.Cursor[tuple[Any, ...]]:
    """Begin a transaction confined to the tenant, with more statements in the same round trip.

    Returns:
        The cursor at the answer to what confines it; those to `after` come next.

    Raises:
        IsolationError: the login could see past row-level security.
    """
    enter = _called(connection, _ENTER, [tenant.id])
    cursor = connection.asking
    # several statements at once, as text: psycopg would send each parameter's type along
    cursor.execute(b"; ".join((begin, enter, *after)), prepare=False)
    cursor.nextset()
    _, unbound, owner = cursor.fetchone() or (None, True, True)
    if unbound or owner:
        raise IsolationError(
            "the login of TENANTRY_DATABASE_URL is a superuser, bypasses row-level security, owns "
            "tables, or may make or become a role that does; use the role `tenantry_app`, which "
            "`tenantry` creates when it migrates"
        )
    return cursor


def _called(connection: _Kept, query: str, values: Sequence[Value]) -> bytes:
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


def _literal(connection: _Kept, value: Value) -> bytes:
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


def _unavailable(tenant: TenantRef, error: psycopg.OperationalError) -> UnavailableError:
    reason = str(error).strip().splitlines()[0]
    return UnavailableError(
        f"Postgres database {database(tenant)!r} does not answer ({reason}); is it up "
        "(`make up`), and has the tenant been added (`tenantry tenants add`)?"
    )
