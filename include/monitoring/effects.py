"""Did a retrain help? What the new champion did live, against what the old one would have.

Best is what both versions say about the same entities whose labels have matured: their difference
with its interval. Where the old version was not scored again, its last live metric before the
retrain stands in; that mixes the model's effect with whatever else changed, and is called so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import NormalDist
from typing import Any, Final, Literal

import pyarrow as pa

from include.monitoring import ledger, live, verdicts
from include.monitoring.measures import difference
from include.tenants.namespace import TenantRef

EffectName = Literal["helped", "hurt", "no difference"]
Method = Literal["same labels", "before and after"]
_Z: Final = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class Effect:
    """What a retrain did to the live metric, which rises with quality."""

    name: EffectName
    method: Method
    metric: str
    difference: float
    low: float  #: 95 % interval
    high: float
    as_of: datetime  #: of the predictions measured
    labels: int


@dataclass(frozen=True)
class Retrain:
    """A retrain whose model was promoted."""

    as_of: datetime
    before: str  #: version that served when drift was found
    after: str  #: version that the retrain promoted


def judge_effect(
    method: Method, metric: str, gain: float, error: float, as_of: datetime, labels: int
) -> Effect:
    """Helped or hurt where the 95 % interval of the gain leaves 0 out."""
    low, high = gain - _Z * error, gain + _Z * error
    name: EffectName = "helped" if low > 0 else "hurt" if high < 0 else "no difference"
    return Effect(name, method, metric, gain, low, high, as_of, labels)


def describe(effect: str, details: Mapping[str, Any]) -> str:
    """One line for people, from the ledger's `effect` and `effect_details`; empty if unknown."""
    if not effect:
        return ""
    sign, low, high = (f"{details[name]:+.3f}" for name in ("difference", "low", "high"))
    how = (
        "than the old model on the same labels"
        if details["method"] == "same labels"
        else "than before (other weeks, so not the model alone)"
    )
    return (
        f"{effect}: {details['metric']} {sign} (95 % {low} to {high}) {how}, "
        f"{details['labels']} labels of {details['as_of'][:10]}"
    )


def unsettled(tenant: TenantRef, use_case: str) -> list[Retrain]:
    """Promoted retrains whose effect has not been measured on the same labels, oldest first."""
    return [
        Retrain(entry.as_of, str(before), str(after))
        for entry in ledger.history(tenant, use_case)
        if entry.outcome == "promoted"
        and entry.effect_details.get("method") != "same labels"
        and (before := entry.details.get("model_version"))
        and (after := entry.outcome_details.get("version"))
        and before != after
    ]


def settle_with_old_scores(
    tenant: TenantRef,
    use_case: str,
    retrain: Retrain,
    labels: pa.Table,
    old_scores: pa.Table,
    *,
    metric: str,
    as_of: datetime,
) -> Effect | None:
    """Measure both versions on the predictions of `as_of`, and enter the difference.

    Args:
        labels: as for `live.measure_live`.
        old_scores: `entity_id`, `item_id` (empty unless ranked) and `score`, by version
            `retrain.before` from the same features.
    Returns:
        None where nothing can be measured, or another version made the predictions of `as_of`.
    """
    predictions = live.predictions_of(tenant, use_case, as_of)
    if as_of < retrain.as_of or {r["model_version"] for r in predictions} != {retrain.after}:
        return None
    judge = live.judge_of(metric, labels)
    ours, theirs = judge(predictions, "score"), judge(_rows(old_scores), "score")
    gain = difference(ours, theirs) if ours is not None and theirs is not None else None
    if ours is None or gain is None or not math.isfinite(gain[1]):
        return None
    effect = judge_effect("same labels", metric, *gain, as_of, len(ours.entities))
    ledger.enter_effect(tenant, use_case, retrain.as_of, effect)
    return effect


def settle_from_history(
    tenant: TenantRef, use_case: str, metric: str, as_of: datetime, minimum_labels: int
) -> list[Effect]:
    """Enter what live metrics known at `as_of` say about retrains that nothing better is known of.

    The earliest figure of the new version is held against the last of the old one.
    """
    settled = []
    for retrain in unsettled(tenant, use_case):
        figures = [
            one
            for version in (retrain.before, retrain.after)
            for one in verdicts.live_figures(tenant, use_case, version, metric, as_of)
            if one.labels >= minimum_labels
        ]
        before = [f for f in figures if f.version == retrain.before and f.as_of < retrain.as_of]
        after = [f for f in figures if f.version == retrain.after and f.as_of >= retrain.as_of]
        if not before or not after:
            continue
        old, new = before[-1], after[0]
        effect = judge_effect(
            "before and after",
            metric,
            new.value - old.value,
            math.hypot(new.error, old.error),
            new.as_of,
            new.labels,
        )
        if ledger.enter_effect(tenant, use_case, retrain.as_of, effect):
            settled.append(effect)
    return settled


def _rows(scores: pa.Table) -> Sequence[Mapping[str, Any]]:
    names = ("entity_id", "item_id", "score")
    columns = (scores[name].to_pylist() for name in names)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
