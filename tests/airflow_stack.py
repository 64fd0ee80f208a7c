"""A whole installation with Airflow, of a test's own, and one shop's pipeline in it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import end_state
import generated
from installation import FIXED_REVISION

from include.runtime import postgres, secrets
from include.runtime.airflow_api import OVER, AirflowApi
from include.runtime.ports import Ports
from include.runtime.state import PROJECT, State
from include.tenants.namespace import dag_id

WEEK = timedelta(days=7)
PATIENCE_SECONDS = 900.0


@dataclass(frozen=True)
class Who:
    """The user and the umask that commands are run with; by default those of the tests."""

    uid: int | None = None
    gid: int | None = None
    umask: int = -1
    python: str = sys.executable

    @property
    def options(self) -> dict[str, Any]:
        """What `subprocess` is told."""
        if self.uid is None:
            return {"umask": self.umask}
        return {"umask": self.umask, "user": self.uid, "group": self.gid, "extra_groups": []}


@dataclass(frozen=True)
class Stack:
    """A started installation, seen from outside."""

    state: State
    ports: Ports
    environment: dict[str, str]
    api: AirflowApi
    who: Who

    def tenantry(self, *words: str) -> str:
        """What a person types, and what they see."""
        command = [str(Path(self.who.python).parent / "tenantry"), *words]
        return _run(command, self.environment, self.who)

    def runtime(self, command: str) -> str:
        """`python -m include.runtime COMMAND`, and what it printed."""
        words = [self.who.python, "-m", "include.runtime", command]
        return _run(words, self.environment, self.who)

    def end_state(self) -> dict[str, Any]:
        """Tables, registry and lake."""
        return end_state.end_state(postgres.address(self.state), self.state.lake)

    def backfill(self, dag: str, first: datetime, last: datetime, reprocess: str) -> None:
        """Through the REST API, churn alone; back when all its runs are over.

        Args:
            first: end of the first interval.
            last: end of the last one.
        """
        began = self.started(dag)
        body = {
            "dag_id": dag,
            "from_date": (first - WEEK).isoformat(),
            "to_date": (last - WEEK).isoformat(),
            "run_backwards": False,
            "dag_run_conf": {"use_cases": ["churn"]},
            "max_active_runs": 1,
            "reprocess_behavior": reprocess,
        }
        self.api.call("POST", "/backfills", json=body)
        self.finish(dag, (last - first) // WEEK + 1, began)

    def started(self, dag: str) -> dict[str, str]:
        """When each run of a DAG began."""
        return {run["dag_run_id"]: str(run["start_date"]) for run in self.api.runs(dag)}

    def finish(self, dag: str, count: int, before: dict[str, str]) -> None:
        """Wait until so many runs of a DAG have succeeded that had not begun `before`."""

        def done() -> bool:
            runs = self.api.runs(dag)
            fresh = [r for r in runs if before.get(r["dag_run_id"]) != str(r["start_date"])]
            over = [r for r in fresh if r["state"] in OVER and r["start_date"]]
            failed = [r["dag_run_id"] for r in over if r["state"] == "failed"]
            assert not failed, {run: self.api.failed_tasks(dag, run) for run in failed}
            return len(over) >= count

        eventually(done)
        eventually(lambda: all(backfill["completed_at"] for backfill in self.backfills(dag)))

    def backfills(self, dag: str) -> list[dict[str, Any]]:
        """All of them; Airflow allows one at a time."""
        return list(self.api.call("GET", "/backfills", params={"dag_id": dag})["backfills"])

    def running(self, dag: str) -> list[dict[str, Any]]:
        """Task instances of a DAG that run now."""
        found = self.api.call("GET", f"/dags/{quote(dag)}/dagRuns/~/taskInstances?state=running")
        return list(found["task_instances"])


@contextmanager
def stack(data: Path, shop: generated.Shop, who: Who = Who()) -> Iterator[Stack]:
    """Up with the shop as its only tenant, and down again."""
    home = Path(tempfile.mkdtemp(prefix="tenantry-test-"))
    api, mlflow = _free_ports(2)
    ports = Ports(api=api, mlflow=mlflow)
    ours = ("TENANTRY", "AIRFLOW", "MLFLOW")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(ours)},
        "TENANTRY_HOME": str(home),
        "TENANTRY_TENANTS": str(home / "tenants"),
        "TENANTRY_SOURCES": f'default: {{roots: ["{data}/{{tenant}}"]}}',
        "TENANTRY_API_PORT": str(ports.api),
        "TENANTRY_MLFLOW_PORT": str(ports.mlflow),
        **FIXED_REVISION,
        **({} if who.uid is None else {"HOME": str(home)}),
    }
    generated.write(shop, data, home / "tenants")
    for path in (home, *home.rglob("*"), data, *data.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)  # as loose as they may be
        if who.uid is not None:
            os.chown(path, who.uid, who.gid or 0)
    runtime = [who.python, "-m", "include.runtime"]
    state = State(home)
    try:
        _run([*runtime, "up"], environment, who)
        login = AirflowApi(ports.airflow_url, secrets.ADMIN, secrets.load(state).admin_password)
        eventually(lambda: dag_id(shop.id, "pipeline") in login.dag_ids())
        yield Stack(state, ports, environment, login, who)
    finally:
        _run([*runtime, "down"], environment, who)
        shutil.rmtree(home, ignore_errors=True)


def eventually(condition: Callable[[], bool]) -> None:
    """Wait for it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.5)


def _run(command: Sequence[str], environment: dict[str, str], who: Who) -> str:
    done = subprocess.run(
        command,
        env=environment,
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        **who.options,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports
