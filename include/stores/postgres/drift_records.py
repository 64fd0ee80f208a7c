"""Drift records in Postgres."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from psycopg.types.json import Jsonb

from include.monitoring.drift_records import DriftVerdict
from include.monitoring.storms import (
    DAY,
    KIND,
    POLICY,
    Reports,
    Storm,
    day_of,
    follow,
    member_of,
)
from include.storage.postgres import Connection, tenant_transaction
from include.stores.postgres import incidents
from include.stores.postgres.statements import change, select, select_first, take_turn
from include.tenants.namespace import TenantRef

if TYPE_CHECKING:
    from include.monitoring.profiles import WindowProfile
    from include.monitoring.season import StoredWindow

_STORE_PROFILE: Final = """
    INSERT INTO drift_profiles (tenant_id, use_case, kind, as_of, model_version, drifted, profile)
    VALUES (%s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (tenant_id, use_case, kind, as_of, model_version)
    DO UPDATE SET drifted = excluded.drifted, profile = excluded.profile
"""
_FORGET_PROFILES: Final = """
    DELETE FROM drift_profiles WHERE tenant_id = %s AND use_case = %s AND as_of < %s
    AND NOT (kind = 'reference' AND model_version = %s)
"""
_REFERENCE: Final = """
    SELECT profile FROM drift_profiles
    WHERE tenant_id = %s AND use_case = %s AND kind = 'reference' AND model_version = %s
    ORDER BY as_of DESC LIMIT 1
"""
_WINDOWS: Final = """
    SELECT as_of, model_version, drifted, profile FROM drift_profiles
    WHERE tenant_id = %s AND use_case = %s AND kind = 'window' AND as_of BETWEEN %s AND %s
    ORDER BY as_of, model_version
"""
_STORE_VERDICT: Final = """
    INSERT INTO drift_verdicts (tenant_id, use_case, as_of, model_version, verdict, score, details,
                                report_path)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (tenant_id, use_case, as_of, model_version)
    DO UPDATE SET verdict = excluded.verdict, score = excluded.score, details = excluded.details,
        report_path = excluded.report_path
"""
#: Without the figures, which are large.
_VERDICTS: Final = """
    SELECT use_case, as_of, model_version, verdict, score, details->'reasons' AS reasons,
           report_path
    FROM drift_verdicts WHERE tenant_id = %s AND use_case = %s ORDER BY as_of, recorded_at
"""
_MARK: Final = """
    INSERT INTO drift_breaches (tenant_id, use_case, as_of, member, breached)
    VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (tenant_id, use_case, as_of, member) DO UPDATE SET breached = excluded.breached
"""
#: A tenant that is monitored several times a day counts once, and as breached if it ever was.
_DAYS: Final = """
    SELECT day, count(*) AS monitored, count(*) FILTER (WHERE breached) AS breached FROM (
        SELECT date_trunc('day', as_of, 'UTC') AS day, member, bool_or(breached) AS breached
        FROM drift_breaches WHERE tenant_id = %s AND use_case = %s AND as_of >= %s AND as_of < %s
        GROUP BY 1, 2) AS members
    GROUP BY day
"""
_FORGET_BREACHES: Final = """
    DELETE FROM drift_breaches WHERE tenant_id = %s AND use_case = %s AND as_of < %s
"""


class PostgresDriftRecords:
    """The tables `drift_profiles`, `drift_verdicts` and `drift_breaches`."""

    def reference(self, tenant: TenantRef, use_case: str, version: str) -> WindowProfile | None:
        """See `DriftRecords.reference`."""
        from include.monitoring.profiles import WindowProfile

        row = select_first(tenant, _REFERENCE, [tenant.id, use_case, version])
        return None if row is None else WindowProfile.from_json(row["profile"])

    def store_reference(
        self,
        tenant: TenantRef,
        use_case: str,
        version: str,
        as_of: datetime,
        profile: WindowProfile,
    ) -> None:
        """See `DriftRecords.store_reference`."""
        key = [tenant.id, use_case, "reference", as_of, version, False]
        change(tenant, _STORE_PROFILE, [*key, Jsonb(profile.to_json())])

    def windows(
        self, tenant: TenantRef, use_case: str, since: datetime, until: datetime
    ) -> list[StoredWindow]:
        """See `DriftRecords.windows`."""
        from include.monitoring.profiles import WindowProfile
        from include.monitoring.season import StoredWindow

        rows = select(tenant, _WINDOWS, [tenant.id, use_case, since, until])
        return [
            StoredWindow(
                row["as_of"].astimezone(UTC),
                row["model_version"],
                WindowProfile.from_json(row["profile"]),
                row["drifted"],
            )
            for row in rows
        ]

    def store_window(self, tenant: TenantRef, use_case: str, window: StoredWindow) -> None:
        """See `DriftRecords.store_window`."""
        key = [tenant.id, use_case, "window", window.as_of, window.model_version, window.drifted]
        with tenant_transaction(tenant) as connection:
            connection.execute(_STORE_PROFILE, [*key, Jsonb(window.profile.to_json())])
            connection.execute(
                _FORGET_PROFILES, [tenant.id, use_case, window.keeps_since, window.model_version]
            )

    def store_verdict(
        self, tenant: TenantRef, verdict: DriftVerdict, details: Mapping[str, Any]
    ) -> None:
        """See `DriftRecords.store_verdict`."""
        with tenant_transaction(tenant) as connection:
            connection.execute(
                _STORE_VERDICT,
                [
                    *(tenant.id, verdict.use_case, verdict.as_of, verdict.model_version),
                    *(verdict.verdict, verdict.score, Jsonb(dict(details)), verdict.report_path),
                ],
            )

    def verdicts(self, tenant: TenantRef, use_case: str) -> list[DriftVerdict]:
        """See `DriftRecords.verdicts`."""
        rows = select(tenant, _VERDICTS, [tenant.id, use_case])
        return [DriftVerdict(**{**row, "reasons": tuple(row["reasons"])}) for row in rows]

    def report_window(
        self,
        tenant: TenantRef,
        use_case: str,
        as_of: datetime,
        *,
        breached: bool,
        pool: TenantRef,
    ) -> str:
        """See `DriftRecords.report_window`: all of it under one lock per pool and use case."""
        day = day_of(as_of)
        with tenant_transaction(pool) as connection:
            take_turn(connection, f"{KIND}/{pool.id}/{use_case}")
            connection.execute(_MARK, [pool.id, use_case, as_of, member_of(tenant), breached])
            storms = [
                Storm.read(incident)
                for incident in incidents.of_kind(connection, pool, KIND, use_case)
            ]
            days = _days(connection, pool, use_case, day - POLICY.memory, day + DAY)
            followed = follow(use_case, day, days, storms)
            if followed.changed is not None:
                incidents.put(connection, pool, followed.changed.incident())
            connection.execute(_FORGET_BREACHES, [pool.id, use_case, day - 2 * POLICY.memory])
        return followed.storm.name if breached and followed.storm is not None else ""


def _days(
    connection: Connection, pool: TenantRef, use_case: str, since: datetime, until: datetime
) -> dict[datetime, Reports]:
    """Reports by day, from `since` to before `until`."""
    rows = connection.execute(_DAYS, [pool.id, use_case, since, until])
    return {row["day"].astimezone(UTC): Reports(row["monitored"], row["breached"]) for row in rows}
