"""Services of docker-compose.yaml as plain processes: their commands and settings, this machine's
places."""

from __future__ import annotations

import os
import re
import secrets
import socket
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.runtime import postgres
from include.runtime.answers import answers
from include.runtime.preload import LOCAL_SETTINGS
from include.runtime.state import PROJECT, State

START_SECONDS = 180
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(
    (PROJECT / "docker-compose.yaml").read_text(encoding="utf-8")
)["services"]


class Filled:
    """Values for the variables of the compose file: made up once, the same for every service."""

    def __init__(self, **given: str) -> None:
        self._values = {
            # not every random text is one
            "AIRFLOW_FERNET_KEY": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "TENANTRY_PII_KEY": secrets.token_hex(32),
            **given,
        }

    def fill(self, text: str) -> str:
        """The text with its variables replaced."""

        def value(match: re.Match[str]) -> str:
            if (rest := match[2]).startswith(":-"):
                return rest[2:]
            return self._values.setdefault(match[1], secrets.token_hex(16))

        return re.sub(r"\$\{([A-Z_]+)(:[?-][^}]*)\}", value, text)

    def environment(
        self,
        service: str,
        state: State,
        server: postgres.Postgres,
        api_port: int,
        moved: Mapping[str, str],
    ) -> dict[str, str]:
        """What compose gives a service, with this machine's places for the containers'.

        Args:
            moved: values that are this machine's, of the variables that the service has.
        """
        given = {
            name: re.sub(
                r"@postgres:5432/(\w+)", rf"@/\1?host={server.socket_dir}", self.fill(str(value))
            )
            for name, value in SERVICES[service]["environment"].items()
        }
        logs = state.logs / "tasks"
        here = {
            "TENANTRY_LAKE": str(state.lake),
            "TENANTRY_TENANTS": str(state.home / "tenants"),
            "TMPDIR": str(state.temporary),
            "AIRFLOW_HOME": str(state.airflow),
            "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "plugins"),
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(logs),
            "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(
                logs / "dag_processor"
            ),
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(api_port),
            "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{api_port}",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{api_port}/execution/",
            **moved,
        }
        base = {name: os.environ[name] for name in ("LANG", "HOME", "TZ") if name in os.environ}
        return {
            **base,
            **given,
            **{name: value for name, value in here.items() if name in given},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOSTNAME": socket.gethostname(),
        }


def write_local_settings(state: State) -> None:
    """As the image has them."""
    settings = state.airflow / "config" / "airflow_local_settings.py"
    settings.parent.mkdir(parents=True)
    settings.write_text(LOCAL_SETTINGS)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports: list[int] = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def spawn(
    state: State, name: str, command: list[str], environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    """The process of a service, with a log and a session of its own."""
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


def run_to_the_end(
    state: State, name: str, command: list[str], environment: dict[str, str]
) -> None:
    """Wait for it; its log is the failure's message."""
    if spawn(state, name, command, environment).wait(timeout=400) != 0:
        pytest.fail((state.logs / f"{name}.log").read_text()[-4000:])


def wait_for(url: str) -> None:
    """Until Airflow answers there."""
    deadline = time.monotonic() + START_SECONDS
    while not answers(f"{url}/api/v2/monitor/health"):
        if time.monotonic() > deadline:
            pytest.fail(f"Airflow at {url} does not answer")
        time.sleep(0.5)
