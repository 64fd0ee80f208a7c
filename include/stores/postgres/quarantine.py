"""Statements on the table `quarantine`, for the transactions of the stages that set rows aside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from psycopg.rows import DictRow

from include.handoffs import Interval
from include.storage.postgres import Connection
from include.tenants.namespace import TenantRef

_CHUNK: Final = 1_000
_INSERT: Final = """
    INSERT INTO quarantine (tenant_id, stage, source, interval_start, interval_end, row_number,
                            reason, row)
    SELECT %s, %s, %s, %s, %s, * FROM unnest(%s::bigint[], %s::text[], %s::jsonb[])
"""
_RENAME: Final = (
    """
    DELETE FROM quarantine f USING quarantine o
    WHERE f.tenant_id = %(tenant)s AND f.stage = %(stage)s AND f.source = %(former)s
    AND o.tenant_id = f.tenant_id AND o.stage = f.stage AND o.source = %(name)s
    AND o.interval_start = f.interval_start AND o.interval_end = f.interval_end
    """,
    """
    UPDATE quarantine SET source = %(name)s
    WHERE tenant_id = %(tenant)s AND stage = %(stage)s AND source = %(former)s
    """,
)
_ROWS: Final = """
    SELECT row_number, reason, row FROM quarantine
    WHERE tenant_id = %s AND stage = %s AND source = %s
    ORDER BY interval_start, interval_end, row_number
"""


def insert(
    connection: Connection,
    tenant: TenantRef,
    stage: str,
    source: str,
    interval: Interval,
    rows: Iterable[tuple[int, str, str]],
) -> None:
    """Add rows of a slice: number, reason, JSON."""
    slice_ = [tenant.id, stage, source, interval.start, interval.end]
    pending = iter(rows)
    while chunk := list(islice(pending, _CHUNK)):
        connection.execute(_INSERT, [*slice_, *map(list, zip(*chunk, strict=True))])


def rename(connection: Connection, tenant: TenantRef, stage: str, former: str, name: str) -> None:
    """Let a stage's rows of a source bear another name; of one slice those that do already stay."""
    values = {"tenant": tenant.id, "stage": stage, "former": former, "name": name}
    for statement in _RENAME:
        connection.execute(statement, values)


def rows(connection: Connection, tenant: TenantRef, stage: str, source: str) -> Iterator[DictRow]:
    """What a stage has set aside of a source, by interval and number."""
    yield from connection.execute(_ROWS, [tenant.id, stage, source])
