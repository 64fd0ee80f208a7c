"""A tenant's rows in Postgres as a whole: which tables there are, and what of them is one tenant's.

Every table with a `tenant_id` counts, found in the catalogue, so that a new one is never missed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Final

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from include.errors import IntegrityError, UnavailableError
from include.storage import audit
from include.storage.postgres import Connection, database_url, tenant_transaction
from include.tenants.namespace import TenantRef, database

#: The record of who has an id is about the tenant, and no data of the tenant's.
OWNERS: Final = "tenant_owners"
#: Nor is what happened to it, which outlives it: `include.storage.audit`.
AUDIT: Final = "audit"
_TABLES: Final = """
    SELECT c.relname AS name FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relnamespace = 'tenantry'::regnamespace AND c.relkind IN ('r', 'p')
    AND a.attname = 'tenant_id' AND NOT a.attisdropped ORDER BY c.relname
"""


def tables(connection: Connection) -> list[str]:
    """Names of the tables that hold tenants' rows, but for records that are about tenants."""
    names = [row["name"] for row in connection.execute(_TABLES)]
    return [name for name in names if name not in (OWNERS, AUDIT)]


def count_rows(tenant: TenantRef) -> dict[str, int]:
    """How many rows of the tenant each table holds; tables without any are left out."""
    with tenant_transaction(tenant) as connection:
        found = {name: _count(connection, tenant, name) for name in tables(connection)}
    return {name: rows for name, rows in found.items() if rows}


def has_rows(tenant: TenantRef) -> bool:
    """Whether any table holds a row of the tenant."""
    with tenant_transaction(tenant) as connection:
        for name in tables(connection):
            query = sql.SQL("SELECT 1 FROM {} WHERE tenant_id = %s LIMIT 1")
            if connection.execute(query.format(sql.Identifier(name)), [tenant.id]).fetchone():
                return True
    return False


def _count(connection: Connection, tenant: TenantRef, table: str) -> int:
    query = sql.SQL("SELECT count(*) AS rows FROM {} WHERE tenant_id = %s")
    row = connection.execute(query.format(sql.Identifier(table)), [tenant.id]).fetchone()
    return int(row["rows"]) if row else 0


# the owner of the tables


def erase_rows(tenant: TenantRef, *, actor: str | None = None) -> int:
    """Delete every row of the tenant in its database, in one transaction; returns how many.

    Also what the tenants' role may only add to, so it is done as the owner of the tables.

    Args:
        actor: who erases the tenant for good. Its audit chain stays, and says so. None where the
            rows went to another place, and the chain with them.
    """
    with _as_owner(tenant) as connection:
        there = tables(connection)
        rows = sum(_delete(connection, tenant, name) for name in there)
        if actor is None:
            _delete(connection, tenant, AUDIT)
        elif rows:
            audit.record_erasure(connection, tenant, there, actor)
    return rows


def drop_silo(tenant: TenantRef) -> bool:
    """Drop the database of a silo with all that it holds; False where there is none."""
    name = database(TenantRef(tenant.id, tenant.region, "silo"))
    with psycopg.connect(
        database_url("TENANTRY_ADMIN_DATABASE_URL", "postgres"), autocommit=True
    ) as connection:
        if not connection.execute(
            "SELECT 1 FROM pg_database WHERE datname = %s", [name]
        ).fetchone():
            return False
        connection.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )
    return True


def copy_rows(
    source: TenantRef, target: TenantRef, *, only: Collection[str] = ()
) -> dict[str, int]:
    """Make the target's database hold exactly the tenant's rows of the source's; counts by table.

    One transaction at the target, which commits only where counts and digests agree. Run again it
    does the same. The audit chain goes along.

    Args:
        only: these tables; all if none.

    Raises:
        IntegrityError: a table's rows are not the same there.
    """
    counts: dict[str, int] = {}
    with _as_owner(source) as there, _as_owner(target) as here:
        for name in only or (*tables(there), AUDIT):
            table = sql.Identifier(name)
            columns = sql.SQL(", ").join(map(sql.Identifier, _columns(there, name)))
            _delete(here, source, name)
            mine = sql.SQL("COPY (SELECT {} FROM {} WHERE tenant_id = {}) TO STDOUT").format(
                columns, table, sql.Literal(source.id)
            )
            into = sql.SQL("COPY {} ({}) FROM STDIN").format(table, columns)
            with there.cursor().copy(mine) as reading, here.cursor().copy(into) as writing:
                for block in reading:
                    writing.write(block)
            before, after = (_digest(one, source, name) for one in (there, here))
            if before != after:
                raise IntegrityError(
                    f"{name} of {source.id} holds {after[0]:,} rows in {database(target)} after "
                    f"copying, and {before[0]:,} in {database(source)}, or not the same ones; "
                    "nothing was kept of it. Run the move again"
                )
            if before[0]:
                counts[name] = before[0]
    return counts


def continue_chain(silo: TenantRef) -> None:
    """Let the audit chain of an id's earlier owners, which outlives them, go on in a new silo."""
    pool = TenantRef(silo.id, silo.region, "pool")
    with _as_owner(pool) as there, _as_owner(silo) as here:
        begun, new = (_count(one, silo, AUDIT) for one in (there, here))
    if begun and not new:
        copy_rows(pool, silo, only=(AUDIT,))


def set_region(tenant: TenantRef) -> int:
    """Let the tenant's rows that name a region name the one it has now; how many changed."""
    changed = 0
    with _as_owner(tenant) as connection:
        for name in tables(connection):
            if "region" in _columns(connection, name):
                query = sql.SQL("UPDATE {} SET region = %s WHERE tenant_id = %s AND region <> %s")
                changed += connection.execute(
                    query.format(sql.Identifier(name)), [tenant.region, tenant.id, tenant.region]
                ).rowcount
    return changed


@contextmanager
def _as_owner(tenant: TenantRef) -> Iterator[Connection]:
    """A transaction of the tables' owner in the tenant's database, confined to the tenant's rows.

    The policies are forced on an owner, too, that is no superuser.
    """
    dsn = database_url("TENANTRY_ADMIN_DATABASE_URL", database(tenant))
    options = "-c search_path=tenantry -c timezone=UTC"
    try:
        connection = psycopg.connect(dsn, row_factory=dict_row, options=options, connect_timeout=10)
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[0]
        raise UnavailableError(
            f"Postgres database {database(tenant)!r} does not answer ({reason}); is it up "
            "(`make up`), and is TENANTRY_ADMIN_DATABASE_URL the login that creates tables?"
        ) from error
    with connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT set_config('tenantry.tenant', %s, true)", [tenant.id])
        yield connection


def _delete(connection: Connection, tenant: TenantRef, table: str) -> int:
    query = sql.SQL("DELETE FROM {} WHERE tenant_id = %s").format(sql.Identifier(table))
    return connection.execute(query, [tenant.id]).rowcount


def _columns(connection: Connection, table: str) -> list[str]:
    rows = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 "
        "AND NOT attisdropped AND attgenerated = '' ORDER BY attname",
        [f"tenantry.{table}"],
    )
    return [row["attname"] for row in rows]


def _digest(connection: Connection, tenant: TenantRef, table: str) -> tuple[int, str]:
    """How many rows there are, and a digest of all of them in whatever order."""
    columns = sql.SQL(", ").join(map(sql.Identifier, _columns(connection, table)))
    query = sql.SQL(
        "SELECT count(*) AS rows, coalesce(sum(hashtextextended(line, 0)::numeric), 0) || ' ' || "
        "coalesce(sum(hashtextextended(line, 1)::numeric), 0) AS digest "
        "FROM (SELECT ROW({})::text AS line FROM {} WHERE tenant_id = %s) rows"
    )
    row = connection.execute(query.format(columns, sql.Identifier(table)), [tenant.id]).fetchone()
    assert row is not None  # an aggregate
    return int(row["rows"]), str(row["digest"])
