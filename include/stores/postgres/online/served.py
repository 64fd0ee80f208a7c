"""The table of views that are served."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from include.features.online.served import Served
from include.storage.postgres import Connection
from include.tenants.namespace import TenantRef

_SELECT: Final = """
    SELECT view_name, fingerprint, group_key, watermark, ttl_seconds, source FROM online_views
    WHERE tenant_id = %s AND region = %s ORDER BY view_name, fingerprint
"""
_SAVE: Final = """
    INSERT INTO online_views
        (tenant_id, region, view_name, fingerprint, group_key, watermark, ttl_seconds, source)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (tenant_id, region, view_name, fingerprint) DO UPDATE SET
        group_key = excluded.group_key, watermark = excluded.watermark,
        ttl_seconds = excluded.ttl_seconds, source = excluded.source, materialized_at = now()
"""
_FORGET: Final = """
    DELETE FROM online_views v WHERE tenant_id = %s AND region = %s
    AND NOT EXISTS (SELECT FROM unnest(%s::text[], %s::text[]) AS kept (view_name, fingerprint)
                    WHERE kept.view_name = v.view_name AND kept.fingerprint = v.fingerprint)
"""


def served(connection: Connection, tenant: TenantRef) -> list[Served]:
    """The views that are served, by name and fingerprint."""
    rows = connection.execute(_SELECT, [tenant.id, tenant.region])
    return [
        Served(
            row["view_name"],
            row["fingerprint"],
            row["group_key"],
            row["watermark"],
            None if row["ttl_seconds"] is None else timedelta(seconds=row["ttl_seconds"]),
            row["source"],
        )
        for row in rows
    ]


def serve(connection: Connection, tenant: TenantRef, views: Sequence[Served]) -> None:
    """Serve these views and no others."""
    for view in views:
        ttl = None if view.ttl is None else view.ttl.total_seconds()
        key = [tenant.id, tenant.region, view.view, view.fingerprint]
        connection.execute(_SAVE, [*key, view.group, view.watermark, ttl, view.source])
    names = [view.view for view in views]
    fingerprints = [view.fingerprint for view in views]
    connection.execute(_FORGET, [tenant.id, tenant.region, names, fingerprints])
