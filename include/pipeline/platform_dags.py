"""The DAGs that belong to no single tenant: one global model per use case, and retention."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from airflow.sdk import DAG, Param
from airflow.sdk.definitions.timetables.interval import CronDataIntervalTimetable

from include.pipeline.dags import (
    AS_OF,
    AS_OF_TYPE,
    DEFAULT_ARGUMENTS,
    TRAINING_POOL,
    garbage_uncollected,
    read_fleet,
)
from include.pipeline.operators import RetentionOperator, StageOperator
from include.tenants.config import TenantConfig
from include.tenants.namespace import GLOBAL, RETENTION_DAG, global_dag_id, split_dag_id

_GLOBAL_SCHEDULE: Final = "0 5 1 * *"
_RETENTION_SCHEDULE: Final = "0 2 * * *"


def platform_dags(wanted: str | None) -> list[DAG]:
    """All of them, or only the one that is wanted (when a task is about to run)."""
    found = [_retention()] if wanted in (None, RETENTION_DAG) else []
    if wanted is not None and split_dag_id(wanted)[0] != GLOBAL.id:
        return found
    with garbage_uncollected():
        pooled = [tenant for tenant in read_fleet().tenants.values() if tenant.pooling.consent]
        return found + [
            _global(name, [tenant for tenant in pooled if name in tenant.use_cases])
            for name in sorted({name for tenant in pooled for name in tenant.use_cases})
            if wanted in (None, global_dag_id(name))
        ]


def _retention() -> DAG:
    """Forgets events, predictions and quarantined rows that are older than a tenant's `retention`.

    Counts back from the end of the run's interval, for a tenant whose contract is over from its
    last day. Running it again changes nothing.
    """
    with DAG(
        RETENTION_DAG,
        description="Apply every tenant's retention",
        doc_md=_retention.__doc__,
        schedule=CronDataIntervalTimetable(_RETENTION_SCHEDULE, "UTC"),
        start_date=datetime(2017, 1, 1, tzinfo=UTC),
        catchup=False,
        is_paused_upon_creation=False,
        max_active_runs=1,
        tags=["platform", "retention"],
    ) as dag:
        RetentionOperator(**DEFAULT_ARGUMENTS, task_id="retention")
    return dag


def _global(use_case: str, tenants: Iterable[TenantConfig]) -> DAG:
    """Trains the global model of a use case over the tenants that consented to pooling."""
    members = list(tenants)
    ends = [tenant.history_until for tenant in members]
    with DAG(
        global_dag_id(use_case),
        description=f"Global {use_case} model",
        doc_md=_global.__doc__,
        schedule=CronDataIntervalTimetable(_GLOBAL_SCHEDULE, "UTC"),
        start_date=min(tenant.history_start for tenant in members),
        end_date=None if None in ends else max(end for end in ends if end),
        catchup=False,
        is_paused_upon_creation=False,
        max_active_runs=1,
        tags=sorted({GLOBAL.id, use_case}),
    ) as dag:
        training = StageOperator(
            **DEFAULT_ARGUMENTS,
            task_id="training",
            stage="training",
            use_case=use_case,
            pool=TRAINING_POOL,
        )
        registry = StageOperator(
            **DEFAULT_ARGUMENTS, task_id="registry", stage="registry", use_case=use_case
        )
        training >> registry
    dag.params["as_of"] = Param(None, description=AS_OF, **AS_OF_TYPE)
    return dag
