"""What features are computed from: one tenant's rows at pinned table versions, and pooled ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import pyarrow as pa

from include.errors import ConfigError, IntegrityError, IsolationError
from include.features import vectorized
from include.features.declarations import window_name
from include.features.engine import required_columns
from include.features.spine import Spine
from include.features.views import FeatureService
from include.handoffs import StoredObject, TableVersion
from include.storage.lake import Lake
from include.tenants.config import TenantConfig
from include.tenants.namespace import GLOBAL, TenantRef


@dataclass(frozen=True)
class Inputs:
    """The rows, read once, and where they were read."""

    tenant: TenantRef
    timezone: str
    known_at: datetime
    versions: tuple[TableVersion, TableVersion]  #: of `events` and `attributes`
    events: pa.Table
    attributes: pa.Table
    pool: str = ""  #: digest of the list of pooled tables; empty without shared views
    shared: pa.Table | None = None

    def compute(self, service: FeatureService, spine: Spine) -> pa.Table:
        """Features for every spine row, in its order: `(rows, keys + 1 + features)`."""
        return vectorized.compute(
            service, spine, self.events, self.attributes, self.timezone, self.shared
        )


def read(
    tenant: TenantConfig,
    service: FeatureService,
    *,
    events: TableVersion,
    attributes: TableVersion,
    known_at: datetime,
    lake: Lake,
    pool: str = "",
    also: Sequence[str] = (),
) -> Inputs:
    """Everything the service reads of a tenant, and the columns of `events` in `also`.

    Args:
        known_at: rows of the lake created later are not even read.
        pool: what `record_pool` returned; its tables are what shared views see.

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
        pool=pool,
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
    pool: str = "",
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
            columns=list(dict.fromkeys([*wanted.events, *also])),
            known_at=known_at,
        ),
        lake.read(
            tenant,
            "attributes",
            version=attributes.version if wanted.attributes else -1,
            columns=list(wanted.attributes) or None,
            known_at=known_at,
        ),
        pool,
        _pooled(pool, list(wanted.shared), known_at, lake) if wanted.shared else None,
    )


def retention_problems(tenant: TenantConfig, service: FeatureService) -> list[str]:
    """One line per view that looks back further than the tenant's events reach."""
    kept = tenant.retention.events
    return [
        f"tenant {tenant.id}: view {view.name!r} of service {service.name!r} looks back "
        f"{window_name(view.longest_window)}, and `retention.events` keeps events for "
        f"{window_name(kept) if not kept.microseconds else kept}; keep them longer, shorten the "
        "window, or leave out the use case"
        for view in service.views
        if view.scope == "tenant" and view.longest_window > kept
    ]


# shared views


def pool_members(tenant: TenantConfig, fleet: Sequence[TenantConfig]) -> list[TenantConfig]:
    """Whose events the tenant's shared views see: who consented, in its region, by id.

    The tenant itself is among them only if it consented; rows never leave their region.
    """
    return sorted(
        (one for one in fleet if one.pooling.consent and one.region == tenant.region),
        key=lambda one: one.id,
    )


def record_pool(members: Sequence[TenantConfig], service: FeatureService, lake: Lake) -> str:
    """Pin the newest `events` of every member; the digest of the list, which is kept.

    The list lies in the platform's own folder, so that no tenant's files name another tenant.
    Empty where the service has no shared view. Who had loaded what by now is part of the list: at
    the same `known_at`, a list made later can hold events that a neighbour has loaded since.

    Raises:
        IsolationError: a member did not consent; nothing was read.
    """
    if not required_columns(service).shared:
        return ""
    refused = [one.id for one in members if not one.pooling.consent]
    if refused:
        raise IsolationError(f"{', '.join(refused)} did not consent to pooling")
    newest = [(one, lake.version(one.ref, "events")) for one in members]
    tables = [
        {"tenant": one.id, "region": one.region, "version": table.version, "rows": table.rows}
        for one, table in newest
    ]
    content = json.dumps(tables).encode()
    digest = hashlib.sha256(content).hexdigest()
    lake.put(GLOBAL, _POOL.format(digest), content, rows=len(tables))
    return digest


def pool_tenants(pool: str, lake: Lake) -> list[str]:
    """Ids of the tenants on the list."""
    return [str(one["tenant"]) for one in _listed(pool, lake)]


def pool_tables(pool: str, lake: Lake) -> list[tuple[TenantRef, int]]:
    """The tenants on the list, each with the version of its `events`."""
    return [
        (TenantRef(one["tenant"], one["region"], "pool"), int(one["version"]))
        for one in _listed(pool, lake)
    ]


def check_pool(pool: str, lake: Lake) -> None:
    """Refuse a pool of which a table is not any more what was pinned.

    Raises:
        IntegrityError: a version is gone, or has another number of rows than it had.
    """
    pinned = [one.get("rows") for one in _listed(pool, lake)]  # older lists do not tell
    with without_names():
        tables = [
            lake.dataset(owner, "events", version) for owner, version in pool_tables(pool, lake)
        ]
        there = [table.count_rows() for table in tables]
    if any(told not in (None, rows) for told, rows in zip(pinned, there, strict=True)):
        raise _another()


def _pooled(pool: str, columns: list[str], known_at: datetime, lake: Lake) -> pa.Table | None:
    with without_names():
        parts = [
            lake.read(owner, "events", version=version, columns=columns, known_at=known_at)
            for owner, version in pool_tables(pool, lake)
        ]
    return pa.concat_tables(parts) if parts else None


@contextmanager
def without_names() -> Iterator[None]:
    """What goes wrong in a neighbour's table is told without the neighbour's name."""
    try:
        yield
    except (IntegrityError, FileNotFoundError):
        raise _another() from None


def _another() -> IntegrityError:
    return IntegrityError(
        "a table that was pinned for shared views is gone or not what it was, as after retention "
        "at one of the pooled tenants; pin the newest ones, as the next run of the features stage "
        "does; what was made from the old ones cannot be made again"
    )


def _listed(pool: str, lake: Lake) -> list[dict[str, Any]]:
    if not pool:
        return []
    stored = StoredObject(GLOBAL.id, _POOL.format(pool), pool, 0)
    found: list[dict[str, Any]] = json.loads(lake.get(GLOBAL, stored))
    return found


_POOL: Final = "pools/{}.json"
