"""Materialization as a stage: brings an online store to where the lake is."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from include.errors import ConfigError, IsolationError
from include.features.inputs import without_names
from include.features.online.store import OnlineStore
from include.features.views import FeatureView
from include.handoffs import Materialized, TableVersion
from include.storage.lake import Lake
from include.tenants.config import TenantConfig
from include.tenants.namespace import TenantRef, global_owner

#: A table of a tenant's, at a version.
_Pinned = tuple[TenantRef, TableVersion]


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
    work = _Work(tenant.ref, own, tenant.timezone, until, lake, online)
    return work.done([(tenant.ref, events)], [(tenant.ref, attributes)])


def materialize_pool(
    members: Sequence[TenantConfig],
    views: Sequence[FeatureView],
    *,
    until: datetime,
    lake: Lake,
    online: OnlineStore,
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
    pool = global_owner(region)
    # All members' runs do this, at the same time after a night. A run that looked at the tables
    # before a neighbour loaded its day would otherwise undo what the neighbour's run has built.
    with online.exclusive(pool):
        online.keep_members(pool, [one.id for one in members])
        newest = [(one.ref, lake.version(one.ref, "events")) for one in members]
        return _Work(pool, shared, "UTC", until, lake, online, without_names).done(newest, [])


def forget_who_left(region: str, members: Sequence[str], online: OnlineStore) -> bool:
    """Forget what a region's shared views were made of where one of those tenants is no member.

    The next run of any of the region's tenants builds them again, without it.

    Args:
        members: ids of the tenants of the region that consent to pooling.

    Returns:
        Whether anything had to go.
    """
    pool = global_owner(region)
    with online.exclusive(pool):
        online.keep_members(pool, members)
        sources = [view.source for view in online.freshness(pool)]
        made_of = {
            owner
            for text in sources
            for tables in json.loads(text or "{}").values()
            for owner in tables
        }
        if not made_of - set(members):
            return False
        online.empty(pool)
    return True


def empty_pool(region: str, online: OnlineStore) -> None:
    """Forget everything that was pooled in a region where nobody consents, or nobody reads it."""
    pool = global_owner(region)
    with online.exclusive(pool):
        online.empty(pool)


@dataclass(frozen=True)
class _Work:
    """One owner's views, and where they are brought to."""

    owner: TenantRef
    views: Sequence[FeatureView]
    timezone: str
    until: datetime
    lake: Lake
    online: OnlineStore
    reading: Callable[[], AbstractContextManager[None]] = nullcontext  #: around what reads tables

    def done(self, events: Sequence[_Pinned], attributes: Sequence[_Pinned]) -> Materialized:
        """Read what is new in the tables, or all of it where their past changed."""
        inputs = {"events": events, "attributes": attributes}
        until, lake = self.until, self.lake
        since = self.online.since(self.owner, self.views, self.timezone)
        there = {(one.source, one.watermark) for one in self.online.freshness(self.owner)}
        with self.reading():
            changed = any(
                not _same(json.loads(recorded or "{}"), tables, name, watermark, lake)
                for recorded, watermark in there
                for name, tables in inputs.items()
            )
            if changed:
                until = max(until, *(watermark for _, watermark in there))
            after = None if changed else since
            rows = [_read(tables, after, until, lake) for tables in inputs.values()]
        source = {
            name: {owner.id: table.version for owner, table in tables}
            for name, tables in inputs.items()
        }
        return self.online.materialize(
            self.owner,
            self.views,
            self.timezone,
            until,
            *rows,
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
    if not parts:
        return None
    table = pa.concat_tables(parts)
    table.validate(full=True)  # a table that is broken inside is found here, and not in the store
    return table
