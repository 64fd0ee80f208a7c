"""Slices in Postgres: the table `slices`, and the rows of `quarantine` that ingestion set aside."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from psycopg.rows import DictRow

from include.handoffs import Interval
from include.ingestion.slices import NOT_KEPT, Rejected, Remaining, SetAside, Slice
from include.storage.postgres import Connection, tenant_transaction
from include.stores.postgres import quarantine
from include.stores.postgres.statements import select
from include.tenants.namespace import TenantRef

_STAGE: Final = "ingestion"
_OWN: Final = "tenant_id = %s AND source = %s AND interval_start = %s AND interval_end = %s"
_RECORD: Final = """
    INSERT INTO slices (tenant_id, source, interval_start, interval_end, rows, late, duplicates,
                        quarantined, undated, read, outside, table_version, along_start, along_end)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (tenant_id, source, interval_start, interval_end) DO UPDATE SET
        rows = excluded.rows, late = excluded.late, duplicates = excluded.duplicates,
        quarantined = excluded.quarantined, undated = excluded.undated,
        read = excluded.read, outside = excluded.outside,
        table_version = excluded.table_version, along_start = excluded.along_start,
        along_end = excluded.along_end, recorded_at = now()
"""
_RECOUNT: Final = f"""
    UPDATE slices SET duplicates = duplicates + rows - %s - %s, quarantined = quarantined + %s,
        rows = %s, late = %s
    WHERE {_OWN}
"""  # noqa: S608
_ROWS: Final = f"SELECT rows FROM slices WHERE {_OWN} FOR UPDATE"  # noqa: S608
_LAST: Final = f"""
    SELECT coalesce(max(row_number), %s) AS last FROM quarantine
    WHERE stage = '{_STAGE}' AND {_OWN}
"""  # noqa: S608
_RECORDED: Final = """
    SELECT source, interval_start, interval_end, rows, late, duplicates, table_version,
           quarantined, undated, read, outside, along_start, along_end
    FROM slices WHERE tenant_id = %s ORDER BY source, interval_start, interval_end
"""
#: Of two of one interval the former goes, with its rows; then all that is left is renamed.
_RENAME: Final = (
    f"""
    DELETE FROM quarantine q USING slices s WHERE q.stage = '{_STAGE}'
    AND q.tenant_id = %(tenant)s AND q.source = %(former)s
    AND s.tenant_id = q.tenant_id AND s.source = %(name)s
    AND s.interval_start = q.interval_start AND s.interval_end = q.interval_end
    """,  # noqa: S608
    """
    DELETE FROM slices f USING slices s WHERE f.tenant_id = %(tenant)s AND f.source = %(former)s
    AND s.tenant_id = f.tenant_id AND s.source = %(name)s
    AND s.interval_start = f.interval_start AND s.interval_end = f.interval_end
    """,
    "UPDATE slices SET source = %(name)s WHERE tenant_id = %(tenant)s AND source = %(former)s",
)
_FORGET: Final = f"DELETE FROM quarantine WHERE stage = '{_STAGE}' AND {_OWN}"  # noqa: S608
_UNDATED_ELSEWHERE: Final = f"""
    SELECT coalesce(sum(undated), 0)::bigint AS count FROM slices
    WHERE tenant_id = %s AND source = %s AND NOT ({_OWN})
"""  # noqa: S608


class PostgresSlices:
    """Writes a slice and its rejected rows in one transaction."""

    def record(self, tenant: TenantRef, delivered: Slice, rejected: Rejected) -> Slice:
        """See `Slices.record`."""
        with tenant_transaction(tenant) as connection:
            recorded = _set_aside(connection, tenant, delivered, rejected)
            connection.execute(
                _RECORD,
                [
                    *_key(tenant, recorded.source, recorded.interval),
                    *(recorded.rows, recorded.late, recorded.duplicates),
                    *(recorded.quarantined, recorded.undated),
                    *(recorded.read, recorded.outside, recorded.table_version),
                    *_ends(recorded.along_with),
                ],
            )
        return recorded

    def recount(self, tenant: TenantRef, source: str, remaining: Sequence[Remaining]) -> None:
        """See `Slices.recount`."""
        with tenant_transaction(tenant) as connection:
            for left in remaining:
                key = _key(tenant, source, left.interval)
                before = connection.execute(_ROWS, key).fetchone()
                if before is None:
                    continue
                changed = left.changed.count if before["rows"] != left.rows else 0
                counts = [left.rows, changed, changed, left.rows, left.late]
                connection.execute(_RECOUNT, [*counts, *key])
                if changed:
                    stored = connection.execute(_LAST, [NOT_KEPT, *key]).fetchone()
                    assert stored is not None  # an aggregate without GROUP BY always has one row
                    rows = left.numbered(stored["last"])
                    added = ((row.number, row.reason, row.row) for row in rows)
                    quarantine.insert(connection, tenant, _STAGE, source, left.interval, added)

    def rename(self, tenant: TenantRef, former: str, name: str) -> None:
        """See `Slices.rename`."""
        values = {"tenant": tenant.id, "former": former, "name": name}
        with tenant_transaction(tenant) as connection:
            for statement in _RENAME:
                connection.execute(statement, values)
            quarantine.rename(connection, tenant, _STAGE, former, name)

    def recorded(self, tenant: TenantRef) -> list[Slice]:
        """See `Slices.recorded`."""
        rows = select(tenant, _RECORDED, [tenant.id])
        return [
            Slice(interval=_interval(row, "interval"), along_with=_interval(row, "along"), **row)
            for row in rows
        ]

    def set_aside(self, tenant: TenantRef, source: str) -> list[SetAside]:
        """See `Slices.set_aside`."""
        with tenant_transaction(tenant) as connection:
            return list(_stored(connection, tenant, source))


def _set_aside(
    connection: Connection, tenant: TenantRef, delivered: Slice, rejected: Rejected
) -> Slice:
    """Make the rejected rows all that the slice has set aside; returns it with their numbers."""
    source, interval = delivered.source, delivered.interval
    own = _key(tenant, source, interval)
    connection.execute(_FORGET, own)
    elsewhere = connection.execute(_UNDATED_ELSEWHERE, [tenant.id, source, *own]).fetchone()
    assert elsewhere is not None  # an aggregate without GROUP BY always has one row
    counted = rejected.counted_in(delivered, elsewhere["count"])
    known: set[str] = set()
    if counted.undated and elsewhere["count"]:
        stored = _stored(connection, tenant, source)
        known = {row.digest for row in stored if row.number != NOT_KEPT}
    rows = ((row.number, row.reason, row.row) for row in rejected.stored(counted.undated, known))
    quarantine.insert(connection, tenant, _STAGE, source, interval, rows)
    return counted


def _stored(connection: Connection, tenant: TenantRef, source: str) -> Iterator[SetAside]:
    for row in quarantine.rows(connection, tenant, _STAGE, source):
        text = json.dumps(row["row"], sort_keys=True)
        yield SetAside(row["row_number"], row["reason"], text)


def _interval(row: DictRow, name: str) -> Any:
    """The interval whose ends are two columns, which leave the row; None where they are null."""
    start, end = row.pop(f"{name}_start"), row.pop(f"{name}_end")
    return None if start is None else Interval(start, end)


def _ends(interval: Interval | None) -> tuple[datetime | None, datetime | None]:
    return (None, None) if interval is None else (interval.start, interval.end)


def _key(tenant: TenantRef, source: str, interval: Interval) -> list[object]:
    return [tenant.id, source, interval.start, interval.end]
