"""What holds for every generated DAG."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG
from airflow.sdk.definitions.timetables.interval import CronDataIntervalTimetable
from airflow.serialization.serialized_objects import DagSerialization

from include import use_cases
from include.cli import global_models
from include.pipeline.stages import GLOBAL_STAGES, RETRAIN_STAGES, TENANT_STAGES, USE_CASE_STAGES
from include.runtime import settings
from include.tenants.loader import load_fleet
from include.tenants.namespace import CONSENT_DAG, GLOBAL, RETENTION_DAG, split_dag_id
from tests.fleet import REGIONS

PROJECT = Path(__file__).resolve().parents[2]
PLATFORM = {CONSENT_DAG, RETENTION_DAG}
POOLS = {pool.pool_name for pool in settings.load().pools} | {"default_pool"}


@pytest.fixture(scope="module")
def bag(fleet: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DagBag]:
    """The project's DAG folder as Airflow collects it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENANTRY_TENANTS", str(fleet))
        yield DagBag(dag_folder=PROJECT / "dags", bundle_name="tenantry", known_pools=POOLS)


@pytest.fixture(scope="module")
def dags(bag: DagBag) -> dict[str, DAG]:
    """Every DAG by id."""
    return dict(bag.dags)


def test_the_folder_imports_without_error_or_warning(bag: DagBag, dags: dict[str, DAG]) -> None:
    """Airflow collects three DAGs per tenant, one per use case, and the platform's own."""
    assert bag.import_errors == {}
    assert not bag.captured_warnings
    assert len(dags) == 3 * 12 + 2 + len(PLATFORM)


def test_ids_name_the_tenant_and_the_kind(dags: dict[str, DAG], fleet: Path) -> None:
    """`{tenant}.{kind}` for tenants there are, `global.{use_case}` for use cases there are."""
    tenants = load_fleet(fleet, use_cases.names()).tenants
    for dag_id in dags:
        owner, kind = split_dag_id(dag_id)
        if owner == GLOBAL.id:
            assert kind in use_cases.names()
        elif dag_id not in PLATFORM:
            assert owner in tenants
            assert kind in ("pipeline", "retrain", "drift_watch")


def test_tags_find_a_tenant_a_region_a_kind_and_a_use_case(
    dags: dict[str, DAG], fleet: Path
) -> None:
    """The UI's filter leads to one tenant's DAGs, and to no other tenant's."""
    tenants = load_fleet(fleet, use_cases.names()).tenants
    for dag_id, dag in dags.items():
        owner, kind = split_dag_id(dag_id)
        expected = (
            {owner, kind}
            if owner == GLOBAL.id or dag_id in PLATFORM
            else {owner, kind, tenants[owner].region, *tenants[owner].use_cases}
        )
        assert set(dag.tags) == expected, dag_id


def test_every_dag_explains_itself(dags: dict[str, DAG]) -> None:
    """The runbook is the builder's docstring; the description is one line."""
    for dag_id, dag in dags.items():
        assert dag.doc_md, dag_id
        assert len(dag.doc_md.strip()) > 40, dag_id
        assert dag.description, dag_id
        assert "\n" not in dag.description, dag_id


def test_every_task_is_owned_retried_and_in_a_pool_that_exists(dags: dict[str, DAG]) -> None:
    """A pool missing from airflow_settings.yaml would leave its tasks waiting for ever."""
    for dag_id, dag in dags.items():
        for task in dag.tasks:
            where = f"{dag_id} {task.task_id}"
            assert task.owner == "tenantry", where
            assert task.retries >= 2, where
            assert task.retry_delay <= timedelta(minutes=1), where
            assert task.pool in POOLS, where
    training = [t for dag in dags.values() for t in dag.tasks if t.task_id.endswith("training")]
    assert {task.pool for task in training} == {"training"}


def test_every_stage_has_a_time_limit_and_no_watch_has(dags: dict[str, DAG]) -> None:
    """A hung stage ends by itself; waiting for drift goes on for ever."""
    for dag_id, dag in dags.items():
        for task in dag.tasks:
            limited = task.execution_timeout is not None
            assert limited == (split_dag_id(dag_id)[1] != "drift_watch"), (dag_id, task.task_id)


def test_no_run_is_made_up_and_none_overlaps(dags: dict[str, DAG]) -> None:
    """Nothing is caught up unasked, and two runs of a DAG never write at once."""
    for dag_id, dag in dags.items():
        assert dag.catchup is False, dag_id
        assert dag.max_active_runs == 1, dag_id
        assert dag.start_date is not None, dag_id
        assert dag.start_date.utcoffset() is not None, dag_id


def test_scheduled_dags_have_real_data_intervals(dags: dict[str, DAG], fleet: Path) -> None:
    """Backfills do the right days: the schedule is the tenant's, in its time zone, as intervals."""
    tenants = load_fleet(fleet, use_cases.names()).tenants
    for dag_id, dag in dags.items():
        owner, kind = split_dag_id(dag_id)
        if kind == "pipeline":
            tenant = tenants[owner]
            assert dag.timetable == CronDataIntervalTimetable(tenant.schedule, tenant.timezone)
            assert dag.start_date.astimezone(UTC) == tenant.history_start.astimezone(UTC)
        elif owner == GLOBAL.id:
            assert isinstance(dag.timetable, CronDataIntervalTimetable), dag_id


def test_a_quota_limits_a_tenants_tasks(dags: dict[str, DAG], fleet: Path) -> None:
    """`quota.concurrent_tasks` is the DAG's own limit."""
    tenants = load_fleet(fleet, use_cases.names()).tenants
    for dag_id, dag in dags.items():
        owner, _ = split_dag_id(dag_id)
        if owner in tenants:
            assert dag.max_active_tasks == tenants[owner].quota.concurrent_tasks


def test_params_are_checked_before_a_run_starts(dags: dict[str, DAG]) -> None:
    """What a person may pass is typed; use cases are the tenant's own; free text is bounded."""
    for dag_id, dag in dags.items():
        _, kind = split_dag_id(dag_id)
        for name in dag.params:
            schema = dag.params.get_param(name).schema
            assert schema.get("type"), (dag_id, name)
            if name == "use_case":
                assert schema["enum"] == ["churn", "recommendation"]
            if name == "reason":
                assert schema["maxLength"] <= 1000
        if kind == "retrain":
            assert set(dag.params) == {"use_case", "as_of", "reason"}


def test_only_the_trigger_of_a_retrain_renders_templates(dags: dict[str, DAG]) -> None:
    """What a template holds is ours alone: ids that matched their pattern, and no tenant's text."""
    allowed = re.compile(
        r"ti\.xcom_pull\(task_ids='[a-z0-9_]+\.drift'\)\['(as_of|reason)'\](\[:\d+\])?"
    )
    for dag_id, dag in dags.items():
        for task in dag.tasks:
            texts = json.dumps([getattr(task, f, None) for f in task.template_fields], default=str)
            expressions = [found.strip() for found in re.findall(r"\{\{(.*?)\}\}", texts)]
            assert all(allowed.fullmatch(e) for e in expressions), (dag_id, task.task_id)
            assert "{%" not in texts
            if expressions:
                assert task.task_id.endswith("retrain")


def test_a_hostile_name_and_column_reach_no_dag(
    fleet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Text that only the tenant chose stays in its file, so no page or template ever shows it."""
    from include.pipeline.dags import tenant_dags

    text = (fleet / "tenant-0001.yaml").read_text()
    text = text.replace("name: Tenant 1", 'name: "{{ conn.x }}<script>"')
    text = text.replace("user_id: customer", 'user_id: "{{ 7 * 7 }}"')
    (tmp_path / "tenant-0001.yaml").write_text(text)
    monkeypatch.setenv("TENANTRY_TENANTS", str(tmp_path))
    built = tenant_dags(None)
    assert len(built) == 3
    for dag in built:
        serialised = json.dumps(DagSerialization.to_dict(dag))
        assert "conn.x" not in serialised
        assert "<script>" not in serialised
        assert "7 * 7" not in serialised


def test_the_same_tasks_serve_a_use_case_everywhere(dags: dict[str, DAG]) -> None:
    """A task per stage that has its own, by its name, in a group per use case or owner."""
    stages = [stage.name for stage in USE_CASE_STAGES if not stage.along_with]
    of_global = [stage.name for stage in GLOBAL_STAGES]
    for dag_id, dag in dags.items():
        owner, kind = split_dag_id(dag_id)
        found: set[Any] = set(dag.task_ids)
        if owner == GLOBAL.id:
            pools = [f"global-{r}.{s}" for r in REGIONS for s in of_global]
            assert found == {"consent", *pools}
        elif kind == "pipeline":
            cases = [f"{case}.{s}" for case in ("churn", "recommendation") for s in stages]
            assert found == {*(stage.name for stage in TENANT_STAGES), *cases}
        elif kind == "retrain":
            assert found == {stage.name for stage in RETRAIN_STAGES if not stage.along_with}


def test_the_command_trains_the_global_models_that_the_dags_train(
    dags: dict[str, DAG], fleet: Path
) -> None:
    """`tenantry run` takes the names of the `global.` DAGs, each for the owners that it has."""
    tenants = load_fleet(fleet, use_cases.names()).tenants
    by_dag = {
        dag_id: {task.task_id.rpartition(".")[0] for task in dag.tasks} - {""}
        for dag_id, dag in dags.items()
        if split_dag_id(dag_id)[0] == GLOBAL.id
    }
    assert by_dag == {
        name: {owner.id for owner in owners}
        for name, (_, owners) in global_models(tenants.values()).items()
    }


def test_global_models_stop_each_other_nowhere(dags: dict[str, DAG]) -> None:
    """Every owner's are trained after consent was looked at, whatever came of that, and one's tasks
    wait for no other's."""
    for dag_id, dag in dags.items():
        if split_dag_id(dag_id)[0] != GLOBAL.id:
            continue
        for region in REGIONS:
            training = dag.get_task(f"global-{region}.training")
            assert training.upstream_task_ids == {"consent"}
            assert training.trigger_rule == "all_done"
            registry = dag.get_task(f"global-{region}.registry")
            assert registry.upstream_task_ids == {training.task_id}
            assert registry.trigger_rule == "all_success"
            assert not registry.downstream_task_ids


def test_the_online_store_delays_no_use_case(dags: dict[str, DAG]) -> None:
    """Nothing waits for materialization; where tasks compete for a tenant's slots, features come
    first."""
    for dag_id, dag in dags.items():
        if split_dag_id(dag_id)[1] != "pipeline":
            continue
        materialization = dag.get_task("materialization")
        assert materialization.upstream_task_ids == {"quality"}
        assert not materialization.downstream_task_ids
        for task in (materialization, dag.get_task("churn.features")):
            assert task.weight_rule == "downstream"  # itself, and all that follow
            assert task.priority_weight == 1
        follow = [
            t.get_flat_relative_ids() for t in (materialization, dag.get_task("churn.features"))
        ]
        assert len(follow[0]) < len(follow[1])
