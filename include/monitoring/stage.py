"""The monitoring stage: compare, judge, decide, and write it all down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.errors import ConfigError
from include.handoffs import Monitored, Scored
from include.monitoring import effects
from include.monitoring.decisions import (
    DriftEvidence,
    RetrainDecision,
    RetrainFacts,
    Verdict,
    decide_retrain,
    judge_drift,
)
from include.monitoring.drift_page import draw, page_of
from include.monitoring.drift_records import DriftRecords, DriftVerdict
from include.monitoring.gate import Gate, Past, WindowComparison, compare_windows
from include.monitoring.judgement import Judgement, path_of, text_of
from include.monitoring.judgement import figures as figures_of
from include.monitoring.live_metrics import LiveMetrics
from include.monitoring.matured import Champion, Matured, matured
from include.monitoring.maturity import Maturity
from include.monitoring.profiles import profile_window
from include.monitoring.retrains import Retrains, standing
from include.monitoring.season import StoredWindow
from include.monitoring.windows import PREDICTION, bounded, with_prediction
from include.registry.predictions import Prediction, Predictions
from include.registry.promotions import Promotions
from include.storage.lake import Lake
from include.tenants.config import TenantConfig
from include.tenants.namespace import TenantRef
from include.use_cases.drift_policy import DriftPolicy

Scores = npt.NDArray[np.float64]


def monitor(
    tenant: TenantConfig,
    scored: Scored,
    policy: DriftPolicy,
    *,
    champion: Champion | None,
    keys: Sequence[str],
    data_loss: bool,
    lake: Lake,
    promotions: Promotions,
    retrains: Retrains,
    drift: DriftRecords,
    predictions: Predictions,
    live_metrics: LiveMetrics,
    scores: Scores | None = None,
    report: bool = False,
    past: Past | None = None,
    maturity: Maturity | None = None,
    since: datetime | None = None,
) -> Monitored:
    """Judge the window scored at `scored.as_of` against the champion's reference.

    Writes the window's profile, the verdict, the decision about a retrain, a JSON file with all
    numbers and Evidently's page: on drift, in the run that promotes a version, and where `report`
    asks for it. Of every other window the page can be drawn later from what the numbers name. A
    rerun writes the same again.

    Args:
        champion: the model that made the predictions; None where none serves.
        keys: join keys of a scoring row, the entity first.
        data_loss: quality found that rows of the interval are missing.
        scores: in the order of the features' rows. None reads the stored ones, which
            for a ranking are too few to be judged.
        report: draw the page whatever the verdict.
        past: features of an earlier instant, with the champion's `prediction`; asked on a breach
            only, where no profile was kept of the season or the weekday that would explain it.
        maturity: how columns depend on the length of history; None where none does.
        since: start of the interval, which the page tells.
    """
    if champion is not None and champion.version != scored.version:
        raise ConfigError(
            f"{scored.tenant}/{scored.use_case}: scored by version {scored.version or '(none)'}, "
            f"but the reference is of version {champion.version}; monitor what was scored"
        )
    window = comparison = None
    if not data_loss:
        window = _window(tenant.ref, scored, keys, lake, predictions, scores)
    if champion is not None and window is not None:
        comparison = _compare(
            tenant.ref, scored, policy, champion, keys, window, past, maturity or Maturity(), drift
        )
    elif window is not None:  # a later champion may ask what this weekday looked like
        profile = profile_window(bounded(window, policy.sample_rows, policy.seed), keys)
        drift.store_window(tenant.ref, scored.use_case, StoredWindow(scored.as_of, "", profile))
    known = Matured()
    if champion is not None:
        known = matured(
            tenant.ref, scored.use_case, champion, policy, scored.as_of, drift, live_metrics
        )
    evidence = _evidence(champion, data_loss, comparison, known, tenant.timezone)
    verdict = judge_drift(evidence, policy)
    judgement = None
    if champion is not None and comparison is not None:
        judgement = Judgement(
            champion.version,
            since,
            scored.as_of,
            scored.features,
            verdict,
            comparison,
            policy,
            known.unjudged,
        )
    figures = figures_of(verdict, judgement, known)
    path = ""
    if champion is not None and window is not None and judgement is not None:
        path = _keep_figures(tenant.ref, path_of(scored), text_of(figures), lake)
        promoted = champion.as_of == scored.as_of
        if report or promoted or verdict.name == "drift":
            page = draw(tenant, scored.use_case, judgement, champion.read(), window, keys)
            lake.put(tenant.ref, page_of(path), page.encode())
    stored = DriftVerdict(
        scored.use_case,
        scored.as_of,
        champion.version if champion else "",
        verdict.name,
        verdict.score,
        verdict.reasons,
        path,
    )
    drift.store_verdict(tenant.ref, stored, figures)
    if champion is not None and champion.metric and not data_loss:
        effects.settle_from_history(
            tenant.ref,
            scored.use_case,
            champion.metric,
            scored.as_of,
            policy.minimum_rows,
            champion.reach,
            retrains=retrains,
            live_metrics=live_metrics,
        )
    decision = _decide(tenant, scored, policy, champion, verdict, promotions, retrains, drift)
    return Monitored(
        scored.tenant,
        scored.use_case,
        scored.as_of,
        verdict.name,
        decision.answer,
        decision.reason,
    )


def _keep_figures(tenant: TenantRef, path: str, text: bytes, lake: Lake) -> str:
    """Keep the figures; a page that was drawn from others goes before they do."""
    kept = lake.file_path(tenant, path)
    if kept.is_file() and kept.read_bytes() != text:
        lake.file_path(tenant, page_of(path)).unlink(missing_ok=True)
    return lake.put(tenant, path, text).path


def _window(
    tenant: TenantRef,
    scored: Scored,
    keys: Sequence[str],
    lake: Lake,
    predictions: Predictions,
    scores: Scores | None,
) -> pa.Table:
    """The features that were scored, and the prediction where there is one for every row."""
    features = lake.get_table(tenant, scored.features)
    if scores is None:
        served = predictions.served(tenant, scored.use_case, scored.as_of)
        scores = _stored_scores(served, features, keys)
    elif len(scores) != features.num_rows:
        raise ConfigError(
            f"{len(scores)} predictions for {features.num_rows} rows of {scored.features.path}"
        )
    return features if scores is None else with_prediction(features, scores)


def _stored_scores(
    served: Sequence[Prediction], features: pa.Table, keys: Sequence[str]
) -> Scores | None:
    """Scores in the order of `features`' rows; None unless every row has one.

    A ranking stores only the best items of an entity, which no reference can be compared with.
    """
    known = {(row.entity_id, row.item_id): row.score for row in served}
    columns = [features[key].cast(pa.string()).to_pylist() for key in keys[:2]]
    rows = zip(columns[0], columns[1] if len(keys) > 1 else [""] * len(columns[0]), strict=True)
    scores = [known.get(row) for row in rows]
    return None if not scores or None in scores else np.asarray(scores, dtype=np.float64)


def _compare(
    tenant: TenantRef,
    scored: Scored,
    policy: DriftPolicy,
    champion: Champion,
    keys: Sequence[str],
    window: pa.Table,
    past: Past | None,
    maturity: Maturity,
    drift: DriftRecords,
) -> WindowComparison:
    """The comparison, after which the window's own profile is kept for later ones."""
    gate = Gate(tenant, scored.use_case, champion.version, champion.as_of, keys, policy, drift)
    reference = gate.reference(champion.read)
    skipped = {
        name: why
        for name in window.column_names
        if (why := policy.reason_to_skip(name) or maturity.reason_to_skip(name))
    }
    current = gate.profile(window.drop_columns(list(skipped)), reference)
    found = compare_windows(reference, current, policy)
    if found.differs:
        found = gate.of_equal_maturity(found, reference, current, maturity, champion.read, window)
    if found.differs:
        found = gate.explained(found, reference, current, scored.as_of, past)
    drift.store_window(
        tenant,
        scored.use_case,
        StoredWindow(scored.as_of, champion.version, current, found.differs),
    )
    if PREDICTION not in window.column_names:
        skipped[PREDICTION] = "not stored for every row"
    return replace(found, skipped={**skipped, **found.skipped})


def _evidence(
    champion: Champion | None,
    data_loss: bool,
    comparison: WindowComparison | None,
    known: Matured,
    timezone: str,
) -> DriftEvidence:
    return DriftEvidence(
        champion.version if champion else "",
        data_loss,
        comparison.reference_entities if comparison else 0,
        comparison.current_entities if comparison else 0,
        comparison.columns if comparison else (),
        comparison.prediction if comparison else None,
        known.performance,
        known.calibration,
        comparison.skipped if comparison else {},
        timezone,
    )


def _decide(
    tenant: TenantConfig,
    scored: Scored,
    policy: DriftPolicy,
    champion: Champion | None,
    verdict: Verdict,
    promotions: Promotions,
    retrains: Retrains,
    drift: DriftRecords,
) -> RetrainDecision:
    """The decision about a retrain at `scored.as_of`: made once, and entered."""
    known = standing(retrains.history(tenant.ref), scored.use_case, scored.as_of)
    version = champion.version if champion else ""
    if known.decided is None:
        facts = RetrainFacts(
            as_of=scored.as_of,
            verdict=verdict,
            trained_as_of=_trained_as_of(tenant.ref, scored, champion, promotions),
            in_flight=known.in_flight,
            last_retrain_at=known.last_retrain_at,
            retrains_today=known.retrains_today,
            retrains_per_day=tenant.quota.trainings_per_day,
            incident=_storm(tenant, scored, verdict, drift),
            timezone=tenant.timezone,
        )
        decision = decide_retrain(facts, policy)
        retrains.record(
            tenant.ref,
            scored.use_case,
            scored.as_of,
            decision=decision.answer,
            reason=decision.reason,
            details={
                "verdict": verdict.name,
                "model_version": version,
                "score": verdict.score,
                **({"incident": facts.incident} if facts.incident else {}),
            },
        )
        return decision
    made = known.decided
    if made.details.get("model_version") != version:
        return RetrainDecision(
            "wait", f"decided before at this as_of: {made.decision}, {made.reason}"
        )
    _storm(tenant, scored, verdict, drift)
    return RetrainDecision(made.decision, made.reason)


def _storm(tenant: TenantConfig, scored: Scored, verdict: Verdict, drift: DriftRecords) -> str:
    """Report the window; the name of the storm that its drift is part of, else empty.

    Windows without a verdict about drift are not reported.
    """
    if verdict.name not in ("drift", "stable"):
        return ""
    breached = verdict.name == "drift"
    return drift.report_window(
        tenant.ref, scored.use_case, scored.as_of, breached=breached, pool=tenant.pool
    )


def _trained_as_of(
    tenant: TenantRef, scored: Scored, champion: Champion | None, promotions: Promotions
) -> datetime | None:
    """The newest training that this run could know of: the champion's, or one it withstood."""
    decided = promotions.history(tenant, scored.use_case)
    known = [one.as_of for one in decided if one.trained and one.as_of <= scored.as_of]
    return max([*known, *([champion.as_of] if champion else [])], default=None)
