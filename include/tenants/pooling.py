"""Who trains global models together."""

from __future__ import annotations

from collections.abc import Iterable

from include.tenants.config import TenantConfig
from include.tenants.namespace import TenantRef


def shared_use_cases(
    fleet: Iterable[TenantConfig],
) -> dict[str, dict[TenantRef, list[TenantConfig]]]:
    """Use case → owner of global models → the tenants whose data it may have.

    An owner is there for a use case where somebody consented to it and somebody with that use case
    is offered what comes of it. A tenant that shares the models of all regions gives its data to
    its region's, too, where others of the region use those.
    """
    tenants = list(fleet)
    found: dict[str, dict[TenantRef, list[TenantConfig]]] = {}
    for name in sorted({name for tenant in tenants for name in tenant.use_cases}):
        having = [tenant for tenant in tenants if name in tenant.use_cases]
        owners = sorted({tenant.pool for tenant in having}, key=lambda owner: owner.id)
        pools = {owner: [one for one in having if one.consents_to(owner)] for owner in owners}
        if pools := {owner: members for owner, members in pools.items() if members}:
            found[name] = pools
    return found
