"""Which views a tenant's store serves, from which partial aggregates, and how fresh they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from include.features.views import FeatureView
from include.storage.postgres import Connection, keyed_transaction
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


@dataclass(frozen=True)
class Served:
    """A view as the store serves it."""

    view: str
    fingerprint: str
    group: str  #: key of its partial aggregates; empty where all features are attributes
    watermark: datetime  #: what was known by then is in a batch
    ttl: timedelta | None
    source: str  #: what it was materialized from, as the stage recorded it

    def stale(self, at: datetime) -> str | None:
        """Why the view answers null at an instant, or None."""
        return stale_reason(self.watermark, self.ttl, at)


def stale_reason(watermark: datetime, ttl: timedelta | None, at: datetime) -> str | None:
    """Why a view that is materialized up to `watermark` answers null at `at`, or None."""
    age = at - watermark
    if ttl is None or age <= ttl:
        return None
    return (
        f"materialized up to {watermark:%Y-%m-%d %H:%M:%S} UTC, {age} ago, which is longer than "
        f"its ttl of {ttl}"
    )


def freshness(tenant: TenantRef) -> list[Served]:
    """The views that the tenant's store serves, and up to when each is materialized."""
    with keyed_transaction(tenant) as connection:
        return list(served(connection, tenant).values())


def served(connection: Connection, tenant: TenantRef) -> dict[tuple[str, str], Served]:
    """The views that are served, by name and fingerprint."""
    found = connection.execute(_SELECT, [tenant.id, tenant.region])
    return {
        (row["view_name"], row["fingerprint"]): Served(
            row["view_name"],
            row["fingerprint"],
            row["group_key"],
            row["watermark"],
            None if row["ttl_seconds"] is None else timedelta(seconds=row["ttl_seconds"]),
            row["source"],
        )
        for row in found
    }


def serve(
    connection: Connection,
    tenant: TenantRef,
    views: Sequence[tuple[FeatureView, str, datetime]],
    source: str,
) -> None:
    """Serve these views, each with its group and watermark, and no others."""
    for view, group_key, watermark in views:
        ttl = None if view.ttl is None else view.ttl.total_seconds()
        key = [tenant.id, tenant.region, view.name, view.fingerprint]
        connection.execute(_SAVE, [*key, group_key, watermark, ttl, source])
    names = [view.name for view, _, _ in views]
    fingerprints = [view.fingerprint for view, _, _ in views]
    connection.execute(_FORGET, [tenant.id, tenant.region, names, fingerprints])
