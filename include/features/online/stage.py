"""Materialization as a stage: brings a tenant's online store to where its lake is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Final

import pyarrow as pa

from include.errors import ConfigError, IsolationError
from include.features.inputs import without_names
from include.features.online import delivered, partials, served, tables
from include.features.online.appending import shut
from include.features.online.materialize import LOCK
from include.features.online.served import serve
from include.features.online.store import OnlineStore, pool_store
from include.features.views import FeatureService, FeatureView
from include.handoffs import Materialized, TableVersion
from include.storage.lake import Lake
from include.storage.postgres import tenant_transaction
from include.tenants.config import TenantConfig
from include.tenants.namespace import TenantRef, global_owner

#: A table of a tenant's, at a version.
_Pinned = tuple[TenantRef, TableVersion]

#: One materialization of a region's pool at a time, from before it looks at the tables.
_TURN: Final = "SELECT pg_advisory_xact_lock(hashtext('tenantry.online.pool'), hashtext(%s))"


def materialize(
    tenant: TenantConfig,
    views: Sequence[FeatureView],
    *,
    events: TableVersion,
    attributes: TableVersion,
    until: datetime,
    lake: Lake,
) -> Materialized:
    """Bring the tenant's own views to `until`; it serves these and no others from then on.

    Reads what arrived since the last time. Everything is built again where the lake's rows of an
    earlier time changed (a slice was loaded again, retention erased rows) or a view is new. Called
    again it changes nothing.

    Args:
        views: shared ones are left to `materialize_pool`.
    """
    foreign = {table.tenant for table in (events, attributes)} - {tenant.id}
    if foreign:
        raise IsolationError(f"tables of {', '.join(foreign)} were given for {tenant.id}")
    own = tuple(view for view in views if view.scope == "tenant")
    if not own:
        return Materialized(tenant.id, until, (), 0, 0)
    store = OnlineStore(tenant.ref, FeatureService("online", own), tenant.timezone)
    return _brought(store, [(tenant.ref, events)], [(tenant.ref, attributes)], until, lake)


def materialize_pool(
    members: Sequence[TenantConfig],
    views: Sequence[FeatureView],
    *,
    until: datetime,
    lake: Lake,
) -> Materialized:
    """Bring the shared views of one region to `until`, from the events of its members.

    Where a tenant joined or left since the last time, everything is built again: nothing of a
    tenant that withdrew its consent remains. Likewise where a member loaded what arrived before
    the pool's watermark: which of them comes first makes no difference to what is there in the end.

    Args:
        members: see `include.features.inputs.pool_members`; at least one.

    Raises:
        IsolationError: a member did not consent.
    """
    refused = [one.id for one in members if not one.pooling.consent]
    if refused:
        raise IsolationError(f"{', '.join(refused)} did not consent to pooling")
    regions = {one.region for one in members}
    if len(regions) != 1:
        raise ConfigError(f"a pool has members of one region, got {sorted(regions) or 'none'}")
    (region,) = regions
    shared = tuple(view for view in views if view.scope == "shared")
    if not shared:
        return Materialized(global_owner(region).id, until, (), 0, 0)
    with _alone(region) as pool:
        _forget_strangers(pool, [one.id for one in members])
        store = pool_store(region, FeatureService("online", shared))
        newest = [(one.ref, lake.version(one.ref, "events")) for one in members]
        with without_names():
            return _brought(store, newest, [], until, lake)


def forget_who_left(region: str, members: Sequence[str]) -> bool:
    """Forget what a region's shared views were made of where one of those tenants is no member.

    The next run of any of the region's tenants builds them again, without it.

    Args:
        members: ids of the tenants of the region that consent to pooling.

    Returns:
        Whether anything had to go.
    """
    with _alone(region) as pool, tenant_transaction(pool) as connection:
        _forget_strangers(pool, members)  # what streamed in
        sources = [one.source for one in served.served(connection, pool).values()]
    made_of = {
        owner
        for text in sources
        for tables in json.loads(text or "{}").values()
        for owner in tables
    }
    if not made_of - set(members):
        return False
    empty_pool(region)
    return True


def empty_pool(region: str) -> None:
    """Forget everything that was pooled in a region where nobody consents, or nobody reads it."""
    with _alone(region) as pool:
        _forget_strangers(pool, ())
        with tenant_transaction(pool) as connection:
            connection.execute(LOCK, [pool.id])
            for key in partials.groups(connection, pool):
                partials.forget_group(connection, pool, key)
            serve(connection, pool, (), "")


@contextmanager
def _alone(region: str) -> Iterator[TenantRef]:
    """A region's pool while nobody else brings it anywhere.

    All members' runs do so, at the same time after a night. One that had looked at the tables
    before a neighbour loaded its day would otherwise undo what the neighbour's run has built.
    """
    pool = global_owner(region)
    with tenant_transaction(pool) as connection:
        connection.execute(_TURN, [region])
        yield pool


def _forget_strangers(pool: TenantRef, members: Sequence[str]) -> None:
    """Drop what streamed into a region's pool from tenants that are no members of it any more."""
    with tenant_transaction(pool) as connection:
        connection.execute(LOCK, [pool.id])
        shut(connection, pool)
        delivered.forget_other_owners(connection, pool, members)
        gone = tables.forget_other_owners(connection, pool, members)
        for key in partials.groups(connection, pool):
            partials.forget_streamed(connection, pool, key, gone)


def _brought(
    store: OnlineStore,
    events: Sequence[_Pinned],
    attributes: Sequence[_Pinned],
    until: datetime,
    lake: Lake,
) -> Materialized:
    since = store.since()
    source = {
        name: {owner.id: table.version for owner, table in tables}
        for name, tables in (("events", events), ("attributes", attributes))
    }
    there = [(one.source, one.watermark) for one in store.freshness()]
    changed = any(
        not _same(json.loads(recorded or "{}"), tables, name, watermark, lake)
        for recorded, watermark in set(there)
        for name, tables in (("events", events), ("attributes", attributes))
    )
    if changed:
        until = max(until, *(watermark for _, watermark in there))
    after = None if changed else since
    return store.materialize(
        until,
        _read(events, after, until, lake),
        _read(attributes, after, until, lake),
        rebuild=changed,
        source=json.dumps(source),
    )


def _same(
    recorded: dict[str, dict[str, int]],
    tables: Sequence[_Pinned],
    name: str,
    known_at: datetime,
    lake: Lake,
) -> bool:
    """Whether the tables still hold what they held of that time when it was materialized."""
    before = recorded.get(name, {})
    return before.keys() == {owner.id for owner, _ in tables} and all(
        lake.same_until(owner, name, before[owner.id], table.version, known_at)
        for owner, table in tables
    )


def _read(
    tables: Sequence[_Pinned], after: datetime | None, until: datetime, lake: Lake
) -> pa.Table | None:
    parts = []
    for owner, table in tables:
        version = table.version
        if after is None:
            parts.append(lake.read(owner, table.table, version=version, known_at=until))
        elif after < until:
            parts.append(lake.arrivals(owner, table.table, after, until, version=version))
    return pa.concat_tables(parts) if parts else None
