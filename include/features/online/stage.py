"""Materialization as a stage: brings an online store to where the lake is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa

from include.errors import IsolationError
from include.features.online.store import OnlineStore
from include.features.views import FeatureView
from include.handoffs import Materialized, TableVersion
from include.storage.lake import Lake
from include.tenants.config import TenantConfig
from include.tenants.namespace import TenantRef


def materialize(
    tenant: TenantConfig,
    views: Sequence[FeatureView],
    *,
    events: TableVersion,
    attributes: TableVersion,
    until: datetime,
    lake: Lake,
    online: OnlineStore,
) -> Materialized:
    """Bring the tenant's views to `until`; it serves these and no others from then on.

    Reads what arrived since the last time. Everything is built again where the lake's rows of an
    earlier time changed (a slice was loaded again, retention erased rows), where an event of that
    time was corrected, or where a view is new. Called again it changes nothing.
    """
    tables, ref = (events, attributes), tenant.ref
    foreign = {table.tenant for table in tables} - {tenant.id}
    if foreign:
        raise IsolationError(f"tables of {', '.join(foreign)} were given for {tenant.id}")
    if not views:
        return Materialized(tenant.id, until, (), 0, 0)
    since = online.since(ref, views, tenant.timezone)
    there = {(view.source, view.watermark) for view in online.freshness(ref)}
    changed = any(
        not _same(json.loads(recorded or "{}"), ref, table, watermark, lake)
        for recorded, watermark in there
        for table in tables
    )
    oldest = min((watermark for _, watermark in there), default=until)
    if not changed and oldest < until:  # what is folded in cannot be taken out again
        changed = lake.corrects(ref, events.table, oldest, until, events.version)
    if changed:
        until = max(until, *(watermark for _, watermark in there))
    after = None if changed else since
    return online.materialize(
        ref,
        views,
        tenant.timezone,
        until,
        *(_read(ref, table, after, until, lake) for table in tables),
        rebuild=changed,
        source=json.dumps({table.table: table.version for table in tables}),
    )


def _same(
    recorded: dict[str, int], tenant: TenantRef, table: TableVersion, known_at: datetime, lake: Lake
) -> bool:
    """Whether the table still holds what it held of that time when it was materialized."""
    before = recorded.get(table.table)
    return before is not None and lake.same_until(
        tenant, table.table, before, table.version, known_at
    )


def _read(
    tenant: TenantRef, pinned: TableVersion, after: datetime | None, until: datetime, lake: Lake
) -> pa.Table | None:
    name, version = pinned.table, pinned.version
    if after is None:
        table = lake.read(tenant, name, version=version, known_at=until)
    elif after < until:
        table = lake.arrivals(tenant, name, after, until, version=version)
    else:
        return None
    table.validate(full=True)  # a table that is broken inside is found here, and not in the store
    return table
