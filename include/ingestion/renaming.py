"""A source that is renamed: what came by its former name is its own from then on."""

from __future__ import annotations

import logging

from include.ingestion.slices import Slices
from include.storage.lake import Lake
from include.tenants.namespace import TenantRef

log = logging.getLogger(__name__)


def take_over(
    lake: Lake, slices: Slices, tenant: TenantRef, table: str, former: str, name: str
) -> None:
    """Let a source have the landed rows and the slices of its former name.

    A no-op where there are none. The rows come first: killed in between, and called again, it goes
    on with the slices.
    """
    rows = lake.rename_source(tenant, table, former, name)
    if rows or any(one.source == former for one in slices.recorded(tenant)):
        slices.rename(tenant, former, name)
        log.info(
            "ingestion: %s/%s has what came as %s, %d rows of it", tenant.id, name, former, rows
        )
