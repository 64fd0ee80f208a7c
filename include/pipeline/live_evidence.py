"""What is known of a champion by now: what it was judged on, and the labels that have matured."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from include.errors import IntegrityError
from include.handoffs import LostDays, Scored, StoredObject, unpack
from include.monitoring import live
from include.monitoring.matured import Champion
from include.pipeline import losses
from include.pipeline.lookback import settle_effects
from include.pipeline.runs import Run
from include.registry.port import ModelVersion
from include.registry.promotions import Promotion
from include.registry.two_way import Swing
from include.use_cases.spines import event_columns, matured_labels


def champion(run: Run, version: ModelVersion) -> Champion:
    """What the version was judged on when it was promoted.

    Raises:
        IntegrityError: the registry's reference window is not the one the ledger recorded.
    """
    use_case = run.the_use_case()
    promoted = _promotion(run, version)
    reference = promoted.evidence.get("reference_digest") if promoted else None
    if reference and reference != version.reference_digest:
        raise IntegrityError(
            f"the reference window of {run.tenant.id}/{use_case.name}@{version.version} is not the "
            "one that was promoted; restore the registry, or train and promote again"
        )
    figures = dict(promoted.evidence.get("champion") or {}) if promoted else {}
    known = all(figures.get(name) is not None for name in ("value", "low", "high"))
    swing = figures.get("swing") or {}
    return Champion(
        version=version.version,
        as_of=version.as_of,
        reference=lambda: pq.read_table(
            pa.BufferReader(run.platform.registry.reference(run.tenant.ref, version))
        ),
        metric=use_case.metric if known else "",
        value=figures["value"] if known else math.nan,
        low=figures["low"] if known else math.nan,
        high=figures["high"] if known else math.nan,
        outcome_rate=_outcome_rate(run, promoted) if promoted else math.nan,
        swing=Swing.read(swing.get("metric")),
        calibration_swing=Swing.read(swing.get("calibration")),
        error=swing.get("error"),
        blocks=swing.get("blocks") or 1.0,
        reach=use_case.reach,
    )


def _outcome_rate(run: Run, promoted: Promotion) -> float:
    """How often the outcome came in the window the champion was judged on.

    NaN where its scores are no probabilities, and where retention has taken the evaluation.
    """
    if run.the_use_case().task != "classification" or promoted.rung == "baseline":
        return math.nan
    evaluation = _evaluation(run, promoted)
    if evaluation is None or not evaluation["rows"]["holdout"]:
        return math.nan
    return float(evaluation["rows"]["holdout_positives"] / evaluation["rows"]["holdout"])


def judged_on(run: Run, version: ModelVersion) -> tuple[list[datetime], tuple[LostDays, ...]]:
    """Instants of the version's reference, and what was lost when it was trained.

    Nothing where retention has taken the evaluation; then only the training's own instant is known.
    """
    evaluation = _evaluation(run, _promotion(run, version))
    if evaluation is None:
        return [version.as_of], ()
    holdout = [datetime.fromisoformat(at) for at in evaluation["windows"]["holdout"]]
    lost = evaluation.get("lost", {}).get(run.tenant.id, ())
    return holdout or [version.as_of], tuple(unpack(days) for days in lost)


def _promotion(run: Run, version: ModelVersion) -> Promotion | None:
    """The decision that made the version the champion."""
    decided = run.platform.stores.promotions.history(run.tenant.ref, run.use_case_name)
    told = [
        decision
        for decision in decided
        if decision.promoted and decision.version == version.version
    ]
    return told[-1] if told else None


def _evaluation(run: Run, promoted: Promotion | None) -> dict[str, Any] | None:
    """The evaluation a promotion was decided on; None where retention has taken it."""
    kept = promoted.evidence.get("evaluation") if promoted else None
    if not kept:
        return None
    try:
        stored = StoredObject(run.tenant.id, kept["path"], kept["digest"], 0)
        evaluation: dict[str, Any] = json.loads(run.platform.lake.get(run.tenant.ref, stored))
    except IntegrityError:
        return None
    return evaluation


def measure_matured(run: Run, scored: Scored, lost: Sequence[LostDays] = ()) -> None:
    """Store the live metric of every earlier instant whose labels are known by now.

    Args:
        lost: of the events that the use case reads; what they touch waits, see `losses`.
    """
    use_case, ref = run.the_use_case(), run.tenant.ref
    predictions, live_metrics = run.platform.stores.predictions, run.platform.stores.live_metrics
    history = live_metrics.history(ref, use_case.name)
    done = sorted({metric.as_of for metric in history if metric.as_of <= run.as_of})
    if unknown := sorted({*done} - {*losses.measurable(run, done, lost)}):
        live_metrics.forget(ref, use_case.name, unknown)
    until = run.as_of - use_case.label.horizon
    waiting = live.awaiting_labels(
        predictions, live_metrics, ref, use_case.name, until, use_case.metric
    )
    waiting = losses.measurable(run, waiting, lost)
    if not waiting:
        return
    events = run.platform.lake.read(
        ref,
        "events",
        version=scored.events.version,
        columns=list(event_columns(use_case)),
        known_at=run.as_of,
    )
    for as_of in waiting:
        served = predictions.served(ref, use_case.name, as_of)
        entities = sorted({row.entity_id for row in served})
        truth = matured_labels(use_case, events, as_of, entities, run.as_of)
        live.measure_live(
            ref,
            use_case.name,
            served,
            truth,
            metric=use_case.metric,
            as_of=as_of,
            measured_as_of=run.as_of,
            live_metrics=live_metrics,
        )
        settle_effects(run, served, truth, as_of)
