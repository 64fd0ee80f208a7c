"""Incidents of data loss: how a loss stands in the tenant's incidents."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from include.incidents import Incident, Incidents
from include.quality.volume import DataLoss, Outage
from include.tenants.namespace import TenantRef

DATA_LOSS: Final = "data_loss"
_instant: Final = datetime.fromisoformat


def data_losses(incidents: Incidents, tenant: TenantRef) -> list[DataLoss]:
    """The tenant's losses on record, oldest first."""
    return [
        DataLoss(
            incident.as_of,
            incident.summary,
            tuple(
                Outage(
                    outage["source"],
                    _instant(outage["start"]),
                    outage["until"] and _instant(outage["until"]),
                    outage["rows"],
                    outage["expected"],
                    outage["recovered_at"] and _instant(outage["recovered_at"]),
                )
                for outage in incident.details.get("outages", ())
            ),
            incident.closed_at,
        )
        for incident in incidents.of_kind(tenant, DATA_LOSS)
    ]


def incident_of(loss: DataLoss) -> Incident:
    """The incident that says so."""
    outages = [
        {
            "source": outage.source,
            "kind": outage.kind,
            "start": outage.start.isoformat(),
            "until": outage.until and outage.until.isoformat(),
            "rows": outage.rows,
            "expected": round(outage.expected, 1),
            "recovered_at": outage.recovered_at and outage.recovered_at.isoformat(),
        }
        for outage in loss.outages
    ]
    return Incident(DATA_LOSS, "", loss.as_of, loss.summary, {"outages": outages}, loss.closed_at)
