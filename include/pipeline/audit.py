"""The audit chains of the whole fleet: checkpoints of them, and whether they still hold."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from include import wiring
from include.storage import audit, checkpoints, ownership
from include.storage.audit import Verified
from include.storage.chain import Finding
from include.storage.checkpoints import Checkpoint
from include.storage.claims import TenantOwner
from include.storage.failures import TENANT_ERRORS
from include.storage.verification import Report, verify
from include.tenants.config import TenantConfig
from include.tenants.namespace import GLOBAL, TenantRef, is_global

log = logging.getLogger(__name__)


def owners(tenants: Iterable[TenantConfig], *, everybody: bool = True) -> list[TenantRef]:
    """Everybody who has a chain: the platform, owners of regions' global models, the tenants.

    A chain lies where the record of owners has the tenant's data, whatever its file says by now;
    that of an erased tenant in the pool.

    Args:
        everybody: also tenants on record whose file is gone.
    """
    regional = sorted(wiring.lake_files().global_owners(), key=lambda owner: owner.id)
    refs = {tenant.id: tenant.ref for tenant in tenants}
    for tenant_id, record in sorted(ownership.owners().items()):
        if everybody or tenant_id in refs:
            erased = TenantRef(tenant_id, record.region, "pool")
            refs[tenant_id] = erased if record.state == "erased" else record.ref
    return [GLOBAL, *regional, *refs.values()]


def checkpoint(tenants: Iterable[TenantConfig], at: datetime) -> tuple[Checkpoint, dict[str, str]]:
    """Write down how far every chain has come.

    A chain that cannot be reached is left out, and stays where the checkpoints before saw it.

    Returns:
        The checkpoint, and the owners that are not in it, each with the reason.
    """
    key = checkpoints.keys()
    heads, unread = {}, {}
    for owner in owners(tenants):
        try:
            heads[owner.id] = (owner, audit.head(owner))
        except TENANT_ERRORS as error:
            unread[owner.id] = str(error).strip()
            log.warning("audit: %s is not in the checkpoint: %s", owner.id, error)
    written = checkpoints.write(heads, at, checkpoints.folder(wiring.lake_files()), key)
    log.info("audit: %s, %s", written.name, line_of(written))
    return written, unread


def verify_chains(
    tenants: Iterable[TenantConfig], *, everybody: bool = True, platform: bool = True
) -> Report:
    """Look at the chains of the tenants, and of those that only checkpoints know.

    An entry that says that rows were erased excuses none that are gone of an owner who never was.
    """
    chains = owners(tenants, everybody=everybody)
    wanted = [owner for owner in chains if platform or not is_global(owner.id)]
    report = verify(
        wanted, checkpoints.folder(wiring.lake_files()), checkpoints.keys(), everybody=everybody
    )
    known = ownership.owners()
    return replace(
        report, chains=tuple(_excused(chain, known.get(chain.owner)) for chain in report.chains)
    )


def _excused(chain: Verified, owner: TenantOwner | None) -> Verified:
    erased = owner is not None and (owner.number > 1 or owner.state in ("erasing", "erased"))
    told = () if erased else chain.erasures
    state = f"an owner that is {owner.state}" if owner is not None else "no such owner"
    findings = (
        Finding(
            chain.owner, number, "it says that the ledgers were erased", "an erased owner", state
        )
        for number in told
    )
    return replace(chain, findings=(*chain.findings, *findings))


def line_of(checkpoint: Checkpoint) -> str:
    """A checkpoint as one line, to be kept where neither database nor lake can be written."""
    state = f"signature {checkpoint.signature}" if checkpoint.signature else "unsigned"
    heads = " ".join(
        f"{owner}={head.length}:{head.digest}" for owner, (_, head) in checkpoint.heads.items()
    )
    return f"{state}: {heads}"
