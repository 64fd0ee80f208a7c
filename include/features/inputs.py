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

from include.errors import ConfigError, IntegrityError, IsolationError, TenantryError
from include.features import vectorized
from include.features.engine import required_columns
from include.features.membership import settle
from include.features.reach import retention_problems
from include.features.spine import Spine
from include.features.views import FEWEST_TENANTS, FeatureService
from include.handoffs import StoredObject, TableVersion
from include.storage.lake import Lake
from include.tenants.config import TenantConfig
from include.tenants.namespace import TenantRef, global_owner


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
        _pooled(pool, tenant.region, list(wanted.shared), known_at, lake)
        if wanted.shared
        else None,
    )


# shared views


def pool_members(tenant: TenantConfig, fleet: Sequence[TenantConfig]) -> list[TenantConfig]:
    """Whose events the tenant's shared views see: who consented, in its region, by id.

    The tenant itself is among them only if it consented; rows never leave their region.
    """
    return sorted(
        (one for one in fleet if one.pooling.consent and one.region == tenant.region),
        key=lambda one: one.id,
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


def settled_members(members: Sequence[TenantConfig], lake: Lake) -> list[TenantConfig]:
    """Those of a region's members who count, so that no change tells on one: see `membership`.

    Raises:
        IsolationError: a member did not consent.
    """
    refused = [one.id for one in members if not one.pooling.consent]
    if refused:
        raise IsolationError(f"{', '.join(refused)} did not consent to pooling")
    if not members:
        return []
    region = members[0].region
    ids = [one.id for one in members]
    settled = settle(ids, f"pool-{region}", FEWEST_TENANTS, owner=global_owner(region), lake=lake)
    return [one for one in members if one.id in settled]


def record_pool(members: Sequence[TenantConfig], service: FeatureService, lake: Lake) -> str:
    """Pin the newest `events` of every member; the digest of the list, which is kept.

    The list lies in the platform's own folder of the region, so that no tenant's files name another
    tenant. Empty where the service has no shared view. Who had loaded what by now is part of the
    list: at the same `known_at`, a list made later can hold events that a neighbour has loaded
    since.

    Raises:
        IsolationError: a member did not consent, or is of another region; nothing was read.
    """
    if not required_columns(service).shared:
        return ""
    refused = [one.id for one in members if not one.pooling.consent]
    if refused:
        raise IsolationError(f"{', '.join(refused)} did not consent to pooling")
    if len({one.region for one in members}) > 1:
        raise IsolationError("a pool of shared views has members of one region only")
    newest = [(one, lake.version(one.ref, "events")) for one in members]
    tables = [
        {"tenant": one.id, "region": one.region, "version": table.version, "rows": table.rows}
        for one, table in newest
    ]
    content = json.dumps(tables).encode()
    digest = hashlib.sha256(content).hexdigest()
    if members:
        owner = global_owner(members[0].region)
        lake.put(owner, _POOL.format(digest), content)
    return digest


def pool_tenants(pool: str, region: str, lake: Lake) -> list[str]:
    """Ids of the tenants on the list, which a tenant of the region used."""
    return [str(one["tenant"]) for one in _listed(pool, region, lake)]


def pool_tables(pool: str, region: str, lake: Lake) -> list[tuple[TenantRef, int]]:
    """The tenants on the list, each with the version of its `events`."""
    return [
        (TenantRef(one["tenant"], one["region"], "pool"), int(one["version"]))
        for one in _listed(pool, region, lake)
    ]


def _pooled(
    pool: str, region: str, columns: list[str], known_at: datetime, lake: Lake
) -> pa.Table | None:
    with without_names():
        parts = [
            lake.read(owner, "events", version=version, columns=columns, known_at=known_at)
            for owner, version in pool_tables(pool, region, lake)
        ]
    return pa.concat_tables(parts) if parts else None


@contextmanager
def without_names() -> Iterator[None]:
    """Around what reads neighbours' tables: an error there is told without a neighbour's name."""
    try:
        yield
    except Exception as error:  # a broken table raises whatever its library does
        if isinstance(error, TenantryError) and not isinstance(error, IntegrityError):
            raise
        raise _another() from None


def _another() -> IntegrityError:
    return IntegrityError(
        "a table that was pinned for shared views is gone or not what it was, as after retention "
        "at one of the pooled tenants; pin the newest ones, as the next run of the features stage "
        "does; what was made from the old ones cannot be made again"
    )


def _listed(pool: str, region: str, lake: Lake) -> list[dict[str, Any]]:
    if pool in ("", _NOBODY):
        return []
    owner = global_owner(region)
    stored = StoredObject(owner.id, _POOL.format(pool), pool, 0)
    found: list[dict[str, Any]] = json.loads(lake.get(owner, stored))
    return found


_POOL: Final = "pools/{}.json"
_NOBODY: Final = hashlib.sha256(json.dumps([]).encode()).hexdigest()  #: a list without members
