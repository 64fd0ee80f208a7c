"""Profiles in Postgres: one per champion's reference, and one per window and model that scored it.

Rows of a window are kept for a little over a year, which is what a season is compared over.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from psycopg.types.json import Jsonb

from include.monitoring.profiles import WindowProfile
from include.monitoring.season import NEAR, YEAR, StoredWindow
from include.storage.postgres import tenant_transaction
from include.tenants.namespace import TenantRef

#: How long before the newest window the oldest is kept.
KEPT: Final = YEAR + 6 * NEAR

_STORE: Final = """
    INSERT INTO drift_profiles (tenant_id, use_case, kind, as_of, model_version, drifted, profile)
    VALUES (%s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (tenant_id, use_case, kind, as_of, model_version)
    DO UPDATE SET drifted = excluded.drifted, profile = excluded.profile
"""
_FORGET: Final = """
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


def reference(tenant: TenantRef, use_case: str, version: str) -> WindowProfile | None:
    """The profile of what a version was judged on; None where it was never profiled."""
    with tenant_transaction(tenant) as connection:
        row = connection.execute(_REFERENCE, [tenant.id, use_case, version]).fetchone()
    return None if row is None else WindowProfile.from_json(row["profile"])


def store_reference(
    tenant: TenantRef, use_case: str, version: str, as_of: datetime, found: WindowProfile
) -> None:
    """Keep the profile of what a version, trained at `as_of`, was judged on."""
    key = [tenant.id, use_case, "reference", as_of, version, False]
    with tenant_transaction(tenant) as connection:
        connection.execute(_STORE, [*key, Jsonb(found.to_json())])


def windows(
    tenant: TenantRef, use_case: str, since: datetime, until: datetime
) -> list[StoredWindow]:
    """The windows from `since` to `until`, both included, oldest first."""
    with tenant_transaction(tenant) as connection:
        rows = connection.execute(_WINDOWS, [tenant.id, use_case, since, until]).fetchall()
    return [_window(row) for row in rows]


def store_window(tenant: TenantRef, use_case: str, window: StoredWindow) -> None:
    """Keep a window's profile, and forget those that no later window will be compared with."""
    key = [tenant.id, use_case, "window", window.as_of, window.model_version, window.drifted]
    oldest = window.as_of - KEPT
    with tenant_transaction(tenant) as connection:
        connection.execute(_STORE, [*key, Jsonb(window.profile.to_json())])
        connection.execute(_FORGET, [tenant.id, use_case, oldest, window.model_version])


def _window(row: Mapping[str, Any]) -> StoredWindow:
    return StoredWindow(
        row["as_of"].astimezone(UTC),
        row["model_version"],
        WindowProfile.from_json(row["profile"]),
        row["drifted"],
    )
