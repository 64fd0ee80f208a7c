"""Whose rows the accepted tables hold: those of the sources that the tenant's file names."""

from __future__ import annotations

import logging
from typing import Final

from include.quality.checks import Checks
from include.storage.lake import Lake
from include.tenants.config import TenantConfig

log = logging.getLogger("tenantry.quality")
KINDS: Final = ("events", "attributes")


def take_over(tenant: TenantConfig, lake: Lake, checks: Checks) -> None:
    """Let sources have the rows that were accepted, or set aside, by their former names.

    A no-op where there are none, so that it goes on where it was killed.
    """
    for source in tenant.sources:
        for former in source.formerly:
            lake.rename_source(tenant.ref, _kind(source.events), former, source.name)
            checks.rename(tenant.ref, former, source.name)


def gone(tenant: TenantConfig, lake: Lake) -> dict[str, int]:
    """Accepted rows of each source that the file names no more, by no name of now or before."""
    rows: dict[str, int] = {}
    for kind in KINDS:
        known = _named(tenant, kind)
        for source in tenant.sources:
            known.update(source.formerly if _kind(source.events) == kind else ())
        for name, count in lake.sources(tenant.ref, kind).items():
            if name not in known:
                rows[name] = rows.get(name, 0) + count
    return rows


def drop_others(tenant: TenantConfig, lake: Lake) -> None:
    """Take out the rows of sources that the file names no more, in a new version of the table."""
    for kind in KINDS:
        for name, rows in lake.keep_sources(tenant.ref, kind, _named(tenant, kind)).items():
            log.warning(
                "quality: %s: source %s is not in the tenant's file any more; %d rows of it left "
                "%s and stay in landing_%s",
                *(tenant.id, name, rows, kind, kind),
            )


def _named(tenant: TenantConfig, kind: str) -> set[str]:
    return {source.name for source in tenant.sources if _kind(source.events) == kind}


def _kind(events: object) -> str:
    return "events" if events else "attributes"
