"""Counts, moves and erases a tenant's whole workspace in MLflow's database.

MLflow only marks rows as deleted. Erased rows have to be gone, and a tenant that comes back begins
at version 1, so this module deletes with SQL, along the database's own foreign keys.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from include.errors import UnavailableError
from include.tenants.namespace import TenantRef, workspace

_ROOTS: Final = """
    SELECT c.relname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r'
    AND a.attname = 'workspace' AND NOT a.attisdropped ORDER BY c.relname
"""
#: Foreign keys but those whose rows outlive what they point at.
_KEYS: Final = """
    SELECT con.confrelid::regclass::text, con.conrelid::regclass::text,
        (SELECT array_agg(att.attname::text ORDER BY k.n) FROM unnest(con.conkey)
            WITH ORDINALITY k(num, n)
            JOIN pg_attribute att ON att.attrelid = con.conrelid AND att.attnum = k.num),
        (SELECT array_agg(att.attname::text ORDER BY k.n) FROM unnest(con.confkey)
            WITH ORDINALITY k(num, n)
            JOIN pg_attribute att ON att.attrelid = con.confrelid AND att.attnum = k.num)
    FROM pg_constraint con WHERE con.contype = 'f' AND con.confdeltype <> 'n'
    AND con.connamespace = 'public'::regnamespace
"""
_IN_FORCE: Final = """
    SELECT t.value FROM registered_model_aliases a JOIN model_version_tags t
    ON (t.workspace, t.name, t.version) = (a.workspace, a.name, a.version)
    WHERE a.workspace = %s AND t.key = 'tenantry.folder'
"""
_COUNTED: Final = """
    SELECT (SELECT count(*) FROM model_versions WHERE workspace = %(workspace)s),
           (SELECT count(*) FROM runs r JOIN experiments e USING (experiment_id)
            WHERE e.workspace = %(workspace)s)
"""
#: Columns that hold the address of a file, each with what finds the workspace's rows.
_ADDRESSES: Final = (
    ("workspaces", "default_artifact_root", "name = %s"),
    ("experiments", "artifact_location", "workspace = %s"),
    ("model_versions", "source", "workspace = %s"),
    ("model_versions", "storage_location", "workspace = %s"),
    (
        "runs",
        "artifact_uri",
        "experiment_id IN (SELECT experiment_id FROM experiments WHERE workspace = %s)",
    ),
    (
        "logged_models",
        "artifact_location",
        "experiment_id IN (SELECT experiment_id FROM experiments WHERE workspace = %s)",
    ),
)


def folders_in_force(tracking_uri: str, tenant: TenantRef) -> frozenset[str]:
    """Folders of the versions that aliases point at, relative to the tenant's part of the lake."""
    with _database(tracking_uri) as connection:
        rows = connection.execute(_IN_FORCE, [workspace(tenant)]).fetchall()
    return frozenset(str(folder) for (folder,) in rows)


def count(tracking_uri: str, tenant: TenantRef) -> tuple[int, int]:
    """The number of versions and the number of runs that the workspace holds."""
    with _database(tracking_uri) as connection:
        row = connection.execute(_COUNTED, {"workspace": workspace(tenant)}).fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)


def erase(tracking_uri: str, tenant: TenantRef) -> int:
    """Delete the workspace with everything in it, in one transaction; returns the rows deleted."""
    name = workspace(tenant)
    with _database(tracking_uri) as connection:
        children: dict[str, list[tuple[str, list[str], list[str]]]] = defaultdict(list)
        for parent, child, columns, referred in connection.execute(_KEYS).fetchall():
            children[parent].append((child, columns, referred))
        rows = 0
        for (table,) in connection.execute(_ROOTS).fetchall():
            rows += _delete(connection, children, table, sql.SQL("workspace = %s"), name)
        return rows + _delete(connection, children, "workspaces", sql.SQL("name = %s"), name)


def readdress(tracking_uri: str, tenant: TenantRef, before: str, after: str) -> int:
    """Replace a folder's address at the beginning of every file's; returns the rows changed.

    Args:
        before: `file://…` of the folder that held the tenant's part of the lake.
        after: `file://…` of the folder that holds it now.
    """
    changed = 0
    with _database(tracking_uri) as connection:
        for table, column, mine in _ADDRESSES:
            query = sql.SQL(
                "UPDATE {table} SET {column} = %s || substr({column}, %s) "
                "WHERE starts_with({column}, %s) AND {mine}"
            ).format(table=sql.Identifier(table), column=sql.Identifier(column), mine=sql.SQL(mine))
            changed += connection.execute(
                query, [after, len(before) + 1, before, workspace(tenant)]
            ).rowcount
    return changed


def _delete(
    connection: psycopg.Connection[tuple[Any, ...]],
    children: dict[str, list[tuple[str, list[str], list[str]]]],
    table: str,
    condition: sql.Composable,
    name: str,
) -> int:
    """Delete a table's rows, after all rows that point at them."""
    rows = 0
    for child, columns, referred in children.get(table, ()):
        pointing = sql.SQL("({}) IN (SELECT {} FROM {} WHERE {})").format(
            sql.SQL(", ").join(map(sql.Identifier, columns)),
            sql.SQL(", ").join(map(sql.Identifier, referred)),
            sql.Identifier(table),
            condition,
        )
        rows += _delete(connection, children, child, pointing, name)
    query = sql.SQL("DELETE FROM {} WHERE {}").format(sql.Identifier(table), condition)
    return rows + connection.execute(query, [name]).rowcount


@contextmanager
def _database(tracking_uri: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    parts = urlsplit(tracking_uri)
    dsn = urlunsplit(parts._replace(scheme=parts.scheme.partition("+")[0]))
    try:
        connection = psycopg.connect(dsn, connect_timeout=10)
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[-1]
        raise UnavailableError(
            f"MLflow's database does not answer ({reason}); is it up (`make up`), and does "
            "MLFLOW_TRACKING_URI point at it?"
        ) from error
    with connection:
        yield connection
