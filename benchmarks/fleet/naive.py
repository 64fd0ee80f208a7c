"""The naive pipelines of `naive_dags/` on an Airflow with its default settings.

Three things are better than the defaults, so that the comparison is about pipelines: Postgres
instead of SQLite, MLflow without a server between, and as many task slots as Tenantry has (32, the
default, would need more memory than a small machine has).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from benchmarks.fleet import fleet
from benchmarks.fleet.airflow import free_ports
from benchmarks.fleet.figures import Figures
from benchmarks.fleet.orchestrated import Running, measure
from include.runtime import health, postgres, processes, secrets, state, supervisor
from include.runtime.airflow_api import AirflowApi
from include.runtime.environment import component_environment
from include.runtime.ports import Ports, from_environment

#: Settings of Airflow that make it one installation; all others keep their defaults.
_KEPT: Final = (
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
    "AIRFLOW__CORE__PARALLELISM",
    "AIRFLOW__CORE__HOSTNAME_CALLABLE",
    "AIRFLOW__CORE__LOAD_EXAMPLES",
    "AIRFLOW__CORE__AUTH_MANAGER",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE",
    "AIRFLOW__CORE__FERNET_KEY",
    "AIRFLOW__CORE__EXECUTION_API_SERVER_URL",
    "AIRFLOW__API__HOST",
    "AIRFLOW__API__PORT",
    "AIRFLOW__API__BASE_URL",
    "AIRFLOW__API__SECRET_KEY",
    "AIRFLOW__API_AUTH__JWT_SECRET",
    "AIRFLOW__LOGGING__BASE_LOG_FOLDER",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED",
)
_DROPPED: Final = (
    "OMP_NUM_THREADS",
    "MLFLOW_ENABLE_WORKSPACES",
    "MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK",
)


def run(plan: fleet.FleetPlan, home: Path) -> Figures:
    """Run the intervals; the first run of a tenant brings its history along."""
    folder = home / "tenants"
    os.environ |= {"TENANTRY_HOME": str(home), "TENANTRY_TENANTS": str(folder), **free_ports()}
    fleet.write(plan, folder)
    here, ports = state.prepare(state.locate()), from_environment(os.environ)
    server = postgres.start(here)
    try:
        postgres.create_databases(server, {"naive": "naive"})
        environment = _environment(here, server, ports) | {"NAIVE_SCHEDULE": plan.schedule}
        _prepare(environment)
        _start(here, environment, ports)
        password = secrets.load(here).admin_password
        running = Running(here, AirflowApi(ports.airflow_url, secrets.ADMIN, password))
        dags = sorted(f"naive.{file.stem}" for file in folder.glob("*.yaml"))
        return measure(
            "naive",
            plan,
            running,
            dags,
            [start + plan.step for start in plan.starts],
            before=lambda: running.await_dags(dags),
            after=lambda: None,
        )
    finally:
        processes.end(processes.recall(here.run), 20)
        postgres.stop(here)


def _environment(here: state.State, server: postgres.Postgres, ports: Ports) -> dict[str, str]:
    ours = component_environment(here, server, ports)
    kept = {
        name: value
        for name, value in ours.items()
        if name in _KEPT or (not name.startswith("AIRFLOW_") and name not in _DROPPED)
    }
    return {
        **kept,
        "AIRFLOW_HOME": str(here.airflow),
        "AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).with_name("naive_dags")),
        "NAIVE_FOLDER": str(here.lake / "naive"),
        "NAIVE_DATABASE": server.sqlalchemy_url("naive", "naive"),
    }


def _prepare(environment: dict[str, str]) -> None:
    scripts = Path(sys.executable).parent
    for command in (
        [str(scripts / "airflow"), "db", "migrate"],
        [str(scripts / "mlflow"), "db", "upgrade", environment["MLFLOW_TRACKING_URI"]],
    ):
        subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


def _start(here: state.State, environment: dict[str, str], ports: Ports) -> None:
    """Start Airflow's components, and wait until they are healthy."""
    since = datetime.now(UTC)
    for name, command in supervisor.commands(here, ports).items():
        if name != "mlflow":
            process = processes.spawn(command, environment, here.logs / f"{name}.log")
            processes.remember(here.run, name, process.pid)
    while set(health.unhealthy(ports, since)) - {"mlflow"}:
        time.sleep(1)
