"""What a retrain came to, written into its request."""

from __future__ import annotations

from typing import Any

from include.errors import TenantryError
from include.handoffs import FeaturesBuilt, Registered
from include.pipeline.runs import Run
from include.registry.promotions import Promotion
from include.wall_clock import local


def record_outcome(
    run: Run, features: FeaturesBuilt | None, registry: Registered | None
) -> Registered:
    """Close the retrain request of this run with what was decided.

    One without a single active entity trained nothing: it is closed as `untrained`.

    Raises:
        TenantryError: the retrain ended without a decision; recorded as failed.
    """
    use_case = run.the_use_case()
    ref, retrains = run.tenant.ref, run.platform.stores.retrains
    decided = run.platform.stores.promotions.find(ref, use_case.name, run.as_of, run.trigger)
    if decided is None and features is not None and features.features.rows == 0:
        return _untrained(run)
    if decided is None:
        retrains.finish(ref, use_case.name, run.as_of, "failed")
        at = local(run.as_of, run.tenant.timezone)
        raise TenantryError(
            f"the retrain of {run.tenant.id}/{use_case.name} as of {at} "
            "ended without a decision; its failed task's log says why"
        )
    before, after = _before_and_after(decided)
    retrains.finish(
        ref,
        use_case.name,
        run.as_of,
        "promoted" if decided.promoted else "kept",
        before=before,
        after=after,
        details={"version": decided.version, "reasons": list(decided.reasons)},
    )
    if registry is None:
        raise TenantryError("stage 'registry' left nothing for 'outcome'; run it first")
    return registry


def _untrained(run: Run) -> Registered:
    """Close the request of a retrain that found nobody to train on: who serves goes on serving."""
    ref, case = run.tenant.ref, run.use_case_name
    at = local(run.as_of, run.tenant.timezone)
    reason = (
        f"Nobody was active in the window before {at}, so there was nothing to train on or to "
        "score; what serves stays."
    )
    serving = run.platform.stores.promotions.champion_at(ref, case, run.as_of)
    version = serving.version if serving else ""
    details = {"version": version, "reasons": [reason]}
    run.platform.stores.retrains.finish(ref, case, run.as_of, "untrained", details=details)
    return Registered(
        tenant=ref.id,
        use_case=case,
        as_of=run.as_of,
        promoted=False,
        version=version,
        rung=serving.rung if serving else "",
        digest=serving.digest if serving else "",
        reason=reason,
    )


def _before_and_after(decided: Promotion) -> tuple[float | None, float | None]:
    """Metric of the old and of the new champion on the same later window."""
    evidence: dict[str, Any] = dict(decided.evidence)
    incumbent = evidence.get("incumbent") or {}
    measured = [*evidence["candidates"], *([incumbent] if incumbent else [])]
    after = [metric["value"] for metric in measured if metric["digest"] == decided.digest]
    return incumbent.get("value"), next((value for value in after if value is not None), None)
