"""The verdicts in Postgres."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from include.storage.postgres import tenant_transaction
from include.tenants.namespace import TenantRef


def store(
    tenant: TenantRef,
    use_case: str,
    as_of: datetime,
    model_version: str,
    *,
    verdict: str,
    score: float | None,
    details: Mapping[str, Any],
    report_path: str,
) -> None:
    """Write the verdict of one model at one instant; a rerun replaces it."""
    with tenant_transaction(tenant) as connection:
        connection.execute(
            "INSERT INTO drift_verdicts (tenant_id, use_case, as_of, model_version, verdict, "
            "score, details, report_path) VALUES (%s, %s, %s, %s, %s, %s, %s, %s) "
            "ON CONFLICT (tenant_id, use_case, as_of, model_version) DO UPDATE SET "
            "verdict = excluded.verdict, score = excluded.score, details = excluded.details, "
            "report_path = excluded.report_path",
            [
                *(tenant.id, use_case, as_of, model_version, verdict, score),
                *(Jsonb(dict(details)), report_path),
            ],
        )


def last_page(tenant: TenantRef, use_case: str, as_of: datetime) -> datetime | None:
    """When Evidently's page was drawn last before `as_of`; of the first verdict if never."""
    with tenant_transaction(tenant) as connection:
        row = connection.execute(
            "SELECT coalesce(max(as_of) FILTER (WHERE report_path LIKE '%%.html'), min(as_of)) "
            "AS drawn FROM drift_verdicts WHERE tenant_id = %s AND use_case = %s AND as_of < %s",
            [tenant.id, use_case, as_of],
        ).fetchone()
    return None if row is None else row["drawn"]
