"""Everything a run leaves behind, as plain values that compare equal exactly when it is the same.

Left out is only what says when and under which random name something was written: audit columns,
names of Delta's files, ids of MLflow's runs, and temporary files of a writer that was killed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import psycopg
from deltalake import DeltaTable

from include.runtime.postgres import Postgres

#: When a row was written; `table_version` of a slice is how far its table was at that moment.
AUDIT: Final = frozenset(
    {
        *("recorded_at", "decided_at", "opened_at", "triggered_at", "finished_at"),
        "materialized_at",
        *("claimed_at", "changed_at"),
        "table_version",
    }
)

_REGISTRY: Final = {
    "versions": """
        SELECT v.workspace, v.name, v.version, v.status, t.key, t.value
        FROM model_versions v LEFT JOIN model_version_tags t
        ON (t.workspace, t.name, t.version) = (v.workspace, v.name, v.version)
        AND t.key NOT IN ('tenantry.folder')
    """,
    "aliases": "SELECT workspace, name, alias, version FROM registered_model_aliases",
    "runs": """
        SELECT e.workspace, e.name, r.name, r.status, t.key, t.value
        FROM runs r JOIN experiments e USING (experiment_id)
        JOIN tags t ON t.run_uuid = r.run_uuid WHERE t.key LIKE 'tenantry.%'
    """,
    "params": """
        SELECT e.workspace, e.name, r.name, p.key, p.value
        FROM runs r JOIN experiments e USING (experiment_id) JOIN params p USING (run_uuid)
    """,
    "metrics": """
        SELECT e.workspace, e.name, r.name, m.key, m.value, m.timestamp
        FROM runs r JOIN experiments e USING (experiment_id) JOIN metrics m USING (run_uuid)
    """,
    "workspaces": "SELECT name FROM workspaces",
}


def end_state(server: Postgres, lake: Path) -> dict[str, Any]:
    """All tenants' tables in every database, the lake, and the registry."""
    return {
        **{f"{name}: {table}": rows for name, table, rows in _all_tables(server)},
        **{f"registry: {name}": rows for name, rows in registry(server).items()},
        **{f"lake: {path}": content for path, content in contents(lake).items()},
    }


def differences(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """What differs, one line per table or file; empty when nothing does."""
    lines = []
    for key in sorted({*expected, *found}):
        before, after = expected.get(key), found.get(key)
        if before == after:
            continue
        if isinstance(before, list) and isinstance(after, list):
            lost = [row for row in before if row not in after][:3]
            new = [row for row in after if row not in before][:3]
            lines.append(f"{key}: {len(before)} rows, then {len(after)}; lost {lost}; new {new}")
        else:
            lines.append(f"{key}: {str(before)[:300]}, then {str(after)[:300]}")
    return lines


def tables(dsn: str) -> dict[str, list[str]]:
    """Rows of every table of ours in one database, without audit columns, sorted."""
    found: dict[str, list[str]] = {}
    with psycopg.connect(dsn) as connection:
        names = connection.execute(
            "SELECT table_name, array_agg(column_name::text ORDER BY ordinal_position) "
            "FROM information_schema.columns WHERE table_schema = 'tenantry' "
            "GROUP BY table_name ORDER BY table_name"
        ).fetchall()
        for table, columns in names:
            if "tenant_id" not in columns:
                continue
            kept = ", ".join(f"{c}::text" for c in columns if c not in AUDIT)
            if table == "audit":  # digests cover when, and numbers in which order
                kept = f"tenant_id, actor, action, (details::jsonb - ARRAY{sorted(AUDIT)!r})::text"
            rows = connection.execute(f"SELECT {kept} FROM tenantry.{table}").fetchall()  # type: ignore[arg-type]
            found[table] = sorted(map(str, rows))
    return found


def databases(server: Postgres) -> list[str]:
    """Names of the databases that hold tenants' rows."""
    with psycopg.connect(server.dsn("postgres")) as connection:
        rows = connection.execute(
            "SELECT datname FROM pg_database "
            "WHERE datname = 'tenantry' OR datname LIKE 'tenantry\\_silo\\_%' ORDER BY datname"
        ).fetchall()
    return [name for (name,) in rows]


def registry(server: Postgres) -> dict[str, list[str]]:
    """Workspaces, versions with their tags, aliases and runs, sorted."""
    with psycopg.connect(server.dsn("mlflow")) as connection:
        return {
            name: sorted(map(str, connection.execute(query).fetchall()))  # type: ignore[arg-type]
            for name, query in _REGISTRY.items()
        }


def contents(lake: Path) -> dict[str, Any]:
    """Delta tables as version and digest of their sorted rows; other files as digests."""
    found: dict[str, Any] = {}
    delta = {log.parent for log in lake.rglob("_delta_log")}
    for table in delta:
        found[str(table.relative_to(lake))] = _table(table)
    for path in lake.rglob("*"):
        if not path.is_file() or delta & set(path.parents) or path.name.startswith("tmp"):
            continue
        place, digest = path.relative_to(lake), hashlib.sha256(path.read_bytes()).hexdigest()
        if "models" in place.parts:  # experiment and run have ids that MLflow draws
            key = str(Path(*place.parts[: place.parts.index("models") + 1], "*", place.name))
            found[key] = sorted([*found.get(key, []), digest])
        else:
            found[str(place)] = digest
    return found


def files(folder: Path) -> dict[str, str]:
    """Every file below a folder with the digest of its bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _table(path: Path) -> tuple[int, int, str]:
    table = DeltaTable(str(path))
    rows = table.to_pyarrow_table()
    names = sorted(rows.column_names)
    ordered = rows.select(names).sort_by([(name, "ascending") for name in names])
    digest = hashlib.sha256(repr(ordered.to_pydict()).encode()).hexdigest()
    return table.version(), len(rows), digest


def _all_tables(server: Postgres) -> list[tuple[str, str, list[str]]]:
    return [
        (name, table, rows)
        for name in databases(server)
        for table, rows in tables(server.dsn(name)).items()
    ]
