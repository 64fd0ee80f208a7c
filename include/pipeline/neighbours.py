"""Which tenants' tables a step for several tenants can read; one that is broken is left out.

A neighbour's broken table is no reason for anybody else's run to fail, and no business of theirs:
the platform is told, in an incident of its own, and the tenant whose run it is hears nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from include.features.inputs import unreadable
from include.incidents import Incident, Incidents
from include.storage.lake import Lake
from include.tenants.config import TenantConfig
from include.tenants.namespace import GLOBAL

KIND: Final = "unreadable_table"
_SUMMARY: Final = (
    "Tables of tenants cannot be read, so what is made of several tenants was made without them; "
    "the details name them and what is wrong"
)


def readable(
    tenants: Sequence[TenantConfig],
    tables: Sequence[str],
    lake: Lake,
    as_of: datetime,
    incidents: Incidents,
) -> list[TenantConfig]:
    """The tenants whose tables can be read from the first row to the last, in their order.

    Opens an incident of the platform's about the others, and closes it once all can be read.
    """
    broken = unreadable(tenants, tables, lake)
    if broken:
        incidents.open(GLOBAL, Incident(KIND, "", as_of, _SUMMARY, broken))
    good = [tenant for tenant in tenants if tenant.id not in broken]
    if good and not broken:
        _close(incidents, {tenant.id for tenant in good}, as_of)
    return good


def _close(incidents: Incidents, good: set[str], as_of: datetime) -> None:
    """Close what is about tenants whose tables can all be read by now."""
    for incident in incidents.of_kind(GLOBAL, KIND):
        if incident.as_of <= as_of and incident.details.keys() <= good:
            incidents.close(GLOBAL, KIND, "", incident.as_of)
