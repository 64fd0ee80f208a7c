"""What features are computed from: one tenant's rows at pinned table versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from include.errors import ConfigError, IsolationError
from include.features import vectorized
from include.features.engine import required_columns
from include.features.reach import retention_problems
from include.features.spine import Spine
from include.features.views import FeatureService
from include.handoffs import TableVersion
from include.storage.canonical import REPLACED
from include.storage.lake import Lake
from include.tenants.config import TenantConfig
from include.tenants.namespace import TenantRef


@dataclass(frozen=True)
class Inputs:
    """The rows, read once, and where they were read; of corrected events, all versions."""

    tenant: TenantRef
    timezone: str
    known_at: datetime
    versions: tuple[TableVersion, TableVersion]  #: of `events` and `attributes`
    events: pa.Table
    attributes: pa.Table

    def compute(self, service: FeatureService, spine: Spine) -> pa.Table:
        """Features for every spine row, in its order: `(rows, keys + 1 + features)`."""
        return vectorized.compute(service, spine, self.events, self.attributes, self.timezone)


def read(
    tenant: TenantConfig,
    service: FeatureService,
    *,
    events: TableVersion,
    attributes: TableVersion,
    known_at: datetime,
    lake: Lake,
    also: Sequence[str] = (),
) -> Inputs:
    """Everything the service reads of a tenant, and the columns of `events` in `also`.

    Args:
        known_at: rows of the lake created later are not even read.

    Raises:
        ConfigError: a window looks back further than the tenant keeps its events.
        IntegrityError: a table version is gone.
    """
    too_long = retention_problems(tenant, service)
    if too_long:
        raise ConfigError("\n".join(too_long))
    return read_pinned(
        tenant.ref,
        tenant.timezone,
        service,
        events=events,
        attributes=attributes,
        known_at=known_at,
        lake=lake,
        also=also,
    )


def read_pinned(
    tenant: TenantRef,
    timezone: str,
    service: FeatureService,
    *,
    events: TableVersion,
    attributes: TableVersion,
    known_at: datetime,
    lake: Lake,
    also: Sequence[str] = (),
) -> Inputs:
    """`read` where the tenant's file does not matter: what was pinned once is read again."""
    foreign = {table.tenant for table in (events, attributes)} - {tenant.id}
    if foreign:
        raise IsolationError(f"tables of {', '.join(foreign)} were pinned for {tenant.id}")
    wanted = required_columns(service)
    return Inputs(
        tenant,
        timezone,
        known_at,
        (events, attributes),
        lake.read(
            tenant,
            "events",
            version=events.version,
            columns=list(dict.fromkeys([*wanted.events, *also, REPLACED])),
            known_at=known_at,
        ),
        lake.read(
            tenant,
            "attributes",
            version=attributes.version if wanted.attributes else -1,
            columns=list(wanted.attributes) or None,
            known_at=known_at,
        ),
    )


def unreadable(
    tenants: Sequence[TenantConfig], tables: Sequence[str], lake: Lake
) -> dict[str, str]:
    """What is wrong with the newest tables of those tenants that cannot be read, by id.

    Every column is read from the first row to the last: a file that is cut off or changed may be
    broken in one place only.
    """
    broken: dict[str, str] = {}
    for tenant in tenants:
        for table in tables:
            problem = _problem(tenant.ref, table, lake)
            if problem:
                broken.setdefault(tenant.id, f"{table}: {problem}")
    return broken


def _problem(tenant: TenantRef, table: str, lake: Lake) -> str:
    try:
        newest = lake.version(tenant, table)
        rows = 0
        for batch in lake.dataset(tenant, table, newest.version).to_batches():
            batch.validate(full=True)
            rows += batch.num_rows
    except Exception as error:  # a broken table raises whatever its library does
        return type(error).__name__  # its text may hold a value of the table's
    return "" if rows == newest.rows else f"{rows} rows, and its log says {newest.rows}"
