"""Live measurement: how well model and baseline did, once labels of predictions have matured."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from include.errors import ConfigError, UnknownNameError
from include.models.measures import LISTS, ROWS, TOP, EntityMetric, measure_lists, measure_rows
from include.monitoring.live_metrics import LiveMetric, LiveMetrics
from include.registry.experiments import CHALLENGER_ARM
from include.registry.predictions import Prediction, Predictions
from include.tenants.namespace import TenantRef

Rows: TypeAlias = Sequence[Prediction]
Judge: TypeAlias = Callable[[Rows], EntityMetric | None]


def awaiting_labels(
    predictions: Predictions,
    live_metrics: LiveMetrics,
    tenant: TenantRef,
    use_case: str,
    until: datetime,
    metric: str,
) -> list[datetime]:
    """Instants of predictions up to `until` that were not looked at before, in order.

    Looked at counts whether there was anything to measure or not: labels that are known do not
    change, and what is asked again every week for ever grows without bound.
    """
    history = live_metrics.history(tenant, use_case)
    measured = {one.as_of for one in history if one.metric == metric}
    instants = predictions.instants(tenant, use_case, until)
    return [at for at in instants if at not in measured]


def measure_live(
    tenant: TenantRef,
    use_case: str,
    served: Rows,
    labels: pa.Table,
    *,
    metric: str,
    as_of: datetime,
    measured_as_of: datetime,
    live_metrics: LiveMetrics,
) -> LiveMetric | None:
    """Join matured labels with what was served at `as_of` and store the metric.

    Args:
        served: in an experiment, what the challenger's arm was served is left out.
        labels: `entity_id` and `label`; for metrics of lists `item_id` too, where only positive
            rows count, also those of items that were never offered; and `group_id` where it was
            wanted within groups, each of them one piece of evidence.
        metric: any of `measures.ROWS` and `measures.LISTS`.
    Returns:
        None where nothing can be measured: no prediction has a label, or all labels are equal. That
        is kept too, as a metric without a value.
    """
    judge = judge_of(metric, labels)
    predictions = of_champion(served)
    version = predictions[0].model_version if predictions else ""
    measured = judge(predictions)
    if measured is None:
        nothing = LiveMetric(as_of, metric, version, math.nan, math.nan, 0, measured_as_of, 0.0)
        live_metrics.record(tenant, use_case, nothing)
        return None
    found = LiveMetric(
        as_of,
        metric,
        version,
        measured.value,
        measured.error,
        len(measured.entities),
        measured_as_of,
        measured.effective,
        measured.rates,
        _baseline(metric, predictions, judge),
    )
    live_metrics.record(tenant, use_case, found)
    return found


def of_champion(served: Rows) -> Rows:
    """What the champion served: in an experiment, its arm; all by one version."""
    return [one for one in served if one.arm != CHALLENGER_ARM]


def judge_of(metric: str, labels: pa.Table) -> Judge:
    """What measures scores against these labels.

    Raises:
        UnknownNameError: nobody knows the metric; the known ones are listed.
        ConfigError: the labels lack a column.
    """
    if metric not in ROWS and metric not in LISTS:
        raise UnknownNameError("live metric", metric, [*ROWS, *LISTS])
    keys = ("entity_id", "item_id") if metric in LISTS else ("entity_id",)
    missing = [name for name in (*keys, "label") if name not in labels.column_names]
    if missing:
        raise ConfigError(
            f"labels for {metric} lack {', '.join(missing)}; got columns: "
            f"{', '.join(labels.column_names)}"
        )
    names = [labels[key].cast(pa.string()).to_pylist() for key in keys]
    truth = labels["label"].to_pylist()
    if metric in LISTS:
        within = labels["group_id"].to_pylist() if "group_id" in labels.column_names else names[0]
        wanted: dict[tuple[str, str], set[str]] = {}
        for group, entity, item, label in zip(within, *names, truth, strict=True):
            if label:
                wanted.setdefault((group, entity), set()).add(item)
        return lambda rows: measure_lists(metric, _lists(rows), wanted)
    known = {e: t for e, t in zip(names[0], truth, strict=True) if t is not None}
    return lambda rows: _measure_rows(metric, rows, known)


def _measure_rows(metric: str, rows: Rows, known: Mapping[str, float]) -> EntityMetric | None:
    joined = sorted((row for row in rows if row.entity_id in known), key=lambda row: row.entity_id)
    entities = [row.entity_id for row in joined]
    outcome = np.array([known[entity] for entity in entities], dtype=np.float64)
    score = np.array([row.score for row in joined], dtype=np.float64)
    return measure_rows(metric, entities, outcome, score)


def _lists(rows: Rows) -> dict[str, list[str]]:
    """Every entity's items, best first."""
    lists: dict[str, list[str]] = {}
    for row in sorted(rows, key=lambda row: (row.entity_id, -row.score, row.item_id)):
        lists.setdefault(row.entity_id, []).append(row.item_id)
    return lists


def _baseline(metric: str, predictions: Rows, judge: Judge) -> float | None:
    """None where the baseline's scores, or all but the model's own best items, were not stored."""
    rows = [
        row._replace(score=row.baseline_score)
        for row in predictions
        if row.baseline_score is not None
    ]
    if len(rows) < len(predictions):
        return None
    if metric in LISTS and max(map(len, _lists(predictions).values())) <= TOP:
        return None
    measured = judge(rows)
    return None if measured is None else measured.value
