"""Live metrics in Postgres."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from psycopg.rows import DictRow

from include.models.rates import Rates
from include.monitoring.live_metrics import LiveMetric
from include.stores.postgres.statements import change, select
from include.tenants.namespace import TenantRef

_RECORD: Final = """
    INSERT INTO live_metrics (tenant_id, use_case, as_of, metric, model_version, value,
                              standard_error, baseline, labels, measured_as_of,
                              effective_labels, outcome_rate, expected_rate, rate_error)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (tenant_id, use_case, as_of, metric) DO UPDATE SET
        model_version = excluded.model_version, value = excluded.value,
        standard_error = excluded.standard_error, baseline = excluded.baseline,
        labels = excluded.labels,
        measured_as_of = excluded.measured_as_of, effective_labels = excluded.effective_labels,
        outcome_rate = excluded.outcome_rate, expected_rate = excluded.expected_rate,
        rate_error = excluded.rate_error
"""
_FORGET: Final = """
    DELETE FROM live_metrics WHERE tenant_id = %s AND use_case = %s AND as_of = ANY(%s)
"""
_HISTORY: Final = """
    SELECT as_of, metric, model_version, value, standard_error, labels, measured_as_of,
           coalesce(effective_labels, labels) AS effective, outcome_rate, expected_rate,
           rate_error, baseline
    FROM live_metrics WHERE tenant_id = %s AND use_case = %s ORDER BY as_of, metric
"""


class PostgresLiveMetrics:
    """The table `live_metrics`."""

    def record(self, tenant: TenantRef, use_case: str, measured: LiveMetric) -> None:
        """See `LiveMetrics.record`."""
        rates = measured.rates
        beside = [rates.outcome, rates.expected, rates.error] if rates else [None] * 3
        key = [tenant.id, use_case, measured.as_of]
        told = [measured.labels, measured.measured_as_of]
        value, error = (
            one if math.isfinite(one) else None for one in (measured.value, measured.error)
        )
        effective = None if value is None else measured.effective
        row = [measured.metric, measured.version, value, error, measured.baseline, *told, effective]
        change(tenant, _RECORD, [*key, *row, *beside])

    def forget(self, tenant: TenantRef, use_case: str, instants: Sequence[datetime]) -> None:
        """See `LiveMetrics.forget`."""
        change(tenant, _FORGET, [tenant.id, use_case, list(instants)])

    def history(self, tenant: TenantRef, use_case: str) -> list[LiveMetric]:
        """See `LiveMetrics.history`."""
        return [_metric(row) for row in select(tenant, _HISTORY, [tenant.id, use_case])]


def _metric(row: DictRow) -> LiveMetric:
    value, error = row["value"], row["standard_error"]
    return LiveMetric(
        row["as_of"],
        row["metric"],
        row["model_version"],
        math.nan if value is None else value,
        math.nan if value is None or error is None else error,
        row["labels"],
        row["measured_as_of"],
        row["effective"],
        _rates(row),
        row["baseline"],
    )


def _rates(row: DictRow) -> Rates | None:
    if row["outcome_rate"] is None:
        return None
    return Rates(row["outcome_rate"], row["expected_rate"], row["rate_error"])
