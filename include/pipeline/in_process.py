"""Every stage of one interval in this process: for debugging, and as the yardstick for overhead."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from include import wiring
from include.errors import UnknownNameError
from include.handoffs import pack
from include.pipeline import steps
from include.pipeline.memory import bounded_memory
from include.pipeline.runs import Run, open_pipeline
from include.pipeline.stages import TENANT_STAGES, USE_CASE_STAGES, Stage
from include.tenants.config import TenantConfig


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

    def do(stage: Stage, share: Run, received: Mapping[str, Any]) -> Any:
        began = time.perf_counter()
        with bounded_memory(f"stage {stage.name} of {tenant.id}"):
            handoff = steps.execute(stage, share, received)
        seconds = time.perf_counter() - began
        done.append(
            {
                "stage": stage.name,
                "use_case": share.use_case_name,
                "seconds": round(seconds, 3),
                "result": str(handoff),
                "handoff": pack(handoff),
            }
        )
        if progress is not None:
            progress(f"{stage.name:11} {share.use_case_name:16} {seconds:6.2f} s  {handoff}")
        return handoff

    whole = open_pipeline(tenant.id, "", start=None, end=as_of, connect=connect)
    shared: dict[str, Any] = {}
    for stage in TENANT_STAGES:
        shared[stage.name] = do(stage, whole, shared)
    for name in tenant.use_cases if use_case is None else (use_case,):
        received, training_due = dict(shared), False
        for stage in USE_CASE_STAGES:
            if stage.when_training_is_due and not training_due:
                continue
            handoff = do(stage, whole.about(name), received)
            received[stage.name] = handoff
            if stage.decides:
                training_due = handoff.training_due
                if handoff.features.rows == 0:
                    break
    return done
