"""A tenant's three DAGs. Parsing reads the tenants' YAML and nothing else."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, BaseOperator, Param, TaskGroup
from airflow.sdk.definitions.timetables.interval import CronDataIntervalTimetable

from include import use_cases
from include.errors import ConfigError
from include.pipeline.drift_sensor import DriftSensor
from include.pipeline.operators import DRIFT_RUN, DecidingOperator, StageOperator
from include.pipeline.stages import (
    RETRAIN_STAGES,
    TENANT_STAGES,
    USE_CASE_STAGES,
    Stage,
    upstream,
)
from include.tenants.config import TenantConfig
from include.tenants.loader import Fleet, find_tenant, load_fleet, tenants_folder
from include.tenants.namespace import GLOBAL, dag_id, split_dag_id

log = logging.getLogger(__name__)

#: A killed or failed task is run again by Airflow: every one of ours may be.
#: Passed to each operator: Airflow copies a DAG's `default_args` deeply for every single task.
DEFAULT_ARGUMENTS: Final[dict[str, Any]] = {
    "owner": "tenantry",
    "retries": 3,
    "retry_delay": timedelta(seconds=5),
    "execution_timeout": timedelta(hours=2),
}
#: Waiting has no time limit.
WATCH_ARGUMENTS: Final = {k: v for k, v in DEFAULT_ARGUMENTS.items() if k != "execution_timeout"}
_PIPELINE: Final = (*TENANT_STAGES, *USE_CASE_STAGES)
AS_OF: Final = "Train with what was known then; null for the last interval."
AS_OF_TYPE: Final[dict[str, Any]] = {"type": ["null", "string"], "format": "date-time"}
REASON_LENGTH: Final = 500


def tenant_dags(wanted: str | None) -> list[DAG]:
    """Every tenant's DAGs, or only the one that is wanted (when a task is about to run).

    A bad tenant file costs that tenant only: it is logged here and shown by `tenantry tenants
    check`.
    """
    if wanted is None:
        with garbage_uncollected():
            return [dag for tenant in read_fleet().tenants.values() for dag in _build(tenant)]
    tenant_id, kind = split_dag_id(wanted)
    if kind not in _BUILDERS or tenant_id == GLOBAL.id:
        return []
    try:
        tenant = find_tenant(tenants_folder(), tenant_id, use_cases.names())
    except ConfigError as error:
        log.warning("%s", error)
        return []
    return _build(tenant, kind)


def _build(tenant: TenantConfig, *kinds: str) -> list[DAG]:
    try:
        return [_BUILDERS[kind](tenant) for kind in kinds or _BUILDERS]
    except Exception:  # whatever Airflow dislikes about one tenant, the others go on
        log.exception("no DAGs for tenant %s", tenant.id)
        return []


@contextmanager
def garbage_uncollected() -> Iterator[None]:
    """A thousand tenants are millions of objects, all of them kept: looking for garbage among them
    takes a fifth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def read_fleet() -> Fleet:
    """All good tenants; what is wrong with the others goes to the log."""
    fleet = load_fleet(tenants_folder(), use_cases.names())
    for problems in fleet.problems.values():
        for problem in problems:
            log.warning("tenant file ignored: %s", problem)
    return fleet


def _pipeline(tenant: TenantConfig) -> DAG:
    """Ingests, checks, scores and watches one interval; trains when training is due.

    `materialization` brings the online store up to the interval's end; `monitoring` also computes
    vectors of some windows again (`tenantry features skew`).

    **Rerun** any task or run: the same interval gives the same rows. **Backfill** with *Trigger →
    Backfill*, `tenantry airflow backfill create` or the REST API. The first run also loads
    the history since `history_from`. `use_cases` limits a run to some use cases; an empty list only
    loads data.
    """
    with _dag(
        tenant,
        "pipeline",
        doc=_pipeline.__doc__,
        schedule=CronDataIntervalTimetable(tenant.schedule, tenant.timezone),
    ) as dag:
        shared = stage_tasks(TENANT_STAGES)
        connect(shared, TENANT_STAGES)
        for name in tenant.use_cases:
            with TaskGroup(name):
                tasks = stage_tasks(USE_CASE_STAGES, use_case=name)
                connect({**shared, **tasks}, _PIPELINE, only=tasks)
    dag.params["use_cases"] = Param(
        None,
        type=["null", "array"],
        items={"type": "string", "enum": list(tenant.use_cases)},
        description="Only these use cases; empty for none, null for all.",
    )
    dag.params["report"] = Param(
        False, type="boolean", description="Draw Evidently's report even where nothing drifted."
    )
    return dag


def _retrain(tenant: TenantConfig) -> DAG:
    """Trains one use case again as of an instant, compares with what serves, and rescores.

    Triggered by `drift_watch`, or by hand with a `reason` of your own. The outcome lands in the
    retrain ledger: `tenantry why TENANT USE_CASE` prints it.
    """
    with _dag(
        tenant,
        "retrain",
        doc=_retrain.__doc__,
        schedule=None,
    ) as dag:
        connect(stage_tasks(RETRAIN_STAGES, use_case=""), RETRAIN_STAGES)
    dag.params["use_case"] = Param(
        next(iter(tenant.use_cases)), type="string", enum=list(tenant.use_cases)
    )
    dag.params["as_of"] = Param(None, description=AS_OF, **AS_OF_TYPE)
    dag.params["reason"] = Param("by hand", type="string", maxLength=REASON_LENGTH)
    return dag


def _drift_watch(tenant: TenantConfig) -> DAG:
    """Waits in the triggerer for a retrain request of any use case and triggers `retrain`."""
    with _dag(
        tenant,
        "drift_watch",
        doc=_drift_watch.__doc__,
        schedule="@continuous",
    ) as dag:
        for name in tenant.use_cases:
            with TaskGroup(name):
                drift = DriftSensor(
                    **WATCH_ARGUMENTS,
                    task_id="drift",
                    tenant_id=tenant.id,
                    region=tenant.region,
                    isolation=tenant.isolation,
                    use_case=name,
                    poke_interval=2,
                )
                answer = f"ti.xcom_pull(task_ids='{name}.drift')"
                retrain = TriggerDagRunOperator(
                    **WATCH_ARGUMENTS,
                    task_id="retrain",
                    trigger_dag_id=dag_id(tenant.id, "retrain"),
                    trigger_run_id=f"{DRIFT_RUN}{name}__{{{{ {answer}['as_of'] }}}}",
                    conf={
                        "use_case": name,
                        "as_of": f"{{{{ {answer}['as_of'] }}}}",
                        "reason": f"drift: {{{{ {answer}['reason'][:{REASON_LENGTH - 7}] }}}}",
                    },
                    logical_date=None,
                    wait_for_completion=True,
                    deferrable=True,
                    poke_interval=2,
                    skip_when_already_exists=True,
                )
                drift >> retrain
    return dag


_BUILDERS: Final = {"pipeline": _pipeline, "retrain": _retrain, "drift_watch": _drift_watch}


def stage_tasks(flow: Sequence[Stage], **about: Any) -> dict[str, BaseOperator]:
    """A task per stage that has its own, by its name; `about` says what they are about."""
    tasks: dict[str, BaseOperator] = {}
    for stage in flow:
        if stage.along_with:
            continue
        operator = DecidingOperator if stage.decides else StageOperator
        tasks[stage.name] = operator(
            **DEFAULT_ARGUMENTS,
            task_id=stage.name,
            stage=stage.name,
            doc_md=stage.summary,
            trigger_rule=stage.trigger_rule,
            pool=stage.pool,
            **about,
        )
    return tasks


def connect(
    tasks: Mapping[str, BaseOperator], flow: tuple[Stage, ...], only: Iterable[str] | None = None
) -> None:
    """Let the tasks of stages (of `only`, if given) follow those of the stages before them."""
    for name in tasks if only is None else only:
        for earlier in upstream(name, flow):
            tasks[earlier] >> tasks[name]


def _dag(tenant: TenantConfig, kind: str, *, doc: str | None, **settings: Any) -> DAG:
    """A DAG of the tenant's, without params: Airflow copies those it has into every new task."""
    return DAG(
        dag_id(tenant.id, kind),
        description=f"{kind.replace('_', ' ')} of {tenant.id}",
        doc_md=doc,
        start_date=tenant.history_start,
        end_date=tenant.history_until if kind == "pipeline" else None,
        catchup=False,
        is_paused_upon_creation=False,
        max_active_runs=1,
        max_active_tasks=tenant.quota.concurrent_tasks,
        tags=sorted({tenant.id, tenant.region, kind, *tenant.use_cases}),
        **settings,
    )
