"""Sources that a tenant's file names no more, and what the next run does about their rows."""

from __future__ import annotations

from typing import Final

from include.cli.shared import activate, installation_there
from include.errors import TenantryError
from include.tenants.config import TenantConfig
from include.tenants.namespace import lake_table

_KINDS: Final = ("events", "attributes")


def gone_sources(tenant: TenantConfig) -> list[str]:
    """A sentence for each source that has accepted rows and that the file does not name.

    Nothing where there is no installation, or where the rows are another owner's.
    """
    if not installation_there():
        return []
    from include import wiring
    from include.storage import ownership

    activate()
    named = {name for source in tenant.sources for name in (source.name, *source.formerly)}
    tables = (wiring.lake_files().root / lake_table(tenant.ref, kind) for kind in _KINDS)
    folders = {folder.name for table in tables for folder in table.glob("source=*")}
    if folders <= {f"source={name}" for name in named}:
        return []  # without a look into the tables, which are what takes long to import
    try:
        ownership.check(tenant)
    except TenantryError:  # told elsewhere
        return []
    from include.quality.accepted import gone

    return [
        f"tenant {tenant.id}: source {name!r}, of which {rows:,} rows are stored, is not in the "
        "file any more. From the next run on they count nowhere; they stay in the landing tables, "
        "and count again where the source comes back. A source that has another name now says so: "
        f"`formerly: [{name}]`"
        for name, rows in gone(tenant, wiring.lake()).items()
    ]
