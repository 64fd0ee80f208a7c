"""Every stage of one interval in this process: for debugging, and as the yardstick for overhead."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from include import wiring
from include.errors import UnknownNameError
from include.handoffs import (
    Checked,
    FeaturesBuilt,
    Ingested,
    Materialized,
    Monitored,
    Registered,
    Replayed,
    Scored,
    Trained,
    pack,
)
from include.pipeline import steps
from include.pipeline.memory import bounded_memory
from include.pipeline.runs import Run, open_pipeline
from include.tenants.config import TenantConfig

PER_USE_CASE: Final = ("features", "training", "registry", "scoring", "monitoring", "skew")


def run(
    tenant: TenantConfig,
    as_of: datetime,
    use_case: str | None,
    connect: wiring.Connect,
    progress: Callable[[str], None] | None = None,
) -> list[dict[str, Any]]:
    """Run the last interval that is over at `as_of`; one row per stage with its seconds.

    Args:
        use_case: only this one; all of the tenant's when None.
        progress: called with a line per stage.
    """
    if use_case is not None and use_case not in tenant.use_cases:
        raise UnknownNameError("use case", use_case, tenant.use_cases, f"tenant {tenant.id}")
    done: list[dict[str, Any]] = []

    def stage(name: str, now: Run) -> Run:
        began = time.perf_counter()
        with bounded_memory(f"stage {name} of {tenant.id}"):
            handoff = steps.execute(name, now)
        seconds = time.perf_counter() - began
        done.append(
            {
                "stage": name,
                "use_case": now.use_case_name,
                "seconds": round(seconds, 3),
                "result": _told(handoff),
                "handoff": pack(handoff),
            }
        )
        if progress is not None:
            progress(f"{name:11} {now.use_case_name:16} {seconds:6.2f} s  {_told(handoff)}")
        return now.after(name, handoff)

    data = open_pipeline(tenant.id, "", start=None, end=as_of, connect=connect, received={})
    data = stage("materialization", stage("quality", stage("ingestion", data)))
    for name in tenant.use_cases if use_case is None else (use_case,):
        case = stage("features", data.about(name))
        built = case.received["features"]
        if built.features.rows == 0:
            continue
        for step in PER_USE_CASE[1:]:
            if built.training_due or step not in ("training", "registry"):
                case = stage(step, case)
    return done


def _told(handoff: Any) -> str:
    """The handoff in a few words."""
    match handoff:
        case Ingested() as it:
            return (
                f"{it.rows:,} rows, {it.late:,} late, {it.duplicates:,} duplicates, "
                f"{it.quarantined:,} quarantined"
            )
        case Checked() as it:
            loss = ", data loss" if it.data_loss else ""
            return (
                f"{it.rows:,} rows accepted, {it.quarantined:,} quarantined, "
                f"{it.warnings} warnings{loss}"
            )
        case Materialized() as it:
            return f"{len(it.views)} views, {it.entities:,} entities, from {it.rows:,} rows"
        case FeaturesBuilt() as it:
            due = "due" if it.training_due else "not due"
            return f"{it.features.rows:,} rows; training {due}: {it.training_reason}"
        case Trained() as it:
            figures = ", ".join(f"{c.rung}/{c.name} {c.metric:.3f}" for c in it.candidates)
            return f"{it.training_rows:,} rows; {figures}"
        case Registered() as it:
            what = "promoted" if it.promoted else "kept"
            return f"{what} {it.version or 'nothing'} ({it.rung}): {it.reason}"
        case Scored() as it:
            return f"{it.rows:,} predictions by version {it.version or 'none'}"
        case Monitored() as it:
            return f"{it.verdict}; {it.decision}: {it.reason}"
        case Replayed() as it:
            differ = ", ".join(it.mismatched) or "no feature"
            return f"{it.rows:,} vectors of {len(it.instants)} instants; {differ} differs"
    return str(handoff)
