"""What was done before: the registry of stage runs, and what it says about the next training."""

from __future__ import annotations

from typing import Any

from psycopg.types.json import Jsonb

from include.handoffs import TableVersion, pack
from include.pipeline.runs import Run
from include.registry import ledger as promotions
from include.storage.postgres import tenant_transaction
from include.tenants.namespace import GLOBAL
from include.training.due import Due, TrainingState, is_due

_RECORD = """
    INSERT INTO stage_runs (tenant_id, use_case, stage, interval_start, interval_end, handoff)
    VALUES (%s, %s, %s, %s, %s, %s)
    ON CONFLICT (tenant_id, use_case, stage, interval_start, interval_end)
    DO UPDATE SET handoff = excluded.handoff, recorded_at = now()
"""


def record(run: Run, stage: str, handoff: Any) -> None:
    """Keep a stage's handoff; a rerun replaces it."""
    with tenant_transaction(run.tenant.ref) as connection:
        connection.execute(
            _RECORD,
            [
                run.tenant.id,
                run.use_case_name,
                stage,
                run.interval.start,
                run.interval.end,
                Jsonb(pack(handoff)),
            ],
        )


def training_due(run: Run, events: TableVersion) -> Due:
    """Whether this run trains. A retrain always does; a pipeline when its cadence says so."""
    if run.trigger != "scheduled":
        return Due(True, f"asked for ({run.trigger})")
    use_case, tenant = run.the_use_case(), run.tenant
    overrides = tenant.use_cases[use_case.name]
    decided = promotions.history(tenant.ref, use_case.name)
    champion = promotions.champion_at(tenant.ref, use_case.name, run.as_of)
    world = promotions.champion_at(GLOBAL, use_case.name, run.as_of)
    latest = decided[-1] if decided else None
    considered = promotions.champion_at(GLOBAL, use_case.name, latest.as_of) if latest else None
    state = TrainingState(
        last_decided_at=latest.as_of if latest else None,
        retrain_every=overrides.retrain_every or use_case.retrain_every,
        champion=champion is not None,
        global_version=world.version if world else "",
        considered_global=considered.version if considered else "",
        rows=events.rows,
        minimum_rows=overrides.minimum_rows or 1,
        trainings_today=sum(d.as_of.date() == run.as_of.date() for d in decided),
        trainings_per_day=tenant.quota.trainings_per_day,
    )
    return is_due(state, run.as_of)
