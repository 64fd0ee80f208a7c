"""How well earlier predictions did, once their labels have matured: model and baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.stats import rankdata

from include.errors import ConfigError, UnknownNameError
from include.monitoring.verdicts import ERROR_SUFFIX
from include.storage.postgres import tenant_transaction
from include.tenants.namespace import TenantRef

LiveMetricName = Literal["auc", "hit@10"]
_TOP: Final = 10
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LiveMetric:
    """One metric of the predictions of one instant."""

    as_of: datetime
    metric: str
    model_version: str
    value: float
    error: float  #: standard error of `value`
    baseline: float | None
    labels: int  #: entities measured


def awaiting_labels(
    tenant: TenantRef, use_case: str, horizon: timedelta, as_of: datetime, metric: LiveMetricName
) -> list[datetime]:
    """Instants of predictions whose labels are known at `as_of` and not measured yet, in order."""
    with tenant_transaction(tenant) as connection:
        rows = connection.execute(
            "SELECT DISTINCT p.as_of FROM predictions p WHERE p.tenant_id = %s AND p.use_case = %s "
            "AND p.as_of <= %s AND NOT EXISTS (SELECT FROM live_metrics m WHERE "
            "(m.tenant_id, m.use_case, m.as_of, m.metric) = "
            "(p.tenant_id, p.use_case, p.as_of, %s)) ORDER BY p.as_of",
            [tenant.id, use_case, as_of - horizon, metric],
        ).fetchall()
    return [row["as_of"] for row in rows]


def measure_live(
    tenant: TenantRef,
    use_case: str,
    labels: pa.Table,
    *,
    metric: LiveMetricName,
    as_of: datetime,
    measured_as_of: datetime,
) -> LiveMetric | None:
    """Join matured labels with the predictions made at `as_of` and store the metric.

    Args:
        labels: the entity's join key, for rankings `item_id` too, and `label` (0 or 1). Of a
            ranking only the positive rows count, also those of items that were never offered.
    Returns:
        None where nothing can be measured: no prediction has a label, or all labels are equal.
    """
    if metric not in _MEASURES:
        raise UnknownNameError("live metric", metric, _MEASURES)
    keys = [n for n in labels.column_names if n not in ("label", "as_of", "item_id")]
    if len(keys) != 1 or "label" not in labels.column_names:
        raise ConfigError(
            "labels need one entity key, `label`, and for rankings `item_id`; "
            f"got columns: {', '.join(labels.column_names)}"
        )
    with tenant_transaction(tenant) as connection:
        predictions = connection.execute(
            "SELECT entity_id, item_id, rank, score, baseline_score, model_version "
            "FROM predictions WHERE tenant_id = %s AND use_case = %s AND as_of = %s "
            "ORDER BY entity_id, rank, item_id",
            [tenant.id, use_case, as_of],
        ).fetchall()
        measured = _MEASURES[metric](predictions, labels, keys[0]) if predictions else None
        if measured is None:
            return None
        value, error, baseline, count = measured
        version = predictions[0]["model_version"]
        figures = ((metric, value, baseline), (metric + ERROR_SUFFIX, error, None))
        for name, figure, beside in figures:
            connection.execute(
                "INSERT INTO live_metrics (tenant_id, use_case, as_of, metric, model_version, "
                "value, baseline, labels, measured_as_of) "
                "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) "
                "ON CONFLICT (tenant_id, use_case, as_of, metric) DO UPDATE SET "
                "model_version = excluded.model_version, value = excluded.value, "
                "baseline = excluded.baseline, labels = excluded.labels, "
                "measured_as_of = excluded.measured_as_of",
                [tenant.id, use_case, as_of, name, version, figure, beside, count, measured_as_of],
            )
    return LiveMetric(as_of, metric, version, value, error, baseline, count)


Measured = tuple[float, float, float | None, int]
Rows = Sequence[Mapping[str, Any]]


def _auc(predictions: Rows, labels: pa.Table, key: str) -> Measured | None:
    known = dict(zip(labels[key].to_pylist(), labels["label"].to_pylist(), strict=True))
    joined = [p for p in predictions if known.get(p["entity_id"]) is not None]
    truth = np.array([bool(known[p["entity_id"]]) for p in joined], dtype=bool)
    if not truth.any() or truth.all():
        return None
    value = area_under_curve(truth, np.array([p["score"] for p in joined], dtype=np.float64))
    baseline = None
    if all(p["baseline_score"] is not None for p in joined):
        scores = np.array([p["baseline_score"] for p in joined], dtype=np.float64)
        baseline = area_under_curve(truth, scores)
    return value, _auc_error(value, int(truth.sum()), int((~truth).sum())), baseline, len(joined)


def area_under_curve(truth: npt.NDArray[np.bool_], scores: Floats) -> float:
    """Share of (positive, negative) pairs that `scores` orders rightly, ties counting half."""
    positives, negatives = int(truth.sum()), int((~truth).sum())
    ranks = rankdata(scores)
    return float((ranks[truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _auc_error(area: float, positives: int, negatives: int) -> float:
    """J. Hanley and B. McNeil, "The meaning and use of the area under a ROC curve", 1982."""
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area)
    spread += (positives - 1) * (q1 - area**2) + (negatives - 1) * (q2 - area**2)
    return math.sqrt(spread / (positives * negatives))


def _hit(predictions: Rows, labels: pa.Table, key: str) -> Measured | None:
    wanted: dict[str, set[str]] = {}
    columns = (labels[name].to_pylist() for name in (key, "item_id", "label"))
    for entity, item, label in zip(*columns, strict=True):
        if label:
            wanted.setdefault(entity, set()).add(item)
    offered: dict[str, list[Mapping[str, Any]]] = {}
    for row in predictions:
        if row["entity_id"] in wanted:
            offered.setdefault(row["entity_id"], []).append(row)
    if not offered:
        return None
    hits = [_among(rows[:_TOP], wanted[entity]) for entity, rows in offered.items()]
    value = sum(hits) / len(hits)
    error = math.sqrt(value * (1 - value) / len(hits))
    return value, error, _baseline_hit(offered, wanted), len(hits)


def _baseline_hit(
    offered: Mapping[str, list[Mapping[str, Any]]], wanted: Mapping[str, set[str]]
) -> float | None:
    """None where only the model's own top was stored: the baseline's is then unknown."""
    rows = [row for ranked in offered.values() for row in ranked]
    if max(map(len, offered.values())) <= _TOP or any(r["baseline_score"] is None for r in rows):
        return None
    hits = []
    for entity, ranked in offered.items():
        best = sorted(ranked, key=lambda r: (-r["baseline_score"], r["item_id"]))
        hits.append(_among(best[:_TOP], wanted[entity]))
    return sum(hits) / len(hits)


def _among(rows: Rows, wanted: set[str]) -> bool:
    return any(row["item_id"] in wanted for row in rows)


_MEASURES: Final = {"auc": _auc, "hit@10": _hit}
