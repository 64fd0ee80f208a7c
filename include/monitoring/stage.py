"""The monitoring stage: compare, judge, decide, and write it all down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.errors import ConfigError
from include.handoffs import Monitored, Scored
from include.monitoring import ledger, reports, verdicts
from include.monitoring.decisions import (
    Evidence,
    Performance,
    RetrainDecision,
    RetrainFacts,
    Verdict,
    decide_retrain,
    judge_drift,
)
from include.monitoring.policy import DriftPolicy
from include.monitoring.reports import Comparison
from include.monitoring.statistics import compare
from include.monitoring.windows import PREDICTION, align, bounded
from include.registry import ledger as promotions
from include.storage.lake import Lake
from include.tenants.config import TenantConfig
from include.tenants.namespace import TenantRef

Predictions = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Champion:
    """What the model that serves was judged on when it was promoted."""

    version: str
    as_of: datetime  #: until when its training knew the data
    #: Features and `prediction` of its holdout. With `as_of` and the entity's join key (or a code
    #: in its place) the weight of repeated snapshots is known, otherwise it is guessed low.
    reference: pa.Table
    metric: str = ""  #: the metric that decided, e.g. `auc`; empty when there is no interval
    value: float = math.nan
    low: float = math.nan  #: 95 % interval
    high: float = math.nan


def monitor(
    tenant: TenantConfig,
    scored: Scored,
    policy: DriftPolicy,
    *,
    champion: Champion | None,
    keys: Sequence[str],
    data_loss: bool,
    lake: Lake,
    predictions: Predictions | None = None,
    report: bool = False,
) -> Monitored:
    """Judge the window scored at `scored.as_of` against the champion's reference.

    Writes the verdict, the decision about a retrain, a JSON file with all numbers and, on drift
    and on demand, Evidently's page. A rerun writes the same again.

    Args:
        champion: the model that made the predictions; None where none serves.
        keys: join keys of a scoring row, the entity first.
        data_loss: quality found that the tenant's data has all but stopped.
        predictions: scores in the order of the features' rows. None reads the stored ones, which
            for a ranking are too few to be judged.
        report: draw the page whatever the verdict.
    """
    if champion is not None and champion.version != scored.version:
        raise ConfigError(
            f"{scored.tenant}/{scored.use_case}: scored by version {scored.version or '(none)'}, "
            f"but the reference is of version {champion.version}; monitor what was scored"
        )
    comparison = None
    if champion is not None and not data_loss:
        comparison = _compare(tenant.ref, scored, policy, champion, keys, lake, predictions)
    performance = None if champion is None else _performance(tenant.ref, scored, champion)
    verdict = judge_drift(_evidence(champion, data_loss, comparison, performance), policy)
    details = reports.numbers(verdict, comparison, performance)
    path = reports.write(tenant.ref, scored, verdict, comparison, details, lake, report)
    verdicts.store(
        tenant.ref,
        scored.use_case,
        scored.as_of,
        champion.version if champion else "",
        verdict=verdict.name,
        score=verdict.score,
        details=details,
        report_path=path,
    )
    decision = _decide(tenant, scored, policy, champion, verdict)
    return Monitored(
        scored.tenant,
        scored.use_case,
        scored.as_of,
        verdict.name,
        decision.answer,
        decision.reason,
    )


def _compare(
    tenant: TenantRef,
    scored: Scored,
    policy: DriftPolicy,
    champion: Champion,
    keys: Sequence[str],
    lake: Lake,
    predictions: Predictions | None,
) -> Comparison:
    features = lake.get_table(tenant, scored.features)
    if predictions is None:
        predictions = verdicts.stored_predictions(
            tenant, scored.use_case, scored.as_of, features, keys
        )
    elif len(predictions) != features.num_rows:
        raise ConfigError(
            f"{len(predictions)} predictions for {features.num_rows} rows of {scored.features.path}"
        )
    current = features
    if predictions is not None:
        current = features.append_column(PREDICTION, pa.array(predictions, pa.float64()))
    skipped = {n: why for n in features.column_names if (why := policy.reason_to_skip(n))}
    windows = align(
        bounded(champion.reference, policy.sample_rows, policy.seed),
        bounded(current.drop_columns(list(skipped)), policy.sample_rows, policy.seed),
        keys,
    )
    skipped |= windows.skipped
    if predictions is None:
        skipped[PREDICTION] = "not stored for every row"
    before, after = dict(windows.reference), dict(windows.current)
    prediction = None
    if PREDICTION in after:
        (prediction,) = compare(
            {PREDICTION: before.pop(PREDICTION)},
            {PREDICTION: after.pop(PREDICTION)},
            policy.prediction_threshold,
            policy.error_rate,
        )
    columns = compare(before, after, policy.threshold, policy.error_rate)
    return Comparison(windows, columns, prediction, skipped)


def _performance(tenant: TenantRef, scored: Scored, champion: Champion) -> Performance | None:
    if not champion.metric or not all(map(math.isfinite, (champion.low, champion.high))):
        return None
    live = verdicts.newest_live(
        tenant, scored.use_case, champion.version, champion.metric, scored.as_of
    )
    if live is None:
        return None
    return Performance(
        champion.metric,
        champion.value,
        champion.low,
        champion.high,
        live.value,
        live.error,
        live.as_of,
    )


def _evidence(
    champion: Champion | None,
    data_loss: bool,
    comparison: Comparison | None,
    performance: Performance | None,
) -> Evidence:
    version = champion.version if champion else ""
    if comparison is None:
        return Evidence(version, data_loss, performance=performance)
    return Evidence(
        version,
        data_loss,
        comparison.windows.reference_entities,
        comparison.windows.current_entities,
        comparison.columns,
        comparison.prediction,
        performance,
    )


def _decide(
    tenant: TenantConfig,
    scored: Scored,
    policy: DriftPolicy,
    champion: Champion | None,
    verdict: Verdict,
) -> RetrainDecision:
    past = ledger.past(tenant.ref, scored.use_case, scored.as_of)
    version = champion.version if champion else ""
    if past.decided is None:
        facts = RetrainFacts(
            as_of=scored.as_of,
            verdict=verdict,
            trained_as_of=_trained_as_of(tenant.ref, scored, champion),
            in_flight=past.in_flight,
            last_retrain_at=past.last_retrain_at,
            retrains_today=past.retrains_today,
            retrains_per_day=tenant.quota.trainings_per_day,
        )
        decision = decide_retrain(facts, policy)
        ledger.record(
            tenant.ref,
            scored.use_case,
            scored.as_of,
            decision=decision.answer,
            reason=decision.reason,
            details={"verdict": verdict.name, "model_version": version, "score": verdict.score},
        )
        return decision
    made = past.decided
    if made.details.get("model_version") != version:
        return RetrainDecision(
            "wait", f"decided before at this as_of: {made.decision}, {made.reason}"
        )
    return RetrainDecision(made.decision, made.reason)


def _trained_as_of(tenant: TenantRef, scored: Scored, champion: Champion | None) -> datetime | None:
    """The newest training that this run could know of: the champion's, or one it withstood."""
    decided = promotions.history(tenant, scored.use_case)
    known = [promotion.as_of for promotion in decided if promotion.as_of <= scored.as_of]
    return max([*known, *([champion.as_of] if champion else [])], default=None)
