"""The DAGs that belong to no single tenant: global models per use case, consent and retention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from airflow.sdk import DAG, BaseOperator, Param, TaskGroup
from airflow.sdk.definitions.timetables.interval import CronDataIntervalTimetable

from include.pipeline.dags import (
    AS_OF,
    AS_OF_TYPE,
    DEFAULT_ARGUMENTS,
    connect,
    garbage_uncollected,
    read_fleet,
    stage_tasks,
)
from include.pipeline.operators import (
    CheckpointOperator,
    ConsentOperator,
    LakeUpkeepOperator,
    RetentionOperator,
    TaskHistoryOperator,
)
from include.pipeline.stages import GLOBAL_SCHEDULE, GLOBAL_STAGES
from include.tenants.config import TenantConfig
from include.tenants.namespace import (
    CONSENT_DAG,
    GLOBAL,
    RETENTION_DAG,
    TenantRef,
    global_dag_id,
    split_dag_id,
)
from include.tenants.pooling import shared_use_cases

_RETENTION_SCHEDULE: Final = "0 2 * * *"
_CONSENT_SCHEDULE: Final = "0 1 * * *"


def platform_dags(wanted: str | None) -> list[DAG]:
    """All of them, or only the one that is wanted (when a task is about to run)."""
    builders = {RETENTION_DAG: _retention, CONSENT_DAG: _consent}
    dags = [build() for name, build in builders.items() if wanted in (None, name)]
    if wanted is not None and split_dag_id(wanted)[0] != GLOBAL.id:
        return dags
    with garbage_uncollected():
        dags += [
            _global(name, pools)
            for name, pools in sorted(shared_use_cases(read_fleet().tenants.values()).items())
            if wanted in (None, global_dag_id(name))
        ]
    return dags


def _retention() -> DAG:
    """Forgets whatever is older than a tenant's `retention`, in every place that holds it.

    Of everybody there is data of: tenants, also after their last day, those that were removed, and
    the platform. Who fails is named at the end, after all others are done. Data whose tenant file
    was deleted is sealed first. Counts back from the end of the run's interval. `task_history`
    deletes runs in Airflow, with XCom and logs, older than TENANTRY_RUN_RETENTION_DAYS.
    Running it again changes nothing.
    Whatever became of that, `lake_upkeep` puts small files of the lake together and deletes those
    that no version on record needs, of a twenty-eighth of the tenants a night; and a `checkpoint`
    of the audit chains is written (`tenantry audit verify`).
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
        retention = RetentionOperator(**DEFAULT_ARGUMENTS, task_id="retention")
        upkeep = LakeUpkeepOperator(
            **DEFAULT_ARGUMENTS, task_id="lake_upkeep", trigger_rule="all_done"
        )
        TaskHistoryOperator(**DEFAULT_ARGUMENTS, task_id="task_history")
        checkpoint = CheckpointOperator(
            **DEFAULT_ARGUMENTS, task_id="checkpoint", trigger_rule="all_done"
        )
        retention >> [checkpoint, upkeep]
    return dag


def _consent() -> DAG:
    """Withdraws what was made of the data of tenants that do not consent to pooling any more.

    Global versions first, then what came from them at every tenant: who serves gives way as in
    `tenantry rollback --derived-from`, and nobody puts it back. Running it again does what is left.
    At once: `tenantry tenants withdraw-consent TENANT`.
    """
    with DAG(
        CONSENT_DAG,
        description="Carry withdrawn consent to whatever serves",
        doc_md=_consent.__doc__,
        schedule=CronDataIntervalTimetable(_CONSENT_SCHEDULE, "UTC"),
        start_date=datetime(2017, 1, 1, tzinfo=UTC),
        catchup=False,
        is_paused_upon_creation=False,
        max_active_runs=1,
        tags=["platform", "consent"],
    ) as dag:
        ConsentOperator(**DEFAULT_ARGUMENTS, task_id="consent")
    return dag


def _global(use_case: str, pools: Mapping[TenantRef, Sequence[TenantConfig]]) -> DAG:
    """Trains the global models of a use case: one over the tenants of each region that consented
    to pooling, and one over those of all regions that consented to that.

    First, what is not consented to any more is withdrawn. Then a group of tasks per owner of such
    models; what fails in one of them stops no other.
    """
    members = [tenant for tenants in pools.values() for tenant in tenants]
    ends = [tenant.history_until for tenant in members]
    with DAG(
        global_dag_id(use_case),
        description=f"Global {use_case} models",
        doc_md=_global.__doc__,
        schedule=CronDataIntervalTimetable(GLOBAL_SCHEDULE, "UTC"),
        start_date=min(tenant.history_start for tenant in members),
        end_date=None if None in ends else max(end for end in ends if end),
        catchup=False,
        is_paused_upon_creation=False,
        max_active_runs=1,
        tags=sorted({GLOBAL.id, use_case}),
    ) as dag:
        consent = ConsentOperator(**DEFAULT_ARGUMENTS, task_id="consent", use_case=use_case)
        for owner in pools:
            with TaskGroup(owner.id):
                consent >> _trained(use_case, owner)
    dag.params["as_of"] = Param(None, description=AS_OF, **AS_OF_TYPE)
    return dag


def _trained(use_case: str, owner: TenantRef) -> BaseOperator:
    """The tasks of one global model; the first of them.

    A tenant that consent could not be carried to does not hold it up: training withdraws what its
    own owner may not have any more, before all else.
    """
    tasks = stage_tasks(GLOBAL_STAGES, use_case=use_case, models_of=owner.id)
    connect(tasks, GLOBAL_STAGES)
    return tasks[GLOBAL_STAGES[0].name]
