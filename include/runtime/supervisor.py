"""The process that keeps the components running: Postgres, Airflow, its housekeeping, MLflow's UI.

Started detached by `control.up`, in the components' environment; ends what it started, and
nothing else, on SIGTERM. Whatever dies comes back, later each time it dies again soon.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from include.errors import TenantryError
from include.runtime import postgres, processes
from include.runtime.environment import uses_embedded_postgres
from include.runtime.ports import HOST, Ports, from_environment
from include.runtime.private import keep_to_owner
from include.runtime.state import State, locate

NAME = "supervisor"
_BEAT_SECONDS = 0.25
_GRACE_SECONDS = 10.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
_STEADY_SECONDS = 60.0  # a component that ran this long starts again without a pause
_LOG_BYTES = 50 * 1024**2


def commands(state: State, ports: Ports) -> dict[str, list[str]]:
    """The command of every component, by its name, in the order of starting."""
    scripts = Path(sys.executable).parent
    airflow = str(scripts / "airflow")
    return {
        "scheduler": [airflow, "scheduler", "--skip-serve-logs"],
        "api-server": [airflow, "api-server"],
        "dag-processor": [airflow, "dag-processor"],
        "triggerer": [airflow, "triggerer", "--skip-serve-logs"],
        "housekeeping": [sys.executable, "-m", "include.runtime.housekeeping"],
        "mlflow": [
            *(str(scripts / "mlflow"), "server", "--host", HOST, "--port", str(ports.mlflow)),
            *("--app-name", "tenantry", "--workers", "1", "--enable-workspaces"),
            *("--default-artifact-root", str(state.mlflow)),
        ],
    }


@dataclass
class Component:
    """One child of the supervisor: how to start it, and how it has fared."""

    name: str
    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    record: processes.Record | None = None
    started: float = 0.0
    pause: float = 0.0
    due: float = 0.0

    def start(self, state: State, environment: Mapping[str, str]) -> None:
        """Starts the component as the leader of a session of its own."""
        log = state.logs / f"{self.name}.log"
        self.process = processes.spawn(self.command, environment, log)
        self.started = time.monotonic()
        self.record = processes.remember(state.run, self.name, self.process.pid)

    def check(self, state: State, environment: Mapping[str, str]) -> None:
        """Starts the component if it is down and due; called at every beat."""
        now = time.monotonic()
        bound_log(state.logs / f"{self.name}.log")
        if self.process is not None and self.process.poll() is not None:
            steady = now - self.started > _STEADY_SECONDS
            self.pause = 0.0 if steady else min(_LONGEST_PAUSE, self.pause * 2 or _FIRST_PAUSE)
            _say(f"{self.name} ended ({self.process.returncode}); again in {self.pause:g} s")
            if self.record is not None:
                processes.kill(self.record)  # its forks would go on without it
            self.process, self.due = None, now + self.pause
        if self.process is None and now >= self.due:
            self.start(state, environment)


def bound_log(log: Path, most: int = _LOG_BYTES) -> None:
    """Set a log aside as `.log.1` once it is too long, and empty it.

    Who writes keeps the file open, and goes on at its end, which is then its beginning. What is
    said in the milliseconds between is lost.
    """
    with suppress(FileNotFoundError):
        if log.stat().st_size > most:
            shutil.copyfile(log, log.with_suffix(".log.1"))
            os.truncate(log, 0)


def supervise(state: State, environment: Mapping[str, str], stop: threading.Event) -> None:
    """Keeps the components running until `stop` is set, then ends them (but not Postgres)."""
    embedded = uses_embedded_postgres(environment, postgres.address(state))
    ports = from_environment(environment)
    components = [Component(name, line) for name, line in commands(state, ports).items()]
    while not stop.is_set():
        if embedded and not postgres.is_running(state):
            _revive_postgres(state)
        for component in components:
            try:
                component.check(state, environment)
            except OSError as error:  # a full disk passes; the components that run must go on
                _say(f"{component.name} cannot be started: {error}")
        stop.wait(_BEAT_SECONDS)
    _say("stopping")
    records = [component.record for component in components if component.record]
    processes.end(records, _GRACE_SECONDS)
    for record in records:
        processes.forget(state.run, record.name)
    processes.forget(state.run, NAME)


def _revive_postgres(state: State) -> None:
    try:
        postgres.start(state)
        _say("postgres had ended; it runs again")
    except (TenantryError, OSError) as error:
        _say(f"postgres does not start: {error}")
        time.sleep(1.0)


def _say(text: str) -> None:
    print(time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), text, flush=True)


def main() -> None:
    """Supervises the installation of this environment until SIGTERM or SIGINT."""
    keep_to_owner()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    supervise(locate(), dict(os.environ), stop)


if __name__ == "__main__":
    main()
