"""Back to a version that served before: one more row in the ledger, and the alias follows."""

from __future__ import annotations

from datetime import datetime

from include.errors import UnknownNameError
from include.registry import ledger
from include.registry.ledger import Promotion
from include.registry.port import Registry
from include.registry.stage import follow_ledger
from include.tenants.namespace import TenantRef


def roll_back(
    tenant: TenantRef, use_case: str, *, to: str | None, as_of: datetime, registry: Registry
) -> Promotion:
    """Let an earlier champion serve again from `as_of` on. Nothing is deleted.

    Args:
        to: a version that was promoted before; the one before the current when None.
        as_of: end of the newest interval; older intervals keep the version that served them.

    Raises:
        UnknownNameError: the version was never promoted, or there is none to go back to.
    """
    with ledger.exclusive(tenant, use_case):
        decided = ledger.history(tenant, use_case)
        promoted = {one.version: one for one in decided if one.promoted}
        current = ledger.champion_at(tenant, use_case)
        earlier = [version for version in promoted if not current or version != current.version]
        version = to or (earlier[-1] if earlier else "")
        if version not in earlier or current is None:
            where = f"{tenant.id}/{use_case}"
            raise UnknownNameError("version to roll back to", version, earlier, where)
        made = promoted[version]
        registry.artifact(tenant, registry.get(tenant, use_case, version))  # still whole
        instant = max(as_of, current.as_of)
        before = sum(one.trigger.startswith("rollback") for one in decided)
        done = ledger.record(
            tenant,
            Promotion(
                tenant=tenant.id,
                use_case=use_case,
                as_of=instant,
                trigger=f"rollback-{before + 1}",
                promoted=True,
                version=version,
                rung=made.rung,
                digest=made.digest,
                incumbent_version=current.version,
                reasons=(f"Rolled back by hand from version {current.version} to {version}.",),
                evidence=made.evidence,
            ),
        )
        follow_ledger(tenant, use_case, registry)
    return done
