"""The same DAGs on a CeleryExecutor with a Redis, started by compose's own commands."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from celery_deployment import COMPONENTS, Deployment
from psycopg.rows import dict_row

pytestmark = pytest.mark.integration

PIPELINE = "corner-shop.pipeline"
RUN_SECONDS = 420


def _finished(deployment: Deployment, run_id: str) -> dict[str, Any]:
    """The run, once it is over."""
    deadline = time.monotonic() + RUN_SECONDS
    while time.monotonic() < deadline:
        for run in deployment.api.runs(PIPELINE):
            if run["dag_run_id"] == run_id and run["state"] in ("success", "failed"):
                return run
        time.sleep(1)
    tasks = deployment.api.call("GET", f"/dags/{PIPELINE}/dagRuns/{run_id}/taskInstances")
    states = {task["task_id"]: task["state"] for task in tasks["task_instances"]}
    pytest.fail(f"{run_id} does not end: {states}\n{deployment.log('worker')}")


@pytest.fixture(scope="module")
def run(deployment: Deployment) -> dict[str, Any]:
    """One run of the tenant's pipeline, as of the first of July."""
    deadline = time.monotonic() + 120
    while PIPELINE not in deployment.api.dag_ids():
        assert time.monotonic() < deadline, deployment.log("dag-processor")
        time.sleep(1)
    deployment.api.trigger(PIPELINE, "by-test", {}, datetime(2024, 7, 1, tzinfo=UTC))
    return _finished(deployment, "by-test")


def _rows(deployment: Deployment, query: str) -> list[dict[str, Any]]:
    url = deployment.environments["worker"]["TENANTRY_DATABASE_URL"]
    with psycopg.connect(url, row_factory=dict_row) as connection:
        connection.execute("SELECT set_config('tenantry.tenant', 'corner-shop', true)")
        connection.execute("SET search_path = tenantry")
        return connection.execute(query).fetchall()  # type: ignore[arg-type]


def _task_log(deployment: Deployment, task: str) -> str:
    folder = deployment.state.logs / "tasks" / f"dag_id={PIPELINE}"
    logs = sorted(folder.rglob(f"task_id={task}/*.log"))
    return logs[-1].read_text()[-3000:] if logs else "no log"


def test_a_pipeline_run_succeeds(deployment: Deployment, run: dict[str, Any]) -> None:
    """Every task of both use cases ends well, on a worker that knows no superuser."""
    failed = deployment.api.failed_tasks(PIPELINE, "by-test")
    told = "\n".join(_task_log(deployment, task) for task in failed)
    assert run["state"] == "success", f"{failed}\n{told}"
    tasks = deployment.api.call("GET", f"/dags/{PIPELINE}/dagRuns/by-test/taskInstances")
    states = {task["task_id"]: task["state"] for task in tasks["task_instances"]}
    for use_case in ("churn", "recommendation"):
        for stage in ("features", "scoring", "monitoring"):
            assert states[f"{use_case}.{stage}"] == "success", states


def test_the_worker_executed_the_tasks(deployment: Deployment, run: dict[str, Any]) -> None:
    """The tasks went through Redis to the Celery worker, and nowhere else."""
    tasks = deployment.api.call("GET", f"/dags/{PIPELINE}/dagRuns/by-test/taskInstances")
    executed = [task for task in tasks["task_instances"] if task["state"] == "success"]
    assert executed
    worker = (deployment.state.logs / "worker.log").read_text(errors="replace")
    assert worker.count("execute_workload") >= len(executed)


def test_the_run_left_data_predictions_and_decisions(
    deployment: Deployment, run: dict[str, Any]
) -> None:
    """Slices, quality results, promotions and predictions of both use cases are in Postgres."""
    for use_case in ("churn", "recommendation"):
        predictions = _rows(
            deployment,
            f"SELECT DISTINCT as_of, model_version <> '' AS versioned, count(*) OVER () AS rows "
            f"FROM predictions WHERE use_case = '{use_case}'",
        )
        assert predictions, use_case
        assert predictions[0]["rows"] >= 20, use_case
        assert predictions[0]["versioned"], use_case
        assert {row["as_of"] for row in predictions} == {datetime(2024, 7, 1, tzinfo=UTC)}
        promoted = f"SELECT 1 FROM promotions WHERE use_case = '{use_case}' AND promoted"
        assert len(_rows(deployment, promoted)) == 1, use_case
    assert _rows(deployment, "SELECT 1 FROM slices WHERE rows > 300")
    assert _rows(deployment, "SELECT 1 FROM quality_results")


def test_the_worker_knew_neither_airflows_database_nor_its_keys(
    deployment: Deployment, run: dict[str, Any]
) -> None:
    """Where tenants' data is at work, connections and tokens of others are out of reach."""
    assert run["state"] == "success"
    known = deployment.environments["worker"]
    for variable in (
        *("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW__CORE__FERNET_KEY"),
        *("AIRFLOW__API_AUTH__JWT_SECRET", "AIRFLOW__API__SECRET_KEY"),
        *("TENANTRY_ADMIN_DATABASE_URL", "TENANTRY_ADMIN_PASSWORD"),
    ):
        assert variable not in known
        secret = deployment.environments["init"].get(variable, "no such secret")
        assert secret not in known.values()


def test_nothing_of_the_run_is_open_to_others(deployment: Deployment, run: dict[str, Any]) -> None:
    """Lake and task logs: 0600 and 0700, whatever umask the services were started with."""
    for folder in (deployment.state.lake, deployment.state.logs / "tasks"):
        every = [path for path in folder.rglob("*") if not path.is_symlink()]
        found = [path for path in every if path.stat().st_mode & 0o077]
        assert found == []
        assert every


@pytest.mark.parametrize("service", COMPONENTS)
def test_the_services_own_health_check_passes(
    deployment: Deployment, run: dict[str, Any], service: str
) -> None:
    """Compose's health check of each Airflow component succeeds against the running one."""
    done = deployment.healthy(service)
    assert done.returncode == 0, done.stdout + done.stderr
