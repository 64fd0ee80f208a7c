"""Moving a tenant to another region, or between a shared database and one of its own.

The record says where the data lies and where it is going. Everything is copied as it is, so that
table versions and digests that models name stay valid, and compared; only then does the record
name the new place, and only after that is the old copy erased. Killed anywhere, running it again
goes on: until the record names the new place the old copy is the one that counts.

Consent to pooling is a region's: what the old one's global models learnt from the tenant is
withdrawn before the move is over.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from include import wiring
from include.errors import ConfigError, IntegrityError, IsolationError
from include.pipeline.consent import Withdrawals
from include.pipeline.consents import Consents
from include.registry import mlflow_workspace
from include.registry.blast_radius import ChampionChange
from include.storage import audit, claims, ownership, rows
from include.storage.claims import TenantOwner
from include.storage.lake import Lake
from include.tenants.config import TenantConfig
from include.tenants.namespace import GLOBAL, TenantRef, database, lake_prefix

#: Told what is done next, in a few words.
Progress = Callable[[str], None]
_OLD = "leaves"  #: in an owner's details: the place whose copy is to be erased
#: In an owner's details: since when the data lay there. No two moves of a tenant have the same.
_SINCE = "there since"
_MLFLOW = "MLFLOW_TRACKING_URI"  #: without it there are no models
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Move:
    """What a move has to do."""

    tenant: str
    source: TenantRef
    target: TenantRef
    files: int
    bytes: int
    rows: int
    #: What the old region's global models may not have any more, and whom that leaves without.
    withdrawn: tuple[ChampionChange, ...] = field(default=(), compare=False)

    @property
    def copies_files(self) -> bool:
        """Whether the lake's folder changes."""
        return self.source.region != self.target.region

    @property
    def copies_rows(self) -> bool:
        """Whether the database changes."""
        return database(self.source) != database(self.target)


def plan(tenant: TenantConfig) -> Move | None:
    """What would be moved to where the file says; None where the data lies there.

    Raises:
        IsolationError: the data is another owner's, sealed, or nobody's known.
        ConfigError: another move has to be finished first.
    """
    owner = _owner(tenant)
    source, target = owner.ref, tenant.ref
    if owner.state == "moving":
        to = owner.target or owner.ref  # where everything is but the old copy's erasure is done
        if to != target:
            raise ConfigError(
                f"{tenant.id!r} is being moved to region {to.region!r}, isolation "
                f"{to.isolation!r}, and its file says otherwise; put that into the file, finish "
                "the move, and move it again"
            )
        source = owner.ref if owner.target is not None else _left(owner)
    elif source == target:
        return None
    home = wiring.lake_files().root / lake_prefix(source)
    files = [path for path in home.rglob("*") if path.is_file()]
    counted = 0
    if source.isolation == "pool" or source.id in ownership.silos():
        counted = sum(rows.count_rows(source).values())
    return Move(
        tenant.id, source, target, len(files), sum(p.stat().st_size for p in files), counted
    )


def move(tenant: TenantConfig, *, by: str, progress: Progress = lambda _: None) -> Move | None:
    """Move the tenant's data to where its file says; None where it lies there already.

    Raises:
        IntegrityError: a copy is not what it is a copy of; the old one stays, and counts.
        UnavailableError: one of its tasks is at work, or a place does not answer.
    """
    with ownership.alone(tenant.id):
        owner, lake = _owner(tenant), wiring.lake()
        wanted = plan(tenant)
        if wanted is None:
            return None
        if owner.state == "active":
            _refuse_foreign(wanted, lake)
            since = {_SINCE: owner.changed_at.isoformat()}
            owner = ownership.change(owner, "moving", actor=by, target=wanted.target, details=since)
        if owner.target is not None:
            _copy(wanted, lake, progress)
            left = {"region": wanted.source.region, "isolation": wanted.source.isolation}
            owner = ownership.change(
                owner, "moving", actor=by, place=wanted.target, details={_OLD: left}
            )
        progress("erasing the old copy")
        if wanted.copies_files:
            home = lake.root / lake_prefix(wanted.source)
            if home.is_dir():
                shutil.rmtree(home)
        if wanted.copies_rows:
            if wanted.source.isolation == "silo":
                rows.drop_silo(wanted.source)
            else:
                rows.erase_rows(wanted.source)
        withdrawn = _withdraw(wanted, by, progress)
        told: dict[str, object] = {
            side: {"region": ref.region, "isolation": ref.isolation}
            for side, ref in (("from", wanted.source), ("to", wanted.target))
        }
        told |= {"tenant": tenant.id, "since": (owner.details or {}).get(_SINCE, "")}
        audit.record(GLOBAL, "tenant moved", told, by, once=True)
        ownership.change(owner, "active", actor=by)
        return replace(wanted, withdrawn=withdrawn)


def would_withdraw(tenant: TenantConfig) -> tuple[ChampionChange, ...]:
    """What the move would withdraw of global models, and from whom they serve."""
    wanted = plan(tenant)
    if wanted is None or not wanted.copies_files or not os.environ.get(_MLFLOW):
        return ()
    consents = Consents.now()
    there = {**consents.tenants, tenant.id: tenant}
    platform = wiring.platform(wiring.connect_from_environment)
    return _told(Withdrawals(replace(consents, tenants=there), platform, dry_run=True))


def _withdraw(wanted: Move, by: str, progress: Progress) -> tuple[ChampionChange, ...]:
    """Withdraw what is not consented to any more by where the record says the data lies now.

    Whoever cannot be reached holds up no move: the platform's own DAG tries again every night.
    """
    if not wanted.copies_files or not os.environ.get(_MLFLOW):
        return ()
    progress(f"withdrawing what its data went into in {wanted.source.region}")
    platform = wiring.platform(wiring.connect_from_environment)
    done = _told(Withdrawals(Consents.now(), platform, by))
    for one in done:
        progress(f"  {one.tenant}/{one.use_case}: {one.outcome}, {one.reason}")
        if not one.complete:
            log.warning("consent has not reached %s/%s: %s", one.tenant, one.use_case, one.reason)
    return done


def _told(work: Withdrawals) -> tuple[ChampionChange, ...]:
    return tuple(one for one in work.reach() if one.outcome != "done before")


def _copy(wanted: Move, lake: Lake, progress: Progress) -> None:
    """Everything to the new place, each part compared with what it is a copy of."""
    if wanted.copies_files:
        progress(f"copying {wanted.files:,} files of {wanted.bytes:,} bytes")
        _copy_files(lake.root / lake_prefix(wanted.source), lake.root / lake_prefix(wanted.target))
    if wanted.copies_rows:
        progress(f"copying {wanted.rows:,} rows to {database(wanted.target)}")
        wiring.provision(wanted.target)
        rows.copy_rows(wanted.source, wanted.target)
    if wanted.copies_files:
        rows.set_region(wanted.target)
        if uri := os.environ.get(_MLFLOW):
            progress("telling MLflow")
            before, after = (
                f"{lake.file_path(place, '').as_uri()}/" for place in (wanted.source, wanted.target)
            )
            mlflow_workspace.readdress(uri, wanted.target, before, after)


def _copy_files(source: Path, target: Path) -> None:
    """Make the target hold exactly the source's files, with their times, whatever it held."""
    wanted = {path.relative_to(source) for path in source.rglob("*") if path.is_file()}
    for path in [path for path in target.rglob("*") if path.is_file()]:
        if path.relative_to(target) not in wanted:
            path.unlink()
    for relative in sorted(wanted):
        here, there = source / relative, target / relative
        if there.is_file() and _digest(there) == _digest(here):
            continue
        there.parent.mkdir(parents=True, exist_ok=True)
        part = there.with_name(f"tmp-{there.name[:100]}")
        shutil.copy2(here, part)
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(there)
    copied = {path.relative_to(target) for path in target.rglob("*") if path.is_file()}
    both = sorted(wanted & copied)
    different = [path for path in both if _digest(source / path) != _digest(target / path)]
    if copied != wanted or different:
        odd = sorted({*(copied ^ wanted), *different})
        raise IntegrityError(
            f"{len(odd):,} files in {target} are not those of {source}, such as {odd[0]}; nothing "
            "was erased. Run the move again"
        )


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _owner(tenant: TenantConfig) -> TenantOwner:
    """The tenant's own record; of data that has none, where it lies is entered."""
    owner = ownership.owner_of(tenant.id)
    if owner is None or owner.state == "erased":
        places = ownership.places(tenant.id)
        if len(places) == 1 and tenant.key is None and owner is None:
            return ownership.enter(places[0], "", "active", actor=ownership.SYSTEM)
        ownership.claim(tenant)
        owner = ownership.owner_of(tenant.id)
        assert owner is not None
        return owner
    if owner.key_digest != claims.key_digest(tenant.key) or owner.state in ("sealed", "erasing"):
        ownership.claim(tenant)  # which says why it is refused
        raise IsolationError(f"the data of {tenant.id!r} is not this file's to move")
    return owner


def _refuse_foreign(wanted: Move, lake: Lake) -> None:
    """Data that lies at the target already is not this tenant's newest, and may be anybody's."""
    home = lake.root / lake_prefix(wanted.target)
    there = wanted.copies_files and home.is_dir() and any(p.is_file() for p in home.rglob("*"))
    if not there and wanted.copies_rows:
        made = wanted.target.isolation == "pool" or wanted.tenant in ownership.silos()
        there = made and rows.has_rows(wanted.target)
    if there:
        raise IsolationError(
            f"there is data of {wanted.tenant!r} in region {wanted.target.region!r} with isolation "
            f"{wanted.target.isolation!r} already, as a run of an earlier release may have left; "
            "look at it, and erase it by hand before the move"
        )


def _left(owner: TenantOwner) -> TenantRef:
    told = (owner.details or {}).get(_OLD, {})
    return TenantRef(
        owner.tenant, told.get("region", owner.region), told.get("isolation", owner.isolation)
    )
