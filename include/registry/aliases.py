"""The registry's aliases, which follow the ledger of promotions."""

from __future__ import annotations

from include.registry.port import CHALLENGER, CHAMPION, Registry
from include.registry.promotions import Promotions
from include.tenants.namespace import TenantRef


def follow_ledger(
    tenant: TenantRef, use_case: str, registry: Registry, promotions: Promotions
) -> None:
    """Move the aliases to the newest promotion and the newest challenger in the ledger.

    A backfill's decision about the past therefore moves no newer alias. An alias of a version that
    was withdrawn for good is deleted where no other version takes its place.
    """
    champion = promotions.champion_at(tenant, use_case)
    wanted = {
        CHAMPION: champion.version if champion else "",
        CHALLENGER: promotions.challenger(tenant, use_case),
    }
    for name, version in wanted.items():
        current = registry.alias(tenant, use_case, name)
        if version and (current is None or current.version != version):
            registry.set_alias(tenant, use_case, name, version)
        elif not version and current and current.version in promotions.gone(tenant, use_case):
            registry.delete_alias(tenant, use_case, name)
