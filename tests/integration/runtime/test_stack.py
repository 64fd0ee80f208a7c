"""The whole installation: up, survives the death of its parts, down. Ports and state of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from include.runtime import health, postgres, processes, secrets
from include.runtime.ports import Ports
from include.runtime.state import PROJECT, State

pytestmark = pytest.mark.integration

_COMPONENTS = (
    *("api-server", "dag-processor", "housekeeping", "mlflow", "scheduler", "supervisor"),
    "triggerer",
)
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Stack:
    """A started installation, seen from outside."""

    state: State
    ports: Ports

    def run(self, command: str) -> str:
        """`python -m include.runtime COMMAND` in a clean environment; returns what it printed."""
        ours = ("TENANTRY", "AIRFLOW", "MLFLOW")
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(ours)},
            "TENANTRY_HOME": str(self.state.home),
            "TENANTRY_API_PORT": str(self.ports.api),
            "TENANTRY_MLFLOW_PORT": str(self.ports.mlflow),
        }
        done = subprocess.run(
            [sys.executable, "-m", "include.runtime", command],
            env=environment,
            cwd=PROJECT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def records(self) -> dict[str, processes.Record]:
        return {record.name: record for record in processes.recall(self.state.run)}

    def await_health(self, since: datetime) -> None:
        _eventually(lambda: health.unhealthy(self.ports, since) == ())

    def call(self, path: str, content: Any = None, token: str = "") -> Any:
        request = urllib.request.Request(  # noqa: S310
            self.ports.airflow_url + path,
            data=None if content is None else json.dumps(content).encode(),
            headers={"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
        )
        with _DIRECT.open(request, timeout=30) as answer:
            return json.load(answer)

    def login(self, password: str) -> str:
        answer = self.call("/auth/token", {"username": secrets.ADMIN, "password": password})
        return str(answer["access_token"])


def _eventually(condition: Callable[[], bool], patience_seconds: float = 180.0) -> None:
    deadline = time.monotonic() + patience_seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    home = Path(tempfile.mkdtemp(prefix="tenantry-test-"))
    stack = Stack(State(home), Ports(api=_free_port(), mlflow=_free_port()))
    try:
        stack.run("up")
        yield stack
    finally:
        stack.run("down")
        shutil.rmtree(home, ignore_errors=True)


def test_up_returns_when_everything_is_healthy(stack: Stack) -> None:
    """After `up` every component runs and both web servers answer."""
    records = stack.records()
    assert tuple(sorted(records)) == _COMPONENTS
    assert all(map(processes.is_alive, records.values()))
    assert health.unhealthy(stack.ports, datetime.fromtimestamp(0, UTC)) == ()


def test_only_the_generated_login_works(stack: Stack) -> None:
    """The generated password logs in, the customary default does not."""
    assert stack.login(secrets.load(stack.state).admin_password)
    with pytest.raises(urllib.error.HTTPError) as caught:
        stack.login("admin")
    assert caught.value.code == 401


def test_the_pools_of_the_settings_file_exist(stack: Stack) -> None:
    """A task that names the training pool will find its two slots."""
    token = stack.login(secrets.load(stack.state).admin_password)
    pools = stack.call("/api/v2/pools", token=token)["pools"]
    assert {"training": 2}.items() <= {pool["name"]: pool["slots"] for pool in pools}.items()


def test_a_silo_tenant_has_its_migrated_database(stack: Stack) -> None:
    """`up` brings every tenant's database to the current schema, not only the shared one."""
    server = postgres.address(stack.state)
    versions = []
    for name in ("tenantry", "tenantry_silo_store_292"):
        with psycopg.connect(server.dsn(name)) as connection:
            versions += connection.execute("SELECT * FROM tenantry.alembic_version").fetchall()
    assert len(versions) == 2
    assert len(set(versions)) == 1


def test_nothing_listens_beyond_loopback(stack: Stack) -> None:
    """Every listening socket of every component is on 127.0.0.1."""
    open_to = {
        connection.laddr.ip
        for record in stack.records().values()
        for process in processes.family(record)
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert open_to == {"127.0.0.1"}


def test_a_killed_scheduler_comes_back_without_its_old_forks(stack: Stack) -> None:
    """After SIGKILL of the scheduler a new one beats, and no worker of the old one is left."""
    old = stack.records()["scheduler"]
    since = datetime.now(UTC)
    os.kill(old.pid, signal.SIGKILL)
    _eventually(lambda: stack.records()["scheduler"] != old)
    assert processes.family(old) == []
    stack.await_health(since)


def test_a_killed_postgres_comes_back_under_running_components(stack: Stack) -> None:
    """After SIGKILL of the postmaster all components are healthy again, without a person."""
    old = postgres.postmaster(stack.state)
    assert old is not None
    since = datetime.now(UTC)
    old.kill()
    _eventually(lambda: postgres.postmaster(stack.state) not in (None, old))
    stack.await_health(since)


def test_the_next_up_clears_what_a_killed_supervisor_left(stack: Stack) -> None:
    """After SIGKILL of the supervisor `up` ends the orphans it finds and starts afresh."""
    before = stack.records()
    os.kill(before["supervisor"].pid, signal.SIGKILL)
    _eventually(lambda: not processes.is_alive(before["supervisor"]))
    assert processes.is_alive(before["scheduler"])
    stack.run("up")
    after = stack.records()
    assert [name for name, record in before.items() if processes.family(record)] == []
    assert all(map(processes.is_alive, after.values()))


def test_down_stops_what_was_started_and_nothing_else(stack: Stack) -> None:
    """No process of the installation is left; one that it did not start goes on; state stays."""
    records = stack.records()
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        stack.run("down")
        assert [name for name, record in records.items() if processes.family(record)] == []
        assert not postgres.is_running(stack.state)
        assert stack.records() == {}
        assert bystander.poll() is None
        assert (stack.state.postgres / "data" / "PG_VERSION").exists()
    finally:
        bystander.kill()
        bystander.wait()
