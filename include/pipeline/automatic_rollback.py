"""Whether the version that serves still holds what it promised, and back to another if not."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from include.monitoring.live_metrics import known_metrics
from include.monitoring.matured import earlier
from include.pipeline import translate
from include.pipeline.fallback import best_baseline
from include.pipeline.runs import Run
from include.registry.decay import RollbackFacts, roll_back_if_decayed
from include.registry.decline import PromisedFigure, Window
from include.registry.error_rates import HALF_WIDTH
from include.registry.promotions import Promotion
from include.registry.two_way import Swing


def roll_back_decayed(run: Run) -> Promotion | None:
    """The rollback from the interval's end on, where the newest matured labels call for it.

    What the interval was scored with stays until it is scored again, as after a rollback by hand.
    """
    use_case, ref = run.the_use_case(), run.tenant.ref
    promotions = run.platform.stores.promotions
    serving = promotions.champion_at(ref, use_case.name, run.as_of)
    if serving is None:
        return None
    metric = use_case.metric
    history = run.platform.stores.live_metrics.history(ref, use_case.name)
    figures = known_metrics(history, serving.version, metric, run.as_of)
    if not figures:
        return None
    policy = translate.drift_policy(use_case, run.tenant, None)
    promised = serving.evidence.get("champion") or {}
    newest = figures[-1]
    enough = [live for live in figures if live.labels >= policy.minimum_rows or live is newest]
    before = earlier(enough, use_case.reach)
    facts = RollbackFacts(
        version=serving.version,
        rung=serving.rung,
        metric=metric,
        low=promised.get("low"),
        live=newest.value,
        live_error=newest.error,
        baseline=newest.baseline,
        labels=newest.labels,
        measured_at=newest.as_of,
        minimum_labels=policy.minimum_rows,
        tolerance=policy.performance_drop,
        error_rate=policy.performance_level,  # as an alarm about it: it is the same test
        effective=newest.effective,
        promised=_expected(promised, policy.performance_drop),
        before=[Window(figure.value, figure.error, figure.effective) for figure in before],
        gains=[
            Window(figure.value - figure.baseline, figure.error, figure.effective)
            for figure in before
            if figure.baseline is not None
        ],
        timezone=run.tenant.timezone,
    )
    return roll_back_if_decayed(
        ref,
        use_case.name,
        facts,
        as_of=run.as_of,
        registry=run.platform.registry,
        promotions=promotions,
        pool=run.tenant.pool,
        fallback=partial(best_baseline, run.platform),
    )


def _expected(promised: Mapping[str, Any], tolerance: float) -> PromisedFigure | None:
    """What the version was promoted with; None where it was never measured."""
    if promised.get("value") is None or promised.get("low") is None:
        return None
    swing = promised.get("swing") or {}
    error = swing.get("error")
    if error is None:  # promoted by an experiment, which keeps the interval alone
        error = (promised["value"] - promised["low"]) / HALF_WIDTH
    known = Swing.read(swing.get("metric"))
    return PromisedFigure(promised["value"] - tolerance, error, swing.get("blocks") or 1.0, known)
