"""The scaled deployment without containers: compose's commands and settings, real processes."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import generated
import pytest
import redis_server
import yaml

from include.runtime import postgres, processes
from include.runtime.airflow_api import AirflowApi
from include.runtime.answers import answers
from include.runtime.preload import LOCAL_SETTINGS
from include.runtime.state import PROJECT, State, prepare

COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer", "worker")
START_SECONDS = 180


@dataclass(frozen=True)
class Deployment:
    """A running deployment, seen from outside."""

    state: State
    services: dict[str, Any]
    environment: dict[str, str]
    api: AirflowApi

    def healthy(self, service: str) -> subprocess.CompletedProcess[str]:
        """Run the service's own health check, as compose would inside its container."""
        kind, *words = self.services[service]["healthcheck"]["test"]
        shell = ["sh", "-c", words[0].replace("$$", "$")]
        ports = {"8080": self.environment["AIRFLOW__API__PORT"]}
        command = shell if kind == "CMD-SHELL" else [_moved(word, ports) for word in words]
        return subprocess.run(
            command, env=self.environment, cwd=PROJECT, capture_output=True, text=True, check=False
        )

    def log(self, name: str) -> str:
        """The end of a component's log."""
        return (self.state.logs / f"{name}.log").read_text(errors="replace")[-3000:]


def _moved(word: str, ports: dict[str, str]) -> str:
    for old, new in ports.items():
        word = word.replace(f":{old}/", f":{new}/")
    return word


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports: list[int] = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _environment(
    service: dict[str, Any], state: State, server: postgres.Postgres, redis_url: str, api_port: int
) -> dict[str, str]:
    """What compose gives a service, with this machine's places for the containers'."""
    generated: dict[str, str] = {}

    def fill(match: re.Match[str]) -> str:
        if (rest := match[2]).startswith(":-"):
            return rest[2:]
        return generated.setdefault(match[1], secrets.token_hex(16))

    given = {
        name: re.sub(r"\$\{([A-Z_]+)(:[?-][^}]*)\}", fill, str(value))
        for name, value in service["environment"].items()
    }
    socket_folder = server.socket_dir
    for name, value in given.items():
        given[name] = re.sub(r"@postgres:5432/(\w+)", rf"@/\1?host={socket_folder}", value)
    logs, worker_logs, trigger_logs = state.logs / "tasks", *_free_ports(2)
    base = {name: os.environ[name] for name in ("LANG", "HOME", "TZ") if name in os.environ}
    return {
        **base,
        **given,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOSTNAME": socket.gethostname(),
        "TENANTRY_LAKE": str(state.lake),
        "TENANTRY_TENANTS": str(state.home / "tenants"),
        "AIRFLOW_HOME": str(state.airflow),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
        "AIRFLOW__CORE__FERNET_KEY": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(logs),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(logs / "dag_processor"),
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(worker_logs),
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_logs),
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(api_port),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{api_port}",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{api_port}/execution/",
        "AIRFLOW__CELERY__BROKER_URL": redis_url,
        "AIRFLOW__CELERY__WORKER_CONCURRENCY": "2",
    }


@contextmanager
def deployed() -> Iterator[Deployment]:
    """Postgres, Redis, the init job and Airflow's five components, with one tenant's data."""
    services = yaml.safe_load((PROJECT / "docker-compose.yaml").read_text())["services"]
    state = prepare(State(Path(tempfile.mkdtemp(prefix="tenantry-celery-"))))
    shop = generated.Shop("corner-shop", customers=150)
    generated.write(shop, state.home, state.home / "tenants")
    api_port, redis_port = _free_ports(2)
    password = secrets.token_hex(16)
    redis_url = f"redis://:{password}@127.0.0.1:{redis_port}/0"
    records: list[processes.Record] = []
    try:
        server = postgres.start(state)
        environment = _environment(services["init"], state, server, redis_url, api_port)
        settings = state.airflow / "config" / "airflow_local_settings.py"
        settings.parent.mkdir(parents=True)
        settings.write_text(LOCAL_SETTINGS)
        with redis_server.running(state.home, redis_port, password):
            for _ in range(2):  # the init job may run again at any time
                _run_to_the_end(state, "init", services["init"]["command"], environment)
            admin = {
                name: environment.pop(name)
                for name in (
                    *("TENANTRY_ADMIN_USER", "TENANTRY_ADMIN_PASSWORD"),
                    "TENANTRY_ADMIN_DATABASE_URL",
                )
            }
            for name in COMPONENTS:
                process = _spawn(state, name, services[name]["command"], environment)
                records.append(processes.remember(state.run, name, process.pid))
            url = f"http://127.0.0.1:{api_port}"
            _wait(url)
            api = AirflowApi(url, admin["TENANTRY_ADMIN_USER"], admin["TENANTRY_ADMIN_PASSWORD"])
            yield Deployment(state, services, environment, api)
            processes.end(records, 20)
            records = []
    finally:
        processes.end(records, 5)
        postgres.stop(state)
        shutil.rmtree(state.home, ignore_errors=True)


def _spawn(
    state: State, name: str, command: list[str], environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    with (state.logs / f"{name}.log").open("ab") as log:
        return subprocess.Popen(
            command,
            env=environment,
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _run_to_the_end(
    state: State, name: str, command: list[str], environment: dict[str, str]
) -> None:
    if _spawn(state, name, command, environment).wait(timeout=300) != 0:
        pytest.fail((state.logs / f"{name}.log").read_text()[-4000:])


def _wait(url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not answers(f"{url}/api/v2/monitor/health"):
        if time.monotonic() > deadline:
            pytest.fail(f"Airflow at {url} does not answer")
        time.sleep(0.5)
