"""What was done before: the registry of stage runs, and what it says about the next training."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from include.handoffs import FeaturesBuilt, Scored, TableVersion, Trained, pack, unpack
from include.pipeline.runs import GlobalRun, Run
from include.registry.promotions import Promotions
from include.storage.postgres import tenant_transaction
from include.tenants.namespace import TenantRef
from include.training.due import Due, TrainingState, is_due
from include.use_cases.declaration import UseCase

_RECORD = """
    INSERT INTO stage_runs (tenant_id, use_case, stage, interval_start, interval_end, handoff)
    VALUES (%s, %s, %s, %s, %s, %s)
    ON CONFLICT (tenant_id, use_case, stage, interval_start, interval_end)
    DO UPDATE SET handoff = excluded.handoff, recorded_at = now()
"""


def record(run: Run | GlobalRun, stage: str, handoff: Any) -> None:
    """Keep a stage's handoff; a rerun replaces it. A global run has an instant, no interval."""
    start = run.interval.start if isinstance(run, Run) else run.as_of
    with tenant_transaction(run.owner) as connection:
        connection.execute(
            _RECORD,
            [run.owner.id, run.use_case_name, stage, start, run.as_of, Jsonb(pack(handoff))],
        )


def decided_training(run: Run | GlobalRun) -> Trained | None:
    """The training of this very run, if it was decided on: it stands, and is not done again.

    Training once more would know what was loaded since, and overwrite the evidence.
    """
    promotions = run.platform.stores.promotions
    if promotions.find(run.owner, run.use_case_name, run.as_of, run.trigger) is None:
        return None
    found = _recorded(run, "training")
    return found if isinstance(found, Trained) and found.trigger == run.trigger else None


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
    )
    due = is_due(state, run.as_of)
    if due.due and later and champion is not None:
        return Due(False, f"a later training was already decided, as of {later[-1].as_of:%Y-%m-%d}")
    return due


def _global_model(owner: TenantRef, use_case: UseCase, at: datetime, promotions: Promotions) -> str:
    """The global champion's version; a rule of thumb is none, as every tenant has its own."""
    found = promotions.champion_at(owner, use_case.name, at)
    return found.version if found and found.rung == "global" else ""


def newest_training(
    owner: TenantRef, use_case: str, until: datetime | None = None
) -> Trained | None:
    """The newest training of a use case, or the newest by an instant; None before the first."""
    with tenant_transaction(owner) as connection:
        row = connection.execute(
            "SELECT handoff FROM stage_runs WHERE tenant_id = %s AND use_case = %s "
            "AND stage = 'training' AND interval_end <= coalesce(%s, 'infinity'::timestamptz) "
            "ORDER BY interval_end DESC, interval_start DESC LIMIT 1",
            [owner.id, use_case, until],
        ).fetchone()
    found = None if row is None else unpack(row["handoff"])
    return found if isinstance(found, Trained) else None


def scored_before(run: Run) -> list[Scored]:
    """The log of vectors of the use case's earlier instants, oldest first; the newest of each."""
    with tenant_transaction(run.owner) as connection:
        rows = connection.execute(
            "SELECT DISTINCT ON (interval_end) handoff FROM stage_runs WHERE tenant_id = %s "
            "AND use_case = %s AND stage = 'scoring' AND interval_end < %s "
            "ORDER BY interval_end, recorded_at DESC",
            [run.owner.id, run.use_case_name, run.as_of],
        ).fetchall()
    return [unpack(row["handoff"]) for row in rows]


def _recorded(run: Run | GlobalRun, stage: str) -> Any:
    """The handoff that a stage of this run left, if it did."""
    with tenant_transaction(run.owner) as connection:
        row = connection.execute(
            "SELECT handoff FROM stage_runs WHERE tenant_id = %s AND use_case = %s AND stage = %s "
            "AND interval_end = %s ORDER BY interval_start DESC LIMIT 1",
            [run.owner.id, run.use_case_name, stage, run.as_of],
        ).fetchone()
    return None if row is None else unpack(row["handoff"])
