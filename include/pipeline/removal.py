"""Removing a tenant: its data is sealed, or erased in every place, and its id may be given again.

Every step can be killed and run again. First the record says what is happening, so that from then
on no run begins; last it says that it is done.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from include import use_cases, wiring
from include.errors import (
    ConfigError,
    IsolationError,
    TenantryError,
    UnavailableError,
    UnknownNameError,
)
from include.pipeline import consent, task_history
from include.pipeline.retention import is_platforms
from include.registry import mlflow_workspace
from include.storage import audit, claims, ownership, rows
from include.storage.claims import TenantOwner
from include.storage.places import lake_place
from include.tenants import yaml_text
from include.tenants.loader import load_fleet, load_tenant, tenants_folder
from include.tenants.namespace import GLOBAL, TENANT_ID, TenantRef, database, lake_prefix

log = logging.getLogger(__name__)

#: Told what is done next, in a few words.
Progress = Callable[[str], None]
_SEALED: Final = ".sealed"  #: of a file whose tenant was removed; no loader reads it


@dataclass(frozen=True)
class Amount:
    """How much there is in one place."""

    place: str
    count: int
    unit: str
    bytes: int = 0


@dataclass(frozen=True)
class Inventory:
    """What there is of a tenant, wherever it lies."""

    tenant: str
    state: str  #: of the owner's record; empty where there is none
    places: tuple[TenantRef, ...]
    amounts: tuple[Amount, ...]
    unknown: tuple[str, ...] = field(default=())  #: places that could not be looked at, and why

    def to_json(self) -> dict[str, Any]:
        """As people and programs read it."""
        return asdict(self)


def inventory(tenant_id: str) -> Inventory:
    """What there is of a tenant, of one that was removed, or of nobody known.

    Raises:
        UnknownNameError: there is nothing of that name.
    """
    _check(tenant_id)
    owner, homes = ownership.owner_of(tenant_id), _places(tenant_id)
    amounts: list[Amount] = []
    unknown: list[str] = []
    counters: dict[str, Callable[[], list[Amount]]] = {
        "lake": lambda: _lake_amounts(tenant_id),
        "Postgres": lambda: _row_amounts(homes),
        "MLflow": lambda: _model_amounts(homes),
        "task logs": lambda: _log_amounts(tenant_id),
        "Airflow": lambda: _run_amounts(tenant_id),
    }
    for place, count in counters.items():
        try:
            amounts += count()
        except TenantryError as error:
            unknown.append(f"{place}: {error}")
    files = [path for path in files_of(tenant_id) if path.suffix != _SEALED]
    if not amounts and not files and (owner is None or owner.state == "erased"):
        known = {*load_fleet(tenants_folder(), use_cases.names()).tenants, *ownership.owners()}
        raise UnknownNameError("tenant", tenant_id, known, "files, records, lake or databases")
    state = owner.state if owner is not None else ""
    return Inventory(tenant_id, state, tuple(homes), tuple(amounts), tuple(unknown))


def remove(
    tenant_id: str, *, erase: bool, by: str, progress: Progress = lambda _: None
) -> TenantOwner:
    """Retire a tenant: seal its data, or erase it everywhere; again does what is left.

    Its consent to pooling ends with that: what its data went into is withdrawn.

    Raises:
        UnknownNameError: there is nothing of that name.
        UnavailableError: one of its tasks is at work, or a place does not answer.
    """
    there = inventory(tenant_id)
    with ownership.alone(tenant_id):
        owner = _recorded(tenant_id, there, by)
        if erase or owner.state == "erasing":
            return _erase(owner, there, by, progress)
        if owner.state == "moving":
            raise ConfigError(
                f"{tenant_id!r} is being moved; finish that with `tenantry tenants move "
                f"{tenant_id}`, or erase both copies with --erase"
            )
        progress("sealing its data")
        if owner.state != "sealed":
            owner = ownership.change(owner, "sealed", actor=by)
        for path in files_of(tenant_id):
            if path.suffix != _SEALED:
                path.replace(path.with_name(path.name + _SEALED))
        told = {"tenant": tenant_id, "owner": owner.number, "since": f"{owner.changed_at:%Y-%m-%d}"}
        audit.record(GLOBAL, "tenant sealed", told, by, once=True)
        _withdraw(tenant_id, by, progress)
        return owner


def unseal(tenant_id: str, *, by: str) -> TenantOwner:
    """Let a tenant go on whose data was sealed: with its own file, which has its own key.

    Raises:
        IsolationError: there is no such file, or its key is another one.
        ConfigError: the data is not sealed.
    """
    _check(tenant_id)
    owner = ownership.owner_of(tenant_id)
    if owner is None or owner.state != "sealed":
        state = owner.state if owner is not None else "unknown"
        raise ConfigError(f"the data of {tenant_id!r} is not sealed, but {state}; nothing to do")
    for path in files_of(tenant_id):
        part = path if path.suffix != _SEALED else path.with_name(path.name + ".yaml")
        try:
            if part != path:
                shutil.copyfile(path, part)
            tenant = load_tenant(part, use_cases.names())
        except ConfigError:
            continue
        finally:
            if part != path:
                part.unlink(missing_ok=True)
        if tenant.id == tenant_id and claims.key_digest(tenant.key) == owner.key_digest:
            active = ownership.change(owner, "active", actor=by)
            if part != path:
                path.replace(path.with_name(path.name.removesuffix(_SEALED)))
            told = {"tenant": tenant_id, "owner": owner.number}
            audit.record(GLOBAL, "tenant unsealed", told, by)
            return active
    raise IsolationError(
        f"no file in {tenants_folder()} is of the {tenant_id!r} whose data is sealed; put its file "
        "back, with the key that it had"
    )


def files_of(tenant_id: str) -> list[Path]:
    """Files of the folder that are, or were before they were sealed, the tenant's."""
    line = re.compile(rf"""^["']?id["']?\s*:\s*["']?{re.escape(tenant_id)}["']?\s*(#.*)?$""", re.M)
    files: list[Path] = []
    for path in sorted(tenants_folder().iterdir()):
        plain = path.name.removesuffix(_SEALED)
        if not plain.endswith((".yaml", ".yml")) or not path.is_file():
            continue
        text = path.read_bytes()[:100_000].decode("utf-8", "replace")
        named = Path(plain).stem == tenant_id and "id:" not in text
        if named or line.search(text) or _id_in(text) == tenant_id:
            files.append(path)
    return files


def _id_in(text: str) -> object:
    """What a loader takes for the id, in whatever way YAML lets it be written; None if nothing."""
    try:
        told = yaml_text.read(text)
    except Exception:  # whatever a parser meets in a hostile file, it is no loader's either
        return None
    return told.get("id") if isinstance(told, dict) else None


def _erase(owner: TenantOwner, there: Inventory, by: str, progress: Progress) -> TenantOwner:
    tenant_id, lake = owner.tenant, wiring.lake()
    counted = {f"{amount.place}: {amount.unit}": amount.count for amount in there.amounts}
    if owner.state != "erasing":
        owner = ownership.change(owner, "erasing", actor=by, details={"erased": counted})
    for path in files_of(tenant_id):
        path.unlink(missing_ok=True)
    left = _withdraw(tenant_id, by, progress)
    for place in there.places:
        progress(f"erasing {lake_prefix(place)} in the lake")
        home = lake.root / lake_prefix(place)
        if home.is_dir():
            shutil.rmtree(home)
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        progress("erasing its workspace in MLflow")
        mlflow_workspace.erase(uri, owner.ref)
    progress("erasing its rows")
    pool = TenantRef(tenant_id, owner.region, "pool")
    if tenant_id in ownership.silos():
        silo = TenantRef(tenant_id, owner.region, "silo")
        rows.erase_rows(silo, actor=by)
        rows.copy_rows(silo, pool, only=(rows.AUDIT,))  # the chain outlives the database
        rows.drop_silo(silo)
    rows.erase_rows(pool, actor=by)
    progress("erasing logs and runs")
    task_history.erase_logs(tenant_id)
    airflow = task_history.AirflowRuns.from_environment()
    if airflow is not None:
        airflow.erase(tenant_id)
        task_history.erase_logs(tenant_id)  # of what was stopped just now
    audit.record(
        GLOBAL,
        "tenant erased",
        {"tenant": tenant_id, "owner": owner.number},
        by,
        once=True,
    )
    if left:
        raise UnavailableError(
            f"the data of {tenant_id!r} is erased, and what was made of it may go on serving: "
            f"{'; '.join(left)}. The id stays taken, as a newcomer's consent would count for it; "
            f"run `tenantry tenants remove {tenant_id} --erase` again once that is mended"
        )
    runs = "erased" if airflow is not None else "left: no login to Airflow"
    return ownership.change(owner, "erased", actor=by, details={"runs": runs})


def _withdraw(tenant_id: str, by: str, progress: Progress) -> list[str]:
    """Withdraw what the tenant's data went into; returns who could not be reached, and why.

    That holds up no removal, as the platform's own DAG tries again for as long as the tenant has no
    file.
    """
    left = []
    progress("withdrawing what its data went into")
    platform = wiring.platform(wiring.connect_from_environment)
    for effect in consent.withdraw(tenant_id, platform=platform, by=by):
        if not effect.complete:
            place = f"{effect.tenant}/{effect.use_case}"
            log.warning("consent of %s has not reached %s: %s", tenant_id, place, effect.reason)
            progress(f"  {place}: {effect.outcome}, {effect.reason}")
            left.append(f"{place}: {effect.reason or effect.outcome}")
    return left


def _recorded(tenant_id: str, there: Inventory, by: str) -> TenantOwner:
    """The owner's record, made where there was none."""
    owner = ownership.owner_of(tenant_id)
    if owner is not None and owner.state != "erased":
        return owner
    tenant = load_fleet(tenants_folder(), use_cases.names()).tenants.get(tenant_id)
    if tenant is not None:
        key = claims.key_digest(tenant.key)
        return ownership.enter(tenant.ref, key, "active", actor=by)
    place = there.places[0] if there.places else TenantRef(tenant_id, "unknown", "pool")
    return ownership.enter(place, "", "sealed", actor=by)


def _places(tenant_id: str) -> list[TenantRef]:
    """Everywhere that data may lie: by the folders, the databases and the record."""
    homes = ownership.places(tenant_id)
    owner = ownership.owner_of(tenant_id)
    for known in (owner.ref, owner.target) if owner and owner.state != "erased" else ():
        if known is not None and known not in homes:
            homes.append(known)
    return homes


def _lake_amounts(tenant_id: str) -> list[Amount]:
    lake, totals = wiring.lake(), dict[str, list[int]]()
    for region in lake.regions(tenant_id):
        home = lake.root / region / tenant_id
        for path in home.rglob("*"):
            if path.is_file():
                relative = path.relative_to(home).as_posix()
                place = lake_place(relative)
                name = place.pattern if place is not None else "not declared"
                total = totals.setdefault(f"lake {region}: {name}", [0, 0])
                total[0] += 1
                total[1] += path.stat().st_size
    return [Amount(name, files, "files", size) for name, (files, size) in sorted(totals.items())]


def _row_amounts(homes: list[TenantRef]) -> list[Amount]:
    databases = {database(home): home for home in homes}
    if homes:
        pool = TenantRef(homes[0].id, homes[0].region, "pool")
        databases[database(pool)] = pool
    silos = {database(TenantRef(tenant_id, "unknown", "silo")) for tenant_id in ownership.silos()}
    return [
        Amount(f"{name}: {table}", count, "rows")
        for name, ref in sorted(databases.items())
        if ref.isolation == "pool" or name in silos
        for table, count in rows.count_rows(ref).items()
    ]


def _model_amounts(homes: list[TenantRef]) -> list[Amount]:
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if not uri or not homes:
        return []
    versions, runs = mlflow_workspace.count(uri, homes[0])
    told = (Amount("MLflow", versions, "model versions"), Amount("MLflow", runs, "runs"))
    return [amount for amount in told if amount.count]


def _log_amounts(tenant_id: str) -> list[Amount]:
    files = [p for f in task_history.log_folders(tenant_id) for p in f.rglob("*") if p.is_file()]
    size = sum(path.stat().st_size for path in files)
    return [Amount("task logs", len(files), "files", size)] if files else []


def _run_amounts(tenant_id: str) -> list[Amount]:
    airflow = task_history.AirflowRuns.from_environment()
    runs = 0 if airflow is None else airflow.count(tenant_id)
    return [Amount("Airflow", runs, "DAG runs")] if runs else []


def _check(tenant_id: str) -> None:
    if not TENANT_ID.fullmatch(tenant_id) or is_platforms(tenant_id):
        known: Mapping[str, Any] = load_fleet(tenants_folder(), use_cases.names()).tenants
        raise UnknownNameError("tenant", tenant_id[:60], known)
