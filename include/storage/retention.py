"""Forgets what a tenant's `retention` says is too old: events in the lake, rows and files."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from include.storage.lake import Lake
from include.storage.postgres import tenant_transaction
from include.tenants.config import TenantConfig

#: Tables of events; attributes are facts that stay true until a newer one comes.
_EVENTS: Final = ("landing_events", "events")
#: Postgres tables with a row per prediction or per bad row, and the column that dates them. Ledgers
#: (promotions, retrains, verdicts, incidents) hold no customer's data and are kept, outcomes of
#: experiments name entities by digests only.
_PREDICTIONS: Final = "DELETE FROM predictions WHERE tenant_id = %s AND as_of < %s"
_SHADOW: Final = "DELETE FROM shadow_predictions WHERE tenant_id = %s AND as_of < %s"
_QUARANTINE: Final = "DELETE FROM quarantine WHERE tenant_id = %s AND interval_end < %s"


@dataclass(frozen=True)
class Expired:
    """What was forgotten."""

    tenant: str
    events: int
    predictions: int
    quarantined: int
    files: int


def expire(tenant: TenantConfig, at: datetime, lake: Lake) -> Expired:
    """Delete what is older than the tenant's retention, counted back from `at`.

    A tenant whose contract is over is taken at its last day, not later. Doing it again changes
    nothing. Files of the lake's older table versions go a week after the rows in them did.
    """
    until = tenant.history_until
    now = min(at, until) if until else at
    events_until = now - tenant.retention.events
    predictions_until = now - tenant.retention.predictions
    with tenant_transaction(tenant.ref) as connection:
        predictions = connection.execute(_PREDICTIONS, [tenant.id, predictions_until]).rowcount
        connection.execute(_SHADOW, [tenant.id, predictions_until])
        quarantined = connection.execute(_QUARANTINE, [tenant.id, events_until]).rowcount
    return Expired(
        tenant=tenant.id,
        events=sum(lake.forget(tenant.ref, table, events_until) for table in _EVENTS),
        predictions=predictions,
        quarantined=quarantined,
        files=lake.forget_files(tenant.ref, "features", predictions_until)
        + lake.forget_files(tenant.ref, "spines", events_until),
    )
