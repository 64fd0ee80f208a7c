"""Whether a retrain helped: what the new champion did live, against what the old one would have.

The best evidence is what both versions say about the same entities whose labels have matured: their
difference with its interval, over the first windows of the new version, since all entities of one
window share what happened then. Where the old version was not scored again, its live metrics before
the retrain stand in. These mix the model's effect with whatever else changed, and the method's name
says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa

from include.models.measures import difference
from include.monitoring import live
from include.monitoring.live_metrics import LiveMetrics, known_metrics
from include.monitoring.retrain_effect import (
    WINDOWS,
    EffectName,
    Measurement,
    Method,
    RetrainEffect,
)
from include.monitoring.retrains import Retrains
from include.registry.predictions import Prediction
from include.registry.two_way import Swing, Uncertainty
from include.tenants.namespace import TenantRef


@dataclass(frozen=True)
class PromotedRetrain:
    """A retrain whose model was promoted."""

    as_of: datetime
    before: str  #: version that served when drift was found
    after: str  #: version that the retrain promoted
    measured: tuple[Measurement, ...] = ()  #: on the same labels by now


def judge_effect(
    method: Method,
    metric: str,
    after: Sequence[Measurement],
    before: Sequence[Measurement] = (),
) -> RetrainEffect:
    """The effect: helped or hurt where the 95 % interval of the gain leaves 0 out.

    Args:
        after: windows that do not overlap: gains over the old version, or the metric.
        before: where these are the metric, that of the old version in its own windows.
    """
    sides = [side for side in (after, before) if side]
    swing = Swing()
    for side in sides:
        swing = swing.pooled(Swing.among([one.value for one in side]))
    gain = _mean(after) - (_mean(before) if before else 0.0)
    by_entity = math.sqrt(sum(one.error**2 for s in sides for one in [_together(s)]))
    shares = sum(1 / len(side) for side in sides)
    found = Uncertainty(by_entity, math.inf, 0.0, 0.0, 1 / shares, 0.0, swing)
    width = found.half_width()
    low, high = gain - width, gain + width
    name: EffectName = "no difference"
    if not found.known:
        name = ""
    elif low > 0 or high < 0:
        name = "helped" if low > 0 else "hurt"
    labels = sum(one.labels for one in after)
    return RetrainEffect(
        name, method, metric, gain, low, high, after[-1].as_of, labels, tuple(after)
    )


def apart(
    measured: Sequence[Measurement], reach: timedelta, most: int = WINDOWS
) -> tuple[Measurement, ...]:
    """The first windows, oldest first, whose labels begin a reach apart."""
    found: list[Measurement] = []
    for one in sorted(measured, key=lambda m: m.as_of):
        if len(found) < most and (not found or one.as_of - found[-1].as_of >= reach):
            found.append(one)
    return tuple(found)


def _mean(side: Sequence[Measurement]) -> float:
    return sum(one.value for one in side) / len(side)


def _together(side: Sequence[Measurement]) -> Measurement:
    """The mean of windows, its error as if they had no entity in common."""
    error = math.sqrt(sum(one.error**2 for one in side)) / len(side)
    return Measurement(side[-1].as_of, _mean(side), error, sum(one.labels for one in side))


def unsettled(tenant: TenantRef, use_case: str, retrains: Retrains) -> list[PromotedRetrain]:
    """Promoted retrains, oldest first, to whose effect windows on the same labels may add."""
    return [
        PromotedRetrain(request.as_of, str(before), str(after), _measured(request.effect))
        for request in retrains.history(tenant, use_case)
        if request.outcome == "promoted"
        and not (request.effect and request.effect.settled)
        and (before := request.details.get("model_version"))
        and (after := request.outcome_details.get("version"))
        and before != after
    ]


def _measured(effect: RetrainEffect | None) -> tuple[Measurement, ...]:
    """The windows on the same labels that an effect rests on."""
    return effect.windows if effect and effect.method == "same labels" else ()


def settle_with_old_scores(
    tenant: TenantRef,
    use_case: str,
    retrain: PromotedRetrain,
    served: live.Rows,
    labels: pa.Table,
    old_scores: pa.Table,
    *,
    retrains: Retrains,
    metric: str,
    as_of: datetime,
    reach: timedelta = timedelta(0),
) -> RetrainEffect | None:
    """Measure both versions on the predictions of `as_of`, and enter the effect as known by now.

    Args:
        served: at `as_of`, as for `live.measure_live`.
        labels: likewise.
        reach: of labels: windows within it of a measured one add nothing.
        old_scores: `entity_id`, `item_id` (empty unless ranked) and `score`, by version
            `retrain.before` from the same features.
    Returns:
        None where nothing can be measured or is added, or another version made the predictions.
    """
    predictions = live.of_champion(served)
    if as_of < retrain.as_of or {row.model_version for row in predictions} != {retrain.after}:
        return None
    judge = live.judge_of(metric, labels)
    ours, theirs = judge(predictions), judge(_rows(old_scores))
    gain = difference(ours, theirs) if ours is not None and theirs is not None else None
    if ours is None or gain is None or not math.isfinite(gain[1]):
        return None
    this = Measurement(as_of, *gain, len(ours.entities))
    windows = apart((*retrain.measured, this), reach)
    if this not in windows:
        return None
    effect = judge_effect("same labels", metric, windows)
    retrains.enter_effect(tenant, use_case, retrain.as_of, effect)
    return effect


def settle_from_history(
    tenant: TenantRef,
    use_case: str,
    metric: str,
    as_of: datetime,
    minimum_labels: int,
    reach: timedelta = timedelta(0),
    *,
    retrains: Retrains,
    live_metrics: LiveMetrics,
) -> list[RetrainEffect]:
    """Enter effects by live metrics known at `as_of`, of retrains without one on the same labels.

    The first figures of the new version are held against the last ones of the old.
    """
    settled, history = [], live_metrics.history(tenant, use_case)
    for retrain in unsettled(tenant, use_case, retrains):
        if retrain.measured:
            continue
        old, new = (
            [
                Measurement(one.as_of, one.value, one.error, one.labels)
                for one in known_metrics(history, version, metric, as_of)
                if one.labels >= minimum_labels and (one.as_of < retrain.as_of) is before
            ]
            for version, before in ((retrain.before, True), (retrain.after, False))
        )
        if not old or not new:
            continue
        before = apart(old, reach, len(old))[-WINDOWS:]
        effect = judge_effect("before and after", metric, apart(new, reach), before)
        if retrains.enter_effect(tenant, use_case, retrain.as_of, effect):
            settled.append(effect)
    return settled


def _rows(scores: pa.Table) -> live.Rows:
    columns = (scores[name].to_pylist() for name in ("entity_id", "item_id", "score"))
    return [
        Prediction(entity, item, 0, score) for entity, item, score in zip(*columns, strict=True)
    ]
