"""What a stage is asked to do: for whom, about when, why, and with what came before."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pyarrow.compute as pc
import pyarrow.dataset as ds

from include import use_cases, wiring
from include.errors import ConfigError, UnknownNameError
from include.features.reach import retention_problems
from include.handoffs import Interval
from include.pipeline.neighbours import readable
from include.stage_runs import StageRuns
from include.storage import ownership
from include.tenants.config import TenantConfig
from include.tenants.intervals import last_interval
from include.tenants.loader import Fleet, find_tenant, load_fleet, tenants_folder
from include.tenants.namespace import GLOBAL, TenantRef
from include.use_cases.declaration import UseCase
from include.use_cases.losses import absent_is_unknown
from include.wall_clock import PLATFORM, local

log = logging.getLogger(__name__)
#: By how much the clocks of two machines may differ.
_CLOCKS: Final = timedelta(days=1)


@dataclass(frozen=True)
class Run:
    """One stage's share of a pipeline or retrain run."""

    platform: wiring.Platform
    tenant: TenantConfig
    interval: Interval
    trigger: str = "scheduled"  #: `scheduled`, `drift` or `manual`
    report: bool = False  #: draw the drift report whatever the verdict
    run_id: str = ""  #: of the Airflow run; empty without Airflow
    by: str = "system"  #: who asked for it
    reason: str = ""  #: that was given for asking
    use_case: UseCase | None = None

    @property
    def as_of(self) -> datetime:
        """The instant whose knowledge counts: the end of the interval."""
        return self.interval.end

    @property
    def owner(self) -> TenantRef:
        """Whose rows and versions the run writes."""
        return self.tenant.ref

    @property
    def use_case_name(self) -> str:
        """Name of the use case; empty for the stages that have none."""
        return self.use_case.name if self.use_case else ""

    def the_use_case(self) -> UseCase:
        """The use case of a stage that has one."""
        if self.use_case is None:
            raise ConfigError("this stage needs a use case: pass `use_case` as a param")
        return self.use_case

    def consenting(self, owner: TenantRef) -> set[str]:
        """Ids of all tenants that consent to pooling by an owner of global models now."""
        return {one.id for one in _fleet().tenants.values() if one.consents_to(owner)}

    def about(self, use_case: str) -> Run:
        """The run for one of the tenant's use cases."""
        return replace(self, use_case=_use_case(self.tenant, use_case))


@dataclass(frozen=True)
class GlobalRun:
    """One stage's share of the training of a global model."""

    platform: wiring.Platform
    use_case: UseCase
    owner: TenantRef  #: whose rows and versions the run writes
    members: tuple[TenantConfig, ...]  #: tenants that have the use case and consented to that pool
    consenting: tuple[TenantConfig, ...]  #: all that consented to it
    as_of: datetime
    trigger: str = "scheduled"

    @property
    def use_case_name(self) -> str:
        """Name of the use case."""
        return self.use_case.name


def open_pipeline(
    tenant_id: str,
    use_case: str,
    *,
    start: datetime | None,
    end: datetime | None,
    report: bool = False,
    connect: wiring.Connect,
) -> Run:
    """A run of the pipeline over the interval Airflow gives it.

    A manual run without a logical date has none: it takes the last interval that is over.
    """
    tenant = _owned_tenant(tenant_id)
    if start is None or end is None or start >= end:
        interval = last_interval(tenant, end or datetime.now(UTC))
    else:
        interval = Interval(start, end)
    until = tenant.history_until
    if until is not None and interval.start >= until:
        first, last = (local(at, tenant.timezone) for at in (interval.start, interval.end))
        raise ConfigError(
            f"the interval {first} to {last} lies after "
            f"{tenant.id}'s last day, {tenant.until}; choose an earlier logical date, or change "
            "`until` in the tenant's file"
        )
    return Run(
        platform=wiring.platform(connect),
        tenant=tenant,
        interval=interval,
        report=report,
        use_case=_use_case(tenant, use_case) if use_case else None,
    )


def open_retrain(
    tenant_id: str,
    use_case: str,
    *,
    as_of: datetime | None,
    trigger: str,
    run_id: str,
    by: str = "system",
    reason: str = "",
    begun: bool = False,
    connect: wiring.Connect,
) -> Run:
    """A retraining of one use case with what was known at `as_of`, or at the last load.

    Args:
        begun: whether a stage of it was done already, so that its instant is settled.

    Raises:
        UnknownNameError: the tenant has no such use case.
        ConfigError: nothing was known at that instant yet, or it is later than the last load.
    """
    tenant = _owned_tenant(tenant_id)
    case, platform = _use_case(tenant, use_case), wiring.platform(connect)
    loaded = last_checked(tenant, platform.stores.stage_runs)
    if as_of is None:
        as_of = loaded
    if not begun:
        _check_instant(tenant, use_case, as_of, loaded, platform)
    last = last_interval(tenant, as_of)
    start = last.start if last.end == as_of else last.end
    return Run(
        platform=platform,
        tenant=tenant,
        interval=Interval(start, as_of),
        trigger=trigger,
        run_id=run_id,
        by=by,
        reason=reason,
        use_case=case,
    )


def _check_instant(
    tenant: TenantConfig,
    use_case: str,
    as_of: datetime,
    loaded: datetime,
    platform: wiring.Platform,
) -> None:
    """Refuse a retrain of which it is clear before it starts that there is nothing to train on."""
    zone = tenant.timezone
    what = f"no retrain of {tenant.id}/{use_case} as of {local(as_of, zone)}"
    instead = f"leave `as_of` empty for the last load, {local(loaded, zone)}"
    if as_of > loaded:
        raise ConfigError(
            f"{what}: data is loaded up to {local(loaded, zone)}, and of later instants nothing is "
            f"known; choose an earlier one, {instead}, or run the pipeline first"
        )
    if not _known_by(tenant.ref, as_of, platform):
        first = _first_known(tenant.ref, platform)
        known = f"the first was known at {local(first, zone)}" if first else "nor later, so far"
        raise ConfigError(
            f"{what}: of {tenant.id} no event was known by then, {known}; choose a later one, or "
            f"{instead}"
        )


def _check_global_instant(
    members: Sequence[TenantConfig], use_case: str, as_of: datetime, platform: wiring.Platform
) -> None:
    what = f"no training of the global model of {use_case} as of {local(as_of, PLATFORM)}"
    if as_of > datetime.now(UTC) + _CLOCKS:
        raise ConfigError(f"{what}: that is to come; choose an earlier one, or leave it empty")
    whole = readable(members, ("events",), platform.lake, as_of, platform.stores.incidents)
    if not any(_known_by(one.ref, as_of, platform) for one in whole):
        raise ConfigError(
            f"{what}: of no tenant that consents an event was known by then; choose a later one, "
            "load their data first, or leave `as_of` empty"
        )


def _known_by(owner: TenantRef, at: datetime, platform: wiring.Platform) -> bool:
    known = (ds.field("created_timestamp") <= at) & (ds.field("event_timestamp") < at)
    return bool(platform.lake.dataset(owner, "events").head(1, filter=known).num_rows)


def _first_known(owner: TenantRef, platform: wiring.Platform) -> datetime | None:
    """When an event was known first, which is not before it happened."""
    columns = ["event_timestamp", "created_timestamp"]
    rows = platform.lake.dataset(owner, "events").to_table(columns=columns)
    happened, known = (rows[name] for name in columns)
    first: datetime | None = pc.min(
        pc.if_else(pc.greater(happened, known), happened, known)
    ).as_py()
    return first


def open_global(
    use_case: str,
    *,
    as_of: datetime,
    connect: wiring.Connect,
    owner: TenantRef = GLOBAL,
    asked: bool = False,
) -> GlobalRun:
    """A training over every tenant that has the use case and consented to one pool.

    Args:
        owner: of the pool's models: a region's, or that of all regions.
        asked: somebody named the instant, which may therefore be an impossible one.

    Raises:
        ConfigError: of none of them anything was known at that instant yet, or it is to come.
    """
    case = use_cases.get(use_case)
    willing = [one for one in _fleet().tenants.values() if one.consents_to(owner)]
    consenting, platform = tuple(ownership.admitted(willing)), wiring.platform(connect)
    members = tuple(one for one in consenting if use_case in one.use_cases and _reaches(one, case))
    if asked:
        _check_global_instant(members, use_case, as_of, platform)
    return GlobalRun(
        platform=platform,
        use_case=case,
        owner=owner,
        members=members,
        consenting=consenting,
        as_of=as_of,
    )


def _reaches(tenant: TenantConfig, use_case: UseCase) -> bool:
    """Whether the tenant keeps its events for as long as the features look back."""
    problems = retention_problems(tenant, use_case.features)
    for problem in problems:
        log.warning("left out of the global model: %s", problem)
    return not problems


def _fleet() -> Fleet:
    return load_fleet(tenants_folder(), use_cases.names())


def _owned_tenant(tenant_id: str) -> TenantConfig:
    """The tenant, whose data is its own: its first run claims the id."""
    tenant = find_tenant(tenants_folder(), tenant_id, use_cases.names())
    ownership.claim(tenant)
    return tenant


def _use_case(tenant: TenantConfig, name: str) -> UseCase:
    if name not in tenant.use_cases:
        raise UnknownNameError("use case", name, tenant.use_cases, f"tenant {tenant.id}")
    use_case = use_cases.get(name).with_seen(tenant.use_cases[name].seen_items)
    return use_case.with_absent(unknown=absent_is_unknown(use_case, tenant))


def last_checked(tenant: TenantConfig, stage_runs: StageRuns) -> datetime:
    """End of the newest interval whose data was accepted.

    Raises:
        ConfigError: nothing was loaded yet.
    """
    checked = stage_runs.newest(tenant.ref, "", "quality")
    if checked is None:
        raise ConfigError(
            f"tenant {tenant.id!r} has no data yet; run its pipeline once, then retrain"
        )
    return checked.end
