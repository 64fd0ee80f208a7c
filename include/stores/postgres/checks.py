"""Checks in Postgres: the table `quality_results`, and the rows of `quarantine` that failed one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Final

from psycopg.rows import DictRow

from include.handoffs import Interval
from include.incidents import Incident
from include.quality.checks import FailedRow, Inspection, Result, Summary, UnacceptedRows, to_json
from include.storage.postgres import Connection, tenant_transaction
from include.stores.postgres import incidents as incident_rows
from include.stores.postgres import quarantine
from include.stores.postgres.statements import select
from include.tenants.namespace import TenantRef

_STAGE: Final = "quality"
#: Columns that are fields of a result.
_RESULT: Final = ("suite", "check", "severity", "success", "unexpected_count", "element_count")
_FORGET: Final = """
    DELETE FROM quality_results WHERE tenant_id = %s AND interval_start = %s AND interval_end = %s
    AND (suite, check_name) NOT IN (SELECT * FROM unnest(%s::text[], %s::text[]))
"""
_RECORD: Final = """
    INSERT INTO quality_results (tenant_id, interval_start, interval_end, suite, check_name,
                                 severity, success, unexpected_count, element_count, observed,
                                 report_path)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (tenant_id, suite, interval_start, interval_end, check_name) DO UPDATE SET
        severity = excluded.severity, success = excluded.success,
        unexpected_count = excluded.unexpected_count, element_count = excluded.element_count,
        observed = excluded.observed, report_path = excluded.report_path
"""
_INSPECTIONS: Final = """
    SELECT interval_start, interval_end, report_path, suite, check_name AS check, severity, success,
           unexpected_count, element_count, observed
    FROM quality_results WHERE tenant_id = %s
    ORDER BY interval_start, interval_end, suite, check_name
"""
_JUDGED: Final = """
    SELECT DISTINCT suite, interval_start, interval_end FROM quality_results WHERE tenant_id = %s
"""
_SUMMARIES: Final = """
    SELECT interval_end, count(*) AS checks,
           coalesce(string_agg(suite || '.' || check_name || ' (' || severity || ')', ', '
                    ORDER BY suite, check_name) FILTER (WHERE NOT success), '') AS failed,
           max(report_path) AS report_path
    FROM quality_results WHERE tenant_id = %s GROUP BY interval_end ORDER BY interval_end
"""
#: Of two results of one check and interval the former goes; then what is left is renamed.
_RENAME: Final = (
    """
    DELETE FROM quality_results f USING quality_results o
    WHERE f.tenant_id = %(tenant)s AND f.suite = ANY(%(former)s) AND o.tenant_id = f.tenant_id
    AND o.suite = split_part(f.suite, '.', 1) || '.' || %(name)s AND o.check_name = f.check_name
    AND o.interval_start = f.interval_start AND o.interval_end = f.interval_end
    """,
    """
    UPDATE quality_results SET suite = split_part(suite, '.', 1) || '.' || %(name)s
    WHERE tenant_id = %(tenant)s AND suite = ANY(%(former)s)
    """,
)
_FORGET_ROWS: Final = """
    DELETE FROM quarantine WHERE tenant_id = %s AND stage = %s AND source = %s
    AND (row->>'created_timestamp')::timestamptz >= %s
    AND (row->>'created_timestamp')::timestamptz < %s
"""


class PostgresChecks:
    """Writes results, incidents and rejected rows in one transaction."""

    def record(
        self,
        tenant: TenantRef,
        inspection: Inspection,
        incidents: Sequence[Incident],
        rejected: Sequence[UnacceptedRows],
    ) -> None:
        """See `Checks.record`."""
        with tenant_transaction(tenant) as connection:
            _write_results(connection, tenant, inspection)
            for incident in incidents:
                incident_rows.put(connection, tenant, incident)
            for slice_ in rejected:
                _write_rejected(connection, tenant, slice_)

    def rename(self, tenant: TenantRef, former: str, name: str) -> None:
        """See `Checks.rename`."""
        suites = [f"{kind}.{former}" for kind in ("events", "attributes")]
        values = {"tenant": tenant.id, "former": suites, "name": name}
        with tenant_transaction(tenant) as connection:
            for statement in _RENAME:
                connection.execute(statement, values)
            quarantine.rename(connection, tenant, _STAGE, former, name)

    def inspections(self, tenant: TenantRef) -> list[Inspection]:
        """See `Checks.inspections`."""
        rows = select(tenant, _INSPECTIONS, [tenant.id])
        return [
            Inspection(Interval(start, end), tuple(_result(row) for row in of_one), path)
            for (start, end, path), of_one in groupby(rows, _inspected)
        ]

    def judged(self, tenant: TenantRef) -> set[tuple[str, Interval]]:
        """See `Checks.judged`."""
        with tenant_transaction(tenant) as connection:
            rows = connection.execute(_JUDGED, [tenant.id]).fetchall()
        return {
            (row["suite"], Interval(row["interval_start"], row["interval_end"])) for row in rows
        }

    def summaries(self, tenant: TenantRef) -> list[Summary]:
        """See `Checks.summaries`."""
        rows = select(tenant, _SUMMARIES, [tenant.id])
        return [Summary(**row) for row in rows]

    def set_aside(self, tenant: TenantRef, source: str) -> list[FailedRow]:
        """See `Checks.set_aside`."""
        with tenant_transaction(tenant) as connection:
            return [FailedRow(**row) for row in quarantine.rows(connection, tenant, _STAGE, source)]


def _write_results(connection: Connection, tenant: TenantRef, inspection: Inspection) -> None:
    interval, results = inspection.interval, inspection.results
    span = [tenant.id, interval.start, interval.end]
    names = [[result.suite for result in results], [result.check for result in results]]
    connection.execute(_FORGET, [*span, *names])
    connection.cursor().executemany(
        _RECORD,
        [
            [
                *(*span, result.suite, result.check, result.severity, result.success),
                *(result.unexpected_count, result.element_count),
                to_json({"expectation": result.expectation, **result.observed}),
                inspection.report_path,
            ]
            for result in results
        ],
    )


def _write_rejected(connection: Connection, tenant: TenantRef, slice_: UnacceptedRows) -> None:
    source, interval = slice_.source, slice_.interval
    connection.execute(_FORGET_ROWS, [tenant.id, _STAGE, source, interval.start, interval.end])
    rows = ((one.row_number, one.reason, to_json(one.row)) for one in slice_.rows)
    quarantine.insert(connection, tenant, _STAGE, source, interval, rows)


def _inspected(row: DictRow) -> tuple[datetime, datetime, str]:
    return row["interval_start"], row["interval_end"], row["report_path"]


def _result(row: DictRow) -> Result:
    observed = dict(row["observed"])
    values = {name: row[name] for name in _RESULT}
    return Result(expectation=observed.pop("expectation"), observed=observed, **values)
