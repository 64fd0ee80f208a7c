"""Tenantry as it is: its own runtime, the fleet as its tenants, and Airflow's own backfills."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from benchmarks.fleet import fleet
from benchmarks.fleet.figures import Figures
from benchmarks.fleet.orchestrated import Running, measure, until
from include.runtime import control
from include.runtime.airflow_api import AirflowApi
from include.runtime.logins import airflow_password
from include.runtime.state import locate
from include.tenants.namespace import dag_id, global_dag_id


def run(plan: fleet.FleetPlan, home: Path) -> Figures:
    """Onboard the fleet, load its history, train the global models, then run the intervals."""
    folder = home / "tenants"
    os.environ |= {"TENANTRY_HOME": str(home), "TENANTRY_TENANTS": str(folder), **free_ports()}
    fleet.write(plan, folder)
    try:
        control.up(told)
        return _measure(plan, sorted(file.stem for file in folder.glob("*.yaml")))
    finally:
        control.down(told)


def free_ports() -> dict[str, str]:
    """The variables that say which ports the servers take."""
    with socket.socket() as api, socket.socket() as mlflow:
        for probe in (api, mlflow):
            probe.bind(("127.0.0.1", 0))
        return {
            "TENANTRY_API_PORT": str(api.getsockname()[1]),
            "TENANTRY_MLFLOW_PORT": str(mlflow.getsockname()[1]),
        }


def told(step: str, seconds: float | None) -> None:
    """Say that a step is done."""
    if seconds is not None:
        print(f"{step}: {seconds:.0f} s", file=sys.stderr, flush=True)


def _measure(plan: fleet.FleetPlan, tenants: list[str]) -> Figures:
    from include import use_cases, wiring
    from include.tenants.loader import load_fleet, tenants_folder
    from include.tenants.pooling import shared_use_cases

    status = control.status()
    api = AirflowApi(status.airflow_url, status.user, airflow_password(status))
    running = Running(locate(), api)
    configs = load_fleet(tenants_folder(), use_cases.names()).tenants.values()
    shared = [global_dag_id(name) for name in shared_use_cases(configs)]
    pipelines = [dag_id(tenant, "pipeline") for tenant in tenants]

    def onboard() -> None:
        running.await_dags([*pipelines, *shared])
        running.backfill(pipelines, [plan.cut - plan.step], use_cases=[])
        for dag in shared:
            api.trigger(dag, f"bench__{plan.cut:%Y-%m-%d}", {"as_of": plan.cut.isoformat()})
        running.await_runs(shared)
        running.await_backfills(pipelines)

    def await_retrains() -> None:
        retrains = wiring.stores().retrains
        until(
            lambda: sum(len(retrains.open_requests(config.ref)) for config in configs),
            "retrain requests are open",
        )
        running.await_runs([dag_id(tenant, "retrain") for tenant in tenants])

    return measure(
        "airflow", plan, running, pipelines, plan.starts, before=onboard, after=await_retrains
    )
