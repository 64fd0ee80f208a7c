"""Incidents of data: how a loss, or a hole that was refused, stands in the tenant's incidents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from include.handoffs import Interval
from include.incidents import Incident, Incidents
from include.quality.volume import DataLoss, Outage
from include.tenants.namespace import TenantRef

DATA_LOSS: Final = "data_loss"
REFUSED_HOLE: Final = "refused_hole"
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


def decide_refusals(
    interval: Interval, refusal: str, incidents: Sequence[Incident]
) -> list[Incident]:
    """The incident of a hole that was refused: opened, or closed once its interval is accepted.

    Args:
        refusal: why nothing of the interval was accepted; empty where it was.
        incidents: those of the kind on record.
    """
    details = {"start": interval.start.isoformat(), "end": interval.end.isoformat()}
    if refusal:
        summary = f"A hole that no run had loaded was refused. {refusal}"
        return [Incident(REFUSED_HOLE, "", interval.end, summary, details)]
    return [
        replace(one, closed_at=interval.end)
        for one in incidents
        if one.closed_at is None and one.details == details
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
