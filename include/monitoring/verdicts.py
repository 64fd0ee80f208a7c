"""What monitoring reads in Postgres: predictions and live metrics."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.models.measures import Rates
from include.storage.postgres import tenant_transaction
from include.tenants.namespace import TenantRef

#: Suffix of the metric that holds the standard error of another.
ERROR_SUFFIX = "_standard_error"


@dataclass(frozen=True)
class Live:
    """A metric of stored predictions on labels that matured later."""

    as_of: datetime  #: of the predictions
    version: str
    value: float
    error: float  #: standard error
    labels: int  #: entities measured
    effective: float = math.inf  #: of these, how many `error` rests on
    rates: Rates | None = None  #: of outcomes, where scores are probabilities
    baseline: float | None = None  #: the baseline's metric on the same labels, where it is known


def stored_predictions(
    tenant: TenantRef, use_case: str, as_of: datetime, features: pa.Table, keys: Sequence[str]
) -> npt.NDArray[np.float64] | None:
    """Scores in the order of `features`' rows; None unless every row has one.

    A ranking stores only the best items of an entity, which no reference can be compared with.
    """
    with tenant_transaction(tenant) as connection:
        rows = connection.execute(
            "SELECT entity_id, item_id, score FROM predictions "
            "WHERE tenant_id = %s AND use_case = %s AND as_of = %s",
            [tenant.id, use_case, as_of],
        ).fetchall()
    found = {(row["entity_id"], row["item_id"]): row["score"] for row in rows}
    columns = [features[key].cast(pa.string()).to_pylist() for key in keys[:2]]
    wanted = zip(columns[0], columns[1] if len(keys) > 1 else [""] * len(columns[0]), strict=True)
    scores = [found.get(row) for row in wanted]
    if not scores or None in scores:
        return None
    return np.asarray(scores, dtype=np.float64)


def live_figures(
    tenant: TenantRef, use_case: str, model_version: str, metric: str, as_of: datetime
) -> list[Live]:
    """The figures of one model that are known at `as_of`, oldest first."""
    figures = _live(tenant, use_case, metric, as_of)
    return [one for one in figures if one.version == model_version]


def season_figure(
    tenant: TenantRef, use_case: str, metric: str, at: datetime, near: timedelta
) -> Live | None:
    """The figure, of whatever model, closest to an instant of the past; None if none is near."""
    figures = _live(tenant, use_case, metric, at + 2 * near, measured=False)
    close = [one for one in figures if abs(one.as_of - at) <= near]
    return min(close, key=lambda one: (abs(one.as_of - at), one.as_of), default=None)


def _live(
    tenant: TenantRef, use_case: str, metric: str, as_of: datetime, *, measured: bool = True
) -> list[Live]:
    """Figures known at `as_of`, or of predictions up to then, whichever model made them."""
    with tenant_transaction(tenant) as connection:
        rows = connection.execute(
            "SELECT m.as_of, m.model_version, m.value, m.baseline, e.value AS error, m.labels, "
            "coalesce(m.effective_labels, m.labels) AS effective, "
            "m.outcome_rate, m.expected_rate, m.rate_error "
            "FROM live_metrics m JOIN live_metrics e "
            "ON (e.tenant_id, e.use_case, e.as_of, e.model_version, e.metric) = "
            "(m.tenant_id, m.use_case, m.as_of, m.model_version, m.metric || %s) "
            "WHERE m.tenant_id = %s AND m.use_case = %s AND m.metric = %s "
            "AND CASE WHEN %s THEN m.measured_as_of ELSE m.as_of END <= %s "
            "AND m.value IS NOT NULL AND e.value IS NOT NULL ORDER BY m.as_of",
            [ERROR_SUFFIX, tenant.id, use_case, metric, measured, as_of],
        ).fetchall()
    return [
        Live(
            row["as_of"],
            row["model_version"],
            row["value"],
            row["error"],
            row["labels"],
            row["effective"],
            _rates(row),
            row["baseline"],
        )
        for row in rows
    ]


def _rates(row: Mapping[str, Any]) -> Rates | None:
    if row["outcome_rate"] is None:
        return None
    return Rates(row["outcome_rate"], row["expected_rate"], row["rate_error"])
