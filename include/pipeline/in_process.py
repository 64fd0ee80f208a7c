"""Every stage of one interval, or of a use case's global models, in this process: for debugging,
and as the yardstick for overhead.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from include import wiring
from include.errors import UnknownNameError
from include.handoffs import pack
from include.pipeline import steps
from include.pipeline.consent import reach_all
from include.pipeline.memory import bounded_memory
from include.pipeline.runs import Run, open_global, open_pipeline
from include.pipeline.stages import (
    GLOBAL_SCHEDULE,
    GLOBAL_STAGES,
    TENANT_STAGES,
    USE_CASE_STAGES,
    Stage,
)
from include.storage.failures import TENANT_ERRORS
from include.tenants.config import TenantConfig
from include.tenants.intervals import last_tick
from include.tenants.namespace import TenantRef

Progress = Callable[[str], None]  #: told a line per stage


def run(
    tenant: TenantConfig,
    as_of: datetime,
    use_case: str | None,
    connect: wiring.Connect,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Run the last interval that is over at `as_of`; one row per stage with its seconds.

    Args:
        use_case: only this one; all of the tenant's when None.
        progress: called with a line per stage.
    """
    if use_case is not None and use_case not in tenant.use_cases:
        raise UnknownNameError("use case", use_case, tenant.use_cases, f"tenant {tenant.id}")
    done = _Done(progress)

    def do(stage: Stage, share: Run, received: Mapping[str, Any]) -> Any:
        about = {"stage": stage.name, "use_case": share.use_case_name}
        with bounded_memory(f"stage {stage.name} of {tenant.id}"):
            return done.timed(about, lambda: steps.execute(stage, share, received))

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
    return done.rows


def run_global(
    use_case: str,
    owners: Iterable[TenantRef],
    as_of: datetime | None,
    *,
    now: datetime,
    connect: wiring.Connect,
    progress: Progress | None = None,
) -> list[dict[str, Any]]:
    """Train a use case's global models as the DAG `global.{use_case}` does: one row per step.

    Withdrawn consent comes first, then each owner of such models. What fails ends that owner's
    steps alone: its row says why under `failed`, and the others go on.

    Args:
        as_of: the instant whose knowledge counts; the newest tick of the schedule if None.
        progress: called with a line per step.
    """
    done, at = _Done(progress), as_of or last_tick(GLOBAL_SCHEDULE, "UTC", now)

    def withdrawn() -> str:
        changes = reach_all(wiring.platform(connect), [use_case])
        told = [f"{one.tenant}: {one.outcome}" for one in changes if one.outcome != "done before"]
        return "; ".join(told) or "nothing to withdraw"

    done.tried({"stage": "consent", "owner": "", "use_case": use_case}, withdrawn)
    for owner in owners:
        received: dict[str, Any] = {}
        for stage in GLOBAL_STAGES:
            about = {"stage": stage.name, "owner": owner.id, "use_case": use_case}
            asked = as_of is not None and not received
            step = partial(_global_step, stage, use_case, owner, at, asked, connect, received)
            handoff = done.tried(about, step)
            if handoff is None:
                break
            received[stage.name] = handoff
    return done.rows


def _global_step(
    stage: Stage,
    use_case: str,
    owner: TenantRef,
    as_of: datetime,
    asked: bool,
    connect: wiring.Connect,
    received: Mapping[str, Any],
) -> Any:
    with bounded_memory(f"stage {stage.name} of {owner.id}"):
        share = open_global(use_case, as_of=as_of, connect=connect, owner=owner, asked=asked)
        return steps.execute_global(stage, share, received)


@dataclass
class _Done:
    """What was done, one row per step with its seconds; each is told as soon as it is over."""

    progress: Progress | None
    rows: list[dict[str, Any]] = field(default_factory=list)

    def timed(self, about: Mapping[str, str], step: Callable[[], Any]) -> Any:
        """The step's handoff."""
        began = time.perf_counter()
        handoff = step()
        if handoff is None:
            self._note(about, began, {"result": "nothing to do in this run", "handoff": None})
            return None
        packed = {"handoff": None if isinstance(handoff, str) else pack(handoff)}
        self._note(about, began, {"result": str(handoff)} | packed)
        return handoff

    def tried(self, about: Mapping[str, str], step: Callable[[], Any]) -> Any:
        """The step's handoff; None of one that failed, whose row says why."""
        began = time.perf_counter()
        try:
            return self.timed(about, step)
        except TENANT_ERRORS as error:
            self._note(about, began, {"result": f"failed: {error}", "failed": str(error)})
            return None

    def _note(self, about: Mapping[str, str], began: float, came_to: Mapping[str, Any]) -> None:
        seconds = time.perf_counter() - began
        self.rows.append({**about, "seconds": round(seconds, 3), **came_to})
        if self.progress is not None:
            what = about.get("owner") or about["use_case"]
            self.progress(f"{about['stage']:11} {what:16} {seconds:6.2f} s  {came_to['result']}")
