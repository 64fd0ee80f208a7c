"""What a stage is asked to do: for whom, about when, why, and with what came before."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from include import use_cases, wiring
from include.errors import ConfigError, UnknownNameError
from include.features.inputs import pool_members, retention_problems
from include.handoffs import Interval
from include.pipeline.intervals import last_interval
from include.storage.postgres import tenant_transaction
from include.tenants.config import TenantConfig
from include.tenants.loader import Fleet, find_tenant, load_fleet, tenants_folder
from include.tenants.namespace import GLOBAL, TenantRef
from include.use_cases.declaration import UseCase

Handoff = TypeVar("Handoff")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """One stage's share of a pipeline or retrain run."""

    platform: wiring.Platform
    tenant: TenantConfig
    interval: Interval
    trigger: str = "scheduled"  #: `scheduled`, `drift` or `manual`
    report: bool = False  #: draw the drift report whatever the verdict
    run_id: str = ""  #: of the Airflow run; empty without Airflow
    use_case: UseCase | None = None
    received: Mapping[str, Any] = field(default_factory=dict)  #: stage → handoff

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

    def pool_members(self) -> list[TenantConfig]:
        """Whose events the use case's shared views see; nobody's where it has none."""
        if not any(view.scope == "shared" for view in self.the_use_case().features.views):
            return []
        return pool_members(self.tenant, self.neighbours())

    def neighbours(self) -> list[TenantConfig]:
        """The tenants of the run's region, itself among them."""
        everybody = _fleet().tenants.values()
        return [one for one in everybody if one.region == self.tenant.region]

    def take(self, kind: type[Handoff], stage: str) -> Handoff:
        """The handoff of an earlier stage."""
        found = self.received.get(stage)
        if not isinstance(found, kind):
            raise ConfigError(f"stage {stage!r} left no {kind.__name__}; run it first")
        return found

    def about(self, use_case: str) -> Run:
        """The run for one of the tenant's use cases."""
        return replace(self, use_case=_use_case(self.tenant, use_case))

    def after(self, stage: str, handoff: object) -> Run:
        """The run with one more stage done."""
        return replace(self, received={**self.received, stage: handoff})


@dataclass(frozen=True)
class GlobalRun:
    """One stage's share of the training of a global model."""

    platform: wiring.Platform
    use_case: UseCase
    members: tuple[TenantConfig, ...]  #: tenants that have the use case and consented
    consenting: tuple[TenantConfig, ...]  #: all that consented, whose events shared views see
    as_of: datetime
    received: Mapping[str, Any] = field(default_factory=dict)
    trigger: str = "scheduled"

    @property
    def owner(self) -> TenantRef:
        """Whose rows and versions the run writes."""
        return GLOBAL

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
    received: Mapping[str, Any],
) -> Run:
    """A run of the pipeline over the interval Airflow gives it.

    A manual run without a logical date has none: it takes the last interval that is over.
    """
    tenant = _tenant(tenant_id)
    if start is None or end is None or start >= end:
        interval = last_interval(tenant, end or datetime.now(UTC))
    else:
        interval = Interval(start, end)
    until = tenant.history_until
    if until is not None and interval.start >= until:
        raise ConfigError(
            f"the interval {interval.start:%Y-%m-%d} to {interval.end:%Y-%m-%d} lies after "
            f"{tenant.id}'s last day, {tenant.until}; choose an earlier logical date, or change "
            "`until` in the tenant's file"
        )
    return Run(
        platform=wiring.platform(connect),
        tenant=tenant,
        interval=interval,
        report=report,
        use_case=_use_case(tenant, use_case) if use_case else None,
        received=received,
    )


def open_retrain(
    tenant_id: str,
    use_case: str,
    *,
    as_of: datetime | None,
    trigger: str,
    run_id: str,
    connect: wiring.Connect,
    received: Mapping[str, Any],
) -> Run:
    """A retraining of one use case with what was known at `as_of`, or at the last load."""
    tenant = _tenant(tenant_id)
    if as_of is None:
        as_of = last_checked(tenant)
    last = last_interval(tenant, as_of)
    start = last.start if last.end == as_of else last.end
    return Run(
        platform=wiring.platform(connect),
        tenant=tenant,
        interval=Interval(start, as_of),
        trigger=trigger,
        run_id=run_id,
        use_case=_use_case(tenant, use_case),
        received=received,
    )


def open_global(
    use_case: str, *, as_of: datetime, connect: wiring.Connect, received: Mapping[str, Any]
) -> GlobalRun:
    """A training over every tenant that has the use case and consented to pooling."""
    case = use_cases.get(use_case)
    consenting = tuple(one for one in _fleet().tenants.values() if one.pooling.consent)
    return GlobalRun(
        platform=wiring.platform(connect),
        use_case=case,
        members=tuple(
            one for one in consenting if use_case in one.use_cases and _reaches(one, case)
        ),
        consenting=consenting,
        as_of=as_of,
        received=received,
    )


def _reaches(tenant: TenantConfig, use_case: UseCase) -> bool:
    """Whether the tenant keeps its events for as long as the features look back."""
    problems = retention_problems(tenant, use_case.features)
    for problem in problems:
        log.warning("left out of the global model: %s", problem)
    return not problems


def _fleet() -> Fleet:
    return load_fleet(tenants_folder(), use_cases.names())


def _tenant(tenant_id: str) -> TenantConfig:
    return find_tenant(tenants_folder(), tenant_id, use_cases.names())


def _use_case(tenant: TenantConfig, name: str) -> UseCase:
    if name not in tenant.use_cases:
        raise UnknownNameError("use case", name, tenant.use_cases, f"tenant {tenant.id}")
    return use_cases.get(name).with_seen(tenant.use_cases[name].seen_items)


def last_checked(tenant: TenantConfig) -> datetime:
    """End of the newest interval whose data was accepted.

    Raises:
        ConfigError: nothing was loaded yet.
    """
    with tenant_transaction(tenant.ref) as connection:
        row = connection.execute(
            "SELECT max(interval_end) AS until FROM stage_runs "
            "WHERE tenant_id = %s AND stage = 'quality'",
            [tenant.id],
        ).fetchone()
    if row is None or row["until"] is None:
        raise ConfigError(
            f"tenant {tenant.id!r} has no data yet; run its pipeline once, then retrain"
        )
    until: datetime = row["until"]
    return until
