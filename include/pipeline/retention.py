"""Retention of everybody there is data of: tenants, those that were removed, and the platform.

Whose data there is, is read from the tenants' files, from the record of owners, from the lake's
folders and from the databases; each is done alone, and one that fails holds up nobody.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from include import use_cases, wiring
from include.errors import TenantryError
from include.pipeline.task_history import AirflowRuns, expire_logs, kept
from include.registry.mlflow_workspace import folders_in_force
from include.storage import claims, ownership
from include.storage.claims import TenantOwner
from include.storage.lake import Lake
from include.storage.ownership import SYSTEM
from include.storage.retention import Expired, expire_of
from include.storage.scratch import sweep
from include.tenants.config import Retention
from include.tenants.loader import Fleet, load_fleet, tenant_files, tenants_folder
from include.tenants.namespace import GLOBAL, RESERVED, TenantRef, is_global

log = logging.getLogger(__name__)
_RETENTION: Final = "retention"  #: in an owner's details


@dataclass(frozen=True)
class _Known:
    """The tenants and owners whose data is to be forgotten, as files and records know them."""

    lake: Lake
    fleet: Fleet
    owners: Mapping[str, TenantOwner]

    def retention(self, tenant_id: str) -> Retention:
        """Of the tenant's file, where the data is its own, else as the file last said."""
        tenant, owner = self.fleet.tenants.get(tenant_id), self.owners.get(tenant_id)
        if tenant is not None and (
            owner is None or owner.key_digest == claims.key_digest(tenant.key)
        ):
            return tenant.retention
        told = (owner.details or {}).get(_RETENTION) if owner is not None else None
        return Retention.model_validate(told) if told else Retention()

    def runs(self, ref: TenantRef, at: datetime) -> bool:
        """Whether the tenant's pipeline goes on reading and writing there."""
        tenant, owner = self.fleet.tenants.get(ref.id), self.owners.get(ref.id)
        if tenant is None or tenant.ref != ref or (owner and owner.state != "active"):
            return False
        return tenant.history_until is None or tenant.history_until >= at


def expire_all(at: datetime) -> list[Expired]:
    """Apply retention to everybody there is data of; who fails is named after the others are done.

    Before, data whose tenant file was deleted by hand is sealed: whoever gets the id later does
    not get it.

    Raises:
        TenantryError: lists whom it could not be applied to, with the reasons.
    """
    fleet = load_fleet(tenants_folder(), use_cases.names())
    failed: list[str] = []
    attempt = Attempts(failed)
    attempt("removed tenants", lambda: seal_removed(fleet))
    known = _Known(wiring.lake(), fleet, ownership.owners())
    attempt("the record of owners", lambda: _remember(known))
    done: list[Expired] = []
    for ref in refs(known.lake, fleet, known.owners):
        expired = attempt(ref.id, lambda ref=ref: _expire(ref, known, at))  # type: ignore[misc]
        if expired is not None:
            done.append(expired)
    attempt("what killed tasks left behind", sweep)
    for owner in platforms(known.lake):
        expired = attempt(owner.id, lambda one=owner: _expire_platform(known, one, at))  # type: ignore[misc]
        if expired is not None:
            done.append(expired)
    if failed:
        raise TenantryError("retention was not applied to " + "; ".join(failed))
    return done


def expire_task_history(at: datetime) -> dict[str, int]:
    """Delete runs in Airflow, and their logs, that are older than the operator's setting."""
    before = at - kept()
    logs = expire_logs(before)
    airflow = AirflowRuns.from_environment()
    if airflow is None:
        log.warning(
            "retention: runs and XCom stay, as TENANTRY_AIRFLOW_USER and "
            "TENANTRY_AIRFLOW_PASSWORD_FILE do not say who may delete them (docs/operations.md)"
        )
        return {"logs": logs}
    return {"logs": logs, "runs": airflow.expire(before)}


def refs(lake: Lake, fleet: Fleet, owners: Mapping[str, TenantOwner]) -> list[TenantRef]:
    """Wherever there is, or may be, data of a tenant: files, records, folders and databases."""
    silos = set(ownership.silos())
    homes = {  # who never ran has no database yet
        tenant.ref
        for tenant in fleet.tenants.values()
        if tenant.id in owners or tenant.isolation == "pool" or tenant.id in silos
    }
    homes |= {owner.ref for owner in owners.values() if owner.state != "erased"}
    homes |= {owner.target for owner in owners.values() if owner.target is not None}
    for region, tenant_id in lake.folders():
        isolation = "silo" if tenant_id in silos else "pool"
        if not any((home.id, home.region) == (tenant_id, region) for home in homes):
            homes.add(TenantRef(tenant_id, region, isolation))
    for tenant_id in silos - {home.id for home in homes if home.isolation == "silo"}:
        regions = lake.regions(tenant_id) or ["unknown"]
        homes.add(TenantRef(tenant_id, regions[0], "silo"))
    return sorted(
        (home for home in homes if not is_platforms(home.id)),
        key=lambda home: (home.id, home.region, home.isolation),
    )


def seal_removed(fleet: Fleet) -> list[str]:
    """Seal the data of tenants whose file is gone, and return their ids.

    A folder without a single good file is taken for one that is not mounted, and a file that
    cannot be read for whatever tenant it names.
    """
    if not fleet.tenants:
        log.warning("retention: no good tenant file, so nobody is taken for removed")
        return []
    named = list(_named(fleet))
    sealed = []
    owners = ownership.owners()
    lake = wiring.lake()
    for _, tenant_id in lake.folders():  # of a release that kept no record
        known = tenant_id in owners or tenant_id in fleet.tenants or is_platforms(tenant_id)
        if known or tenant_id in sealed or _is_named(tenant_id, named):
            continue
        ownership.enter(ownership.places(tenant_id)[0], "", "sealed", actor=SYSTEM)
        sealed.append(tenant_id)
    for tenant_id, owner in owners.items():
        if owner.state != "active" or tenant_id in fleet.tenants or _is_named(tenant_id, named):
            continue
        ownership.change(owner, "sealed", actor=SYSTEM, details={"because": "its file is gone"})
        log.warning("retention: the file of %s is gone, so its data is sealed", tenant_id)
        sealed.append(tenant_id)
    return sorted(set(sealed))


def _expire(ref: TenantRef, known: _Known, at: datetime) -> Expired:
    return expire_of(
        ref,
        known.retention(ref.id),
        at,
        known.lake,
        running=known.runs(ref, at),
        in_force=_in_force(ref),
    )


def _expire_platform(known: _Known, owner: TenantRef, at: datetime) -> Expired:
    """The platform's folders hold rows of tenants, for as long as the strictest of them says."""
    everybody = [known.retention(tenant_id) for tenant_id in {*known.fleet.tenants, *known.owners}]
    strictest = Retention(
        events=min((kept.events for kept in everybody), default=Retention().events),
        predictions=min((kept.predictions for kept in everybody), default=Retention().predictions),
    )
    return expire_of(owner, strictest, at, known.lake, running=True, in_force=_in_force(owner))


def platforms(lake: Lake) -> list[TenantRef]:
    """Owners of global models: of all regions, and of each that has any."""
    regional = {
        TenantRef(name, region, GLOBAL.isolation)
        for region, name in lake.folders()
        if name == GLOBAL.id and region != GLOBAL.region
    }
    return [GLOBAL, *sorted(regional | lake.global_owners(), key=lambda ref: (ref.id, ref.region))]


def is_platforms(owner_id: str) -> bool:
    """Whether an id stands for the platform itself, and can be no tenant's."""
    return owner_id in RESERVED or is_global(owner_id)


def _in_force(ref: TenantRef) -> frozenset[str] | None:
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    return folders_in_force(uri, ref) if uri else None


def _remember(known: _Known) -> None:
    """Keep what the files say of retention, for the day when there is none any more."""
    for tenant_id, tenant in known.fleet.tenants.items():
        owner = known.owners.get(tenant_id)
        told = tenant.retention.model_dump(mode="json")
        if (
            owner is not None
            and owner.state == "active"
            and (owner.details or {}).get(_RETENTION) != told
            and claims.decide_claim(tenant.ref, tenant.key, owner).granted
        ):
            ownership.change(owner, "active", actor=owner.actor, details={_RETENTION: told})


def _named(fleet: Fleet) -> Iterable[str]:
    """What the files that cannot be read say; one of them may be about anybody."""
    for path in tenant_files(tenants_folder()):
        if path.name in fleet.problems:
            yield path.stem
            try:
                yield path.read_bytes()[:100_000].decode("utf-8", "replace")
            except OSError:
                continue


def _is_named(tenant_id: str, texts: Iterable[str]) -> bool:
    return any(tenant_id in text for text in texts)


@dataclass(frozen=True)
class Attempts:
    """Does one thing after the other, and keeps what went wrong for the end."""

    failed: list[str]

    def __call__(self, name: str, do: Callable[[], Any]) -> Any:
        try:
            return do()
        except Exception as error:  # a broken table raises whatever its library does
            log.exception("retention: %s", name)
            text = " ".join(str(error).split())[:500] or type(error).__name__
            self.failed.append(f"{name}: {text}")
            return None
