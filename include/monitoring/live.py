"""How well earlier predictions did, once their labels have matured: model and baseline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import pyarrow as pa

from include.errors import ConfigError, UnknownNameError
from include.models.measures import LISTS, ROWS, TOP, Measured, measure_lists, measure_rows
from include.monitoring.verdicts import ERROR_SUFFIX
from include.registry.experiments import CHALLENGER_ARM
from include.storage.postgres import tenant_transaction
from include.tenants.namespace import TenantRef

Rows = Sequence[Mapping[str, Any]]
_Truth = Callable[[Rows, str], Measured | None]
_MODEL: Final = "score"
_BASELINE: Final = "baseline_score"


@dataclass(frozen=True)
class LiveMetric:
    """One metric of the predictions of one instant; it rises with quality."""

    as_of: datetime
    metric: str
    model_version: str
    value: float
    error: float  #: standard error of `value`
    baseline: float | None
    labels: int  #: entities measured


def awaiting_labels(
    tenant: TenantRef, use_case: str, horizon: timedelta, as_of: datetime, metric: str
) -> list[datetime]:
    """Instants of predictions whose labels are known at `as_of`, in order.

    Without those that were looked at before, whether there was anything to measure or not: labels
    that are known do not change, and what is asked again every week for ever grows without bound.
    """
    with tenant_transaction(tenant) as connection:
        rows = connection.execute(
            "SELECT DISTINCT p.as_of FROM predictions p WHERE p.tenant_id = %s AND p.use_case = %s "
            "AND p.as_of <= %s AND NOT EXISTS (SELECT FROM live_metrics m WHERE "
            "(m.tenant_id, m.use_case, m.as_of, m.metric) = "
            "(p.tenant_id, p.use_case, p.as_of, %s)) ORDER BY p.as_of",
            [tenant.id, use_case, as_of - horizon, metric],
        ).fetchall()
    return [row["as_of"] for row in rows]


def forget(tenant: TenantRef, use_case: str, instants: Sequence[datetime]) -> None:
    """Take back what was measured on labels that are not known after all; they wait again."""
    with tenant_transaction(tenant) as connection:
        connection.execute(
            "DELETE FROM live_metrics WHERE tenant_id = %s AND use_case = %s AND as_of = ANY(%s)",
            [tenant.id, use_case, list(instants)],
        )


def measured(tenant: TenantRef, use_case: str, as_of: datetime) -> list[datetime]:
    """Instants of predictions up to `as_of` that were measured, in order."""
    with tenant_transaction(tenant) as connection:
        rows = connection.execute(
            "SELECT DISTINCT as_of FROM live_metrics "
            "WHERE tenant_id = %s AND use_case = %s AND as_of <= %s ORDER BY as_of",
            [tenant.id, use_case, as_of],
        ).fetchall()
    return [row["as_of"] for row in rows]


def measure_live(
    tenant: TenantRef,
    use_case: str,
    labels: pa.Table,
    *,
    metric: str,
    as_of: datetime,
    measured_as_of: datetime,
) -> LiveMetric | None:
    """Join matured labels with the predictions made at `as_of` and store the metric.

    Args:
        labels: `entity_id` and `label`; for metrics of lists `item_id` too, where only positive
            rows count, also those of items that were never offered; and `group_id` where it was
            wanted within groups, each of them one piece of evidence.
        metric: any of `measures.ROWS` and `measures.LISTS`.
    Returns:
        None where nothing can be measured: no prediction has a label, or all labels are equal. That
        is kept too, as a metric without a value.
    """
    judge = judge_of(metric, labels)
    predictions = predictions_of(tenant, use_case, as_of)
    measured = judge(predictions, _MODEL)
    version = predictions[0]["model_version"] if predictions else ""
    figures: list[tuple[str, float | None, float | None, list[float | None]]]
    if measured is None:
        count, baseline = 0, None
        figures = [(metric, None, None, [None] * 4)]
    else:
        count, baseline = len(measured.entities), _baseline(metric, predictions, judge)
        error = measured.error if np.isfinite(measured.error) else None
        rates = measured.rates
        beside = [rates.outcome, rates.expected, rates.error] if rates else [None] * 3
        figures = [
            (metric, measured.value, baseline, [measured.effective, *beside]),
            (metric + ERROR_SUFFIX, error, None, [None] * 4),
        ]
    with tenant_transaction(tenant) as connection:
        for name, figure, compared, four in figures:
            connection.execute(
                "INSERT INTO live_metrics (tenant_id, use_case, as_of, metric, model_version, "
                "value, baseline, labels, measured_as_of, effective_labels, outcome_rate, "
                "expected_rate, rate_error) "
                "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
                "ON CONFLICT (tenant_id, use_case, as_of, metric) DO UPDATE SET "
                "model_version = excluded.model_version, value = excluded.value, "
                "baseline = excluded.baseline, labels = excluded.labels, "
                "measured_as_of = excluded.measured_as_of, "
                "effective_labels = excluded.effective_labels, "
                "outcome_rate = excluded.outcome_rate, "
                "expected_rate = excluded.expected_rate, rate_error = excluded.rate_error",
                [
                    *(tenant.id, use_case, as_of, name, version, figure, compared, count),
                    *(measured_as_of, *four),
                ],
            )
    if measured is None:
        return None
    return LiveMetric(as_of, metric, version, measured.value, measured.error, baseline, count)


def predictions_of(tenant: TenantRef, use_case: str, as_of: datetime) -> Rows:
    """The predictions of one instant, each entity's best first; all by one version.

    In an experiment, those of the champion's arm.
    """
    with tenant_transaction(tenant) as connection:
        return connection.execute(
            "SELECT entity_id, item_id, rank, score, baseline_score, model_version "
            "FROM predictions WHERE tenant_id = %s AND use_case = %s AND as_of = %s "
            "AND arm IS DISTINCT FROM %s ORDER BY entity_id, rank, item_id",
            [tenant.id, use_case, as_of, CHALLENGER_ARM],
        ).fetchall()


def judge_of(metric: str, labels: pa.Table) -> _Truth:
    """What measures the scores of a column of predictions against these labels.

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
        return lambda rows, by: measure_lists(metric, _lists(rows, by), wanted)
    known = {e: t for e, t in zip(names[0], truth, strict=True) if t is not None}
    return lambda rows, by: _measure_rows(metric, rows, known, by)


def _measure_rows(metric: str, rows: Rows, known: Mapping[str, float], by: str) -> Measured | None:
    joined = sorted((r for r in rows if r["entity_id"] in known), key=lambda r: str(r["entity_id"]))
    entities = [row["entity_id"] for row in joined]
    outcome = np.array([known[entity] for entity in entities], dtype=np.float64)
    score = np.array([row[by] for row in joined], dtype=np.float64)
    return measure_rows(metric, entities, outcome, score)


def _lists(rows: Rows, by: str) -> dict[str, list[str]]:
    """Every entity's items, best first."""
    found: dict[str, list[str]] = {}
    for row in sorted(rows, key=lambda r: (str(r["entity_id"]), -r[by], str(r["item_id"]))):
        found.setdefault(row["entity_id"], []).append(row["item_id"])
    return found


def _baseline(metric: str, predictions: Rows, judge: _Truth) -> float | None:
    """None where the baseline's scores, or all but the model's own best items, were not stored."""
    if any(row[_BASELINE] is None for row in predictions):
        return None
    if metric in LISTS and max(map(len, _lists(predictions, _MODEL).values())) <= TOP:
        return None
    measured = judge(predictions, _BASELINE)
    return None if measured is None else measured.value
