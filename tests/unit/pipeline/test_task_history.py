"""Logs and runs of tasks: what is old goes, what runs or is the newest stays."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from include.errors import ConfigError, TenantryError, UnavailableError
from include.pipeline import task_history
from include.pipeline.task_history import AirflowRuns

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def log(root: Path, name: str, age: timedelta) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("somebody was seen")
    at = (NOW - age).timestamp()
    os.utime(path, (at, at))
    return path


def test_old_logs_go_by_when_they_were_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the run is named after; empty folders go too, other files are none of ours."""
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(tmp_path))
    old = log(tmp_path, "dag_id=a.pipeline/run_id=2026-02-28/task_id=x/a.log", timedelta(days=100))
    new = log(tmp_path, "dag_id=a.pipeline/run_id=2017-01-01/task_id=x/a.log", timedelta(days=80))
    other = log(tmp_path, "scheduler/latest.log", timedelta(days=100))
    assert task_history.expire_logs(NOW - timedelta(days=90)) == 1
    assert not old.exists()
    assert not old.parents[1].exists()
    assert new.exists()
    assert other.exists()


def test_logs_of_parsing_go_as_those_of_tasks_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow begins a folder of them every day, and forgets none."""
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(tmp_path / "tasks"))
    parsing = tmp_path / "parsing"
    monkeypatch.setenv("AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY", str(parsing))
    old = log(parsing, "2025-11-01/dags-folder/tenant_dags.py.log", timedelta(days=100))
    new = log(parsing, "2026-02-01/dags-folder/tenant_dags.py.log", timedelta(days=20))
    (parsing / "latest").symlink_to(new.parents[1])
    assert task_history.expire_logs(NOW - timedelta(days=90)) == 1
    assert not old.parent.exists()
    assert new.exists()
    assert (parsing / "latest").exists()


def test_a_tenants_logs_are_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenant whose id begins like another one's loses nothing."""
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", str(tmp_path))
    for name in ("shop.pipeline", "shop.retrain", "shop-two.pipeline", "global.churn"):
        log(tmp_path, f"dag_id={name}/run_id=x/a.log", timedelta(0))
    assert task_history.erase_logs("shop") == 2
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == ["dag_id=global.churn", "dag_id=shop-two.pipeline"]


@pytest.mark.parametrize("days", ["0", "-1", "soon", "1.5", "9" * 30, " "])
def test_a_setting_that_is_no_number_of_days_is_told(
    monkeypatch: pytest.MonkeyPatch, days: str
) -> None:
    """It is neither taken for for ever nor for at once."""
    monkeypatch.setenv(task_history.DAYS, days)
    with pytest.raises(ConfigError, match="number of days"):
        task_history.kept()


class Airflow:
    """Airflow's API as far as it is asked here."""

    def __init__(self, runs: list[dict[str, Any]]) -> None:
        self.runs = runs
        self.deleted: list[str] = []
        self.asked = 0  #: how often for the newest run of a DAG

    def __call__(self, request: httpx.Request) -> httpx.Response:
        parts = request.url.path.removeprefix("/api/v2/dags/").split("/")
        if request.method == "GET":
            found = [one for one in self.runs if parts[0] in ("~", one["dag_id"])]
            until = request.url.params.get("end_date_lt")
            found = [one for one in found if until is None or (one["end"] or "9") < until]
            if request.url.params.get("order_by") == "-run_after":
                self.asked += 1
                found = sorted(found, key=lambda one: one["run_after"], reverse=True)[:1]
            offset = int(request.url.params.get("offset", 0))
            page = found[offset : offset + 2]
            return httpx.Response(200, json={"dag_runs": page, "total_entries": len(found)})
        if request.method == "DELETE" and len(parts) == 3:
            (run,) = [one for one in self.runs if one["dag_run_id"] == parts[2]]
            if run["state"] == "running":
                return httpx.Response(409, text="cannot be deleted in running state")
            self.runs.remove(run)
            self.deleted.append(parts[2])
            return httpx.Response(204)
        if request.method == "PATCH":
            (run,) = [one for one in self.runs if one["dag_run_id"] == parts[2]]
            run["state"] = "failed"
            return httpx.Response(200, json=run)
        self.deleted.append(parts[0])
        return httpx.Response(404 if parts[0].endswith("retrain") else 204)


def runs(*found: tuple[str, str, str, int]) -> list[dict[str, Any]]:
    return [
        {
            "dag_id": dag,
            "dag_run_id": run,
            "state": state,
            "run_after": (NOW - timedelta(days=age)).isoformat(),
            "end": None if state == "running" else (NOW - timedelta(days=age)).isoformat(),
        }
        for dag, run, state, age in found
    ]


def client(airflow: Airflow) -> AirflowRuns:
    return AirflowRuns(
        httpx.Client(transport=httpx.MockTransport(airflow), base_url="http://airflow")
    )


def test_old_runs_go_but_for_each_dags_newest() -> None:
    """The newest says from where the schedule goes on; what still runs is left alone."""
    airflow = Airflow(
        runs(
            ("a.pipeline", "a1", "success", 300),
            ("a.pipeline", "a2", "failed", 200),
            ("a.pipeline", "a3", "success", 100),
            ("a.pipeline", "a4", "success", 1),
            ("b.pipeline", "b1", "success", 300),
            ("c.drift_watch", "c1", "running", 300),
        )
    )
    assert client(airflow).expire(NOW - timedelta(days=90)) == 3
    assert airflow.deleted == ["a1", "a2", "a3"]
    assert airflow.asked == 2
    assert client(airflow).expire(NOW - timedelta(days=90)) == 0


def test_a_night_deletes_a_bounded_number_and_the_next_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each run is a request: a year that was never cleaned up does not hold up the night."""
    monkeypatch.setattr(task_history, "_MOST_RUNS", 3)
    airflow = Airflow(runs(*(("a.pipeline", f"a{n}", "success", 300 - n) for n in range(8))))
    assert client(airflow).expire(NOW - timedelta(days=90)) == 3
    assert client(airflow).expire(NOW - timedelta(days=90)) == 3
    assert client(airflow).expire(NOW - timedelta(days=90)) == 1
    assert [one["dag_run_id"] for one in airflow.runs] == ["a7"]


def test_a_tenants_runs_are_stopped_and_go_with_their_dags() -> None:
    """A sensor that waits is no obstacle; a DAG that is not there is gone already."""
    airflow = Airflow(
        runs(
            ("shop.pipeline", "p1", "success", 3),
            ("shop.drift_watch", "w1", "running", 3),
            ("shop-two.pipeline", "other", "success", 3),
        )
    )
    assert client(airflow).count("shop") == 2
    assert client(airflow).erase("shop") == 2
    assert {"p1", "w1", "shop.pipeline", "shop.retrain", "shop.drift_watch"} == set(airflow.deleted)
    assert [one["dag_run_id"] for one in airflow.runs] == ["other"]


def test_what_airflow_refuses_is_told() -> None:
    """With its own words, and the place."""
    refuses = httpx.MockTransport(lambda _: httpx.Response(403, text="Forbidden"))
    with pytest.raises(TenantryError, match=r"403 to GET .*Forbidden"):
        AirflowRuns(httpx.Client(transport=refuses, base_url="http://airflow")).count("shop")


def test_a_login_that_does_not_work_names_no_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says who was refused, and which settings say so."""
    (tmp_path / "password").write_text("very-secret")
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", "http://127.0.0.1:1/execution/")
    monkeypatch.setenv("TENANTRY_AIRFLOW_USER", "janitor")
    monkeypatch.setenv("TENANTRY_AIRFLOW_PASSWORD_FILE", str(tmp_path / "password"))
    with pytest.raises(UnavailableError, match="'janitor'") as told:
        AirflowRuns.from_environment()
    assert "very-secret" not in str(told.value)
    assert told.value.__cause__ is None
    monkeypatch.delenv("TENANTRY_AIRFLOW_USER")
    monkeypatch.delenv("AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE", raising=False)
    assert AirflowRuns.from_environment() is None
