"""When a run trains: never twice for one decision, and else as its cadence says."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from include.handoffs import FeaturesBuilt, TableVersion, Trained
from include.pipeline.runs import GlobalRun, Run
from include.registry.promotions import Promotions
from include.tenants.namespace import TenantRef
from include.training.due import Due, TrainingState, is_due
from include.use_cases.declaration import UseCase
from include.wall_clock import local_day


def decided_training(run: Run | GlobalRun) -> Trained | None:
    """The training of this very run, if it was decided on: it stands, and is not done again.

    Training once more would know what was loaded since, and overwrite the evidence.
    """
    promotions = run.platform.stores.promotions
    if promotions.find(run.owner, run.use_case_name, run.as_of, run.trigger) is None:
        return None
    trained = _recorded(run, "training")
    return trained if isinstance(trained, Trained) and trained.trigger == run.trigger else None


def training_due(run: Run, events: TableVersion, *, data_loss: bool) -> Due:
    """Whether this run trains. A retrain always does; a pipeline when its cadence says so.

    A rerun gives the same answer: what was decided at this instant or later does not bear on it.
    """
    if run.trigger != "scheduled":
        return Due(True, f"asked for ({run.trigger})")
    use_case, tenant = run.the_use_case(), run.tenant
    promotions = run.platform.stores.promotions
    overrides = tenant.use_cases[use_case.name]
    everything = [d for d in promotions.history(tenant.ref, use_case.name) if d.trained]
    if any((d.as_of, d.trigger) == (run.as_of, run.trigger) for d in everything):
        built = _recorded(run, "features")
        told = isinstance(built, FeaturesBuilt) and built.training_due
        return Due(True, built.training_reason if told else "decided in this very run")
    decided = [d for d in everything if d.as_of < run.as_of]
    later = [d for d in everything if d.as_of > run.as_of]
    champion = promotions.champion_at(tenant.ref, use_case.name, run.as_of)
    latest = decided[-1] if decided else None
    state = TrainingState(
        last_decided_at=latest.as_of if latest else None,
        retrain_every=overrides.retrain_every or use_case.retrain_every,
        champion=champion is not None,
        global_version=_global_model(tenant.pool, use_case, run.as_of, promotions),
        considered_global=(
            _global_model(tenant.pool, use_case, latest.as_of, promotions) if latest else ""
        ),
        rows=events.rows,
        minimum_rows=overrides.minimum_rows or 1,
        trainings_today=sum(d.as_of.date() == run.as_of.date() for d in decided),
        trainings_per_day=tenant.quota.trainings_per_day,
        data_loss=data_loss,
        timezone=tenant.timezone,
    )
    due = is_due(state, run.as_of)
    if due.due and later and champion is not None:
        on = local_day(later[-1].as_of, tenant.timezone)
        return Due(False, f"a later training was already decided, as of {on}")
    return due


def _global_model(owner: TenantRef, use_case: UseCase, at: datetime, promotions: Promotions) -> str:
    """The global champion's version; a rule of thumb is none, as every tenant has its own."""
    champion = promotions.champion_at(owner, use_case.name, at)
    return champion.version if champion and champion.rung == "global" else ""


def _recorded(run: Run | GlobalRun, stage: str) -> Any:
    """The handoff that a stage of this run left, if it did."""
    done = run.platform.stores.stage_runs.newest(run.owner, run.use_case_name, stage, run.as_of)
    return done.handoff if done is not None and done.end == run.as_of else None
