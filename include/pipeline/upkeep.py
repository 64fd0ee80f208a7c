"""Upkeep of the lake: small files put together, and those that nothing on record needs deleted.

Each tenant has its turn once in four weeks, so that a night's work is a twenty-eighth of the
fleet's. Which versions of its tables have a name is read first: in cards of models and records of
trainings, its own and those of global models, and in the handoffs of stages.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from zlib import crc32

from include import use_cases, wiring
from include.errors import IntegrityError, TenantryError
from include.handoffs import table_versions
from include.pipeline.retention import Attempts, platforms, refs
from include.stage_runs import StageRuns
from include.storage import ownership
from include.storage.lake import Lake
from include.tenants.loader import load_fleet, tenants_folder
from include.tenants.namespace import TenantRef

TABLES: Final = ("landing_events", "landing_attributes", "events", "attributes")
#: Where a tenant's folder of the lake names versions of tables.
_RECORDS: Final = ("models/**/card.json", "training/**/*.json")
_TURN_DAYS: Final = 28
#: A file that was needed until a short while ago may be open, and a new one not yet committed.
_UNTOUCHED: Final = timedelta(days=7)

#: Tenant, table, version.
Named = set[tuple[str, str, int]]


@dataclass(frozen=True)
class KeptUp:
    """What was done for a tenant."""

    tenant: str
    compacted: int  #: by how many files its tables have fewer
    deleted: int  #: files that nothing needed


def keep_lake(at: datetime) -> list[KeptUp]:
    """Keep up the tables of the tenants whose turn it is; one that fails holds up nobody.

    Raises:
        TenantryError: lists whose tables could not be kept up, with the reasons.
    """
    lake, runs = wiring.lake(), wiring.stores().stage_runs
    fleet = load_fleet(tenants_folder(), use_cases.names())
    due = [ref for ref in refs(lake, fleet, ownership.owners()) if is_due(ref.id, at)]
    failed: list[str] = []
    attempt, done = Attempts(failed), list[KeptUp]()
    shared = attempt("global models", lambda: _named_by(platforms(lake), lake, runs))
    if shared is not None:
        kept_up = (attempt(ref.id, partial(_keep_up, ref, shared, at, lake, runs)) for ref in due)
        done = [kept for kept in kept_up if kept is not None]
    if failed:
        raise TenantryError("the lake was not kept up of " + "; ".join(failed))
    return done


def is_due(tenant_id: str, at: datetime) -> bool:
    """Whether it is the tenant's turn on that day."""
    return at.date().toordinal() % _TURN_DAYS == crc32(tenant_id.encode()) % _TURN_DAYS


def keep_up(tenant: TenantRef, named: Named, at: datetime, lake: Lake) -> KeptUp:
    """Compact and vacuum a tenant's tables. Killed at any instant, nothing is lost.

    Args:
        named: versions that somebody may read again; those of other tenants count for nothing.
    """
    compacted = deleted = 0
    for table in TABLES:
        versions = {v for owner, of, v in named if (owner, of) == (tenant.id, table)}
        compacted += lake.compact(tenant, table, at)
        deleted += lake.vacuum(tenant, table, versions, at - _UNTOUCHED)
    return KeptUp(tenant.id, compacted, deleted)


def named_versions(owner: TenantRef, lake: Lake, runs: StageRuns) -> Named:
    """What an owner's models, trainings and handoffs have on record.

    Raises:
        IntegrityError: a record cannot be read, so that nobody knows what it names.
    """
    named = runs.table_versions(owner)
    home = lake.file_path(owner, "")
    for pattern in _RECORDS:
        for file in home.glob(pattern):
            try:
                named |= table_versions(json.loads(file.read_bytes()))
            except FileNotFoundError:  # retention was there
                continue
            except ValueError as error:
                raise IntegrityError(
                    f"{file.relative_to(home)} of {owner.id} is no JSON, so which versions of "
                    "tables it names cannot be told; restore it from a backup"
                ) from error
    return named


def _keep_up(tenant: TenantRef, shared: Named, at: datetime, lake: Lake, runs: StageRuns) -> KeptUp:
    with ownership.at_work(tenant.id):
        return keep_up(tenant, shared | named_versions(tenant, lake, runs), at, lake)


def _named_by(owners: Iterable[TenantRef], lake: Lake, runs: StageRuns) -> Named:
    return {version for owner in owners for version in named_versions(owner, lake, runs)}
