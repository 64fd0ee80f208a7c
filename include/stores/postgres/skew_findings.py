"""Skew findings in Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from psycopg.rows import DictRow

from include.monitoring.skew_findings import KIND, Mismatch, SkewFinding, incident_of
from include.storage.postgres import tenant_transaction
from include.stores.postgres import incidents
from include.stores.postgres.statements import select
from include.tenants.namespace import TenantRef

_FORGET: Final = "DELETE FROM feature_skew WHERE tenant_id = %s AND use_case = %s AND as_of = %s"
_RECORD: Final = """
    INSERT INTO feature_skew (tenant_id, use_case, as_of, path, feature, cause, model_version,
                              compared, mismatched, first_row, difference)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (tenant_id, use_case, as_of, path, feature)
    DO UPDATE SET cause = excluded.cause, model_version = excluded.model_version,
        compared = excluded.compared, mismatched = excluded.mismatched,
        first_row = excluded.first_row, difference = excluded.difference
"""
_ALL_OF: Final = """
    SELECT use_case, as_of, path, feature, cause, model_version, compared, mismatched, first_row,
           difference
    FROM feature_skew WHERE tenant_id = %s AND (%s::text IS NULL OR use_case = %s)
    ORDER BY use_case, as_of, path, feature
"""


class PostgresSkewFindings:
    """The table `feature_skew`, with the incidents of skew."""

    def record(
        self,
        tenant: TenantRef,
        use_case: str,
        instants: Sequence[datetime],
        findings: Sequence[SkewFinding],
        replayed_at: datetime,
    ) -> None:
        """See `SkewFindings.record`."""
        with tenant_transaction(tenant) as connection:
            for as_of in instants:
                here = [finding for finding in findings if finding.as_of == as_of]
                connection.execute(_FORGET, [tenant.id, use_case, as_of])
                for finding in here:
                    differs = finding.mismatch
                    connection.execute(
                        _RECORD,
                        [
                            *(tenant.id, use_case, as_of, finding.path, differs.feature),
                            *(finding.cause, finding.model_version, differs.compared),
                            *(differs.mismatched, differs.first, differs.difference),
                        ],
                    )
                if here:
                    incidents.put(connection, tenant, incident_of(use_case, as_of, here))
                else:
                    incidents.close(connection, tenant, KIND, use_case, as_of, replayed_at)

    def all_of(self, tenant: TenantRef, use_case: str | None = None) -> list[SkewFinding]:
        """See `SkewFindings.all_of`."""
        rows = select(tenant, _ALL_OF, [tenant.id, use_case, use_case])
        return [_finding(row) for row in rows]


def _finding(row: DictRow) -> SkewFinding:
    return SkewFinding(
        row["use_case"],
        row["as_of"].astimezone(UTC),
        row["path"],
        Mismatch(
            row["feature"], row["compared"], row["mismatched"], row["first_row"], row["difference"]
        ),
        row["cause"],
        row["model_version"],
    )
