"""The scaled deployment without containers: compose's commands and settings, real processes."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import compose_services
import generated
import redis_server
from compose_services import SERVICES, Filled

from include.runtime import postgres, processes
from include.runtime.airflow_api import AirflowApi
from include.runtime.state import PROJECT, State, prepare

COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer", "worker")


@dataclass(frozen=True)
class Deployment:
    """A running deployment, seen from outside."""

    state: State
    environments: dict[str, dict[str, str]]  #: by service: none knows more than compose tells it
    api: AirflowApi

    def healthy(self, service: str) -> subprocess.CompletedProcess[str]:
        """Run the service's own health check, as compose would inside its container."""
        kind, *words = SERVICES[service]["healthcheck"]["test"]
        shell = ["sh", "-c", words[0].replace("$$", "$")]
        environment = self.environments[service]
        ports = {"8080": environment["AIRFLOW__API__PORT"]}
        command = shell if kind == "CMD-SHELL" else [_moved(word, ports) for word in words]
        return subprocess.run(
            command, env=environment, cwd=PROJECT, capture_output=True, text=True, check=False
        )

    def log(self, name: str) -> str:
        """The end of a component's log."""
        return (self.state.logs / f"{name}.log").read_text(errors="replace")[-3000:]


def _moved(word: str, ports: dict[str, str]) -> str:
    for old, new in ports.items():
        word = word.replace(f":{old}/", f":{new}/")
    return word


@contextmanager
def deployed() -> Iterator[Deployment]:
    """Postgres, Redis, the init job and Airflow's five components, with one tenant's data."""
    state = prepare(State(Path(tempfile.mkdtemp(prefix="tenantry-celery-"))))
    shop = generated.Shop("corner-shop", customers=150)
    generated.write(shop, state.home, state.home / "tenants")
    api_port, redis_port = compose_services.free_ports(2)
    password = secrets.token_hex(16)
    moved = {
        "AIRFLOW__CELERY__BROKER_URL": f"redis://:{password}@127.0.0.1:{redis_port}/0",
        "AIRFLOW__CELERY__WORKER_CONCURRENCY": "2",
        "TENANTRY_SOURCES": f'default: {{roots: ["{state.home}/{{tenant}}"]}}',
    }
    filled = Filled()
    records: list[processes.Record] = []
    try:
        server = postgres.start(state)
        environments = {
            name: filled.environment(name, state, server, api_port, moved)
            for name in ("init", *COMPONENTS)
        }
        compose_services.write_local_settings(state)
        with redis_server.running(state.home, redis_port, password):
            for _ in range(2):  # the init job may run again at any time
                init = SERVICES["init"]["command"]
                compose_services.run_to_the_end(state, "init", init, environments["init"])
            for name in COMPONENTS:
                command = [
                    str(state.run / "worker.pid") if word == "/tmp/worker.pid" else word  # noqa: S108
                    for word in SERVICES[name]["command"]
                ]
                process = compose_services.spawn(state, name, command, environments[name])
                records.append(processes.remember(state.run, name, process.pid))
            url = f"http://127.0.0.1:{api_port}"
            compose_services.wait_for(url)
            admin = environments["init"]
            api = AirflowApi(url, admin["TENANTRY_ADMIN_USER"], admin["TENANTRY_ADMIN_PASSWORD"])
            yield Deployment(state, environments, api)
            processes.end(records, 20)
            records = []
    finally:
        processes.end(records, 5)
        postgres.stop(state)
        shutil.rmtree(state.home, ignore_errors=True)
