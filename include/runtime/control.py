"""Start, stop and look at the whole embedded installation: `up`, `down`, `status`."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from include import use_cases
from include.errors import UnavailableError
from include.runtime import (
    health,
    postgres,
    preload,
    processes,
    secrets,
    settings,
    state,
    supervisor,
)
from include.runtime.environment import component_environment, uses_embedded_postgres
from include.runtime.ports import Ports, from_environment, require_free
from include.runtime.private import keep_to_owner, tighten
from include.runtime.state import PROJECT, State
from include.tenants.loader import load_fleet, tenants_folder

#: called with a step's name when it begins (None) and when it is done (its seconds)
Progress = Callable[[str, float | None], None]

_STOP_SECONDS = 20.0
_HEALTHY_SECONDS = 240.0
_COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer", "housekeeping", "mlflow")
#: variables that change what a running component does; another value asks for a restart
_TELLING = ("AIRFLOW", "MLFLOW", "TENANTRY", "OMP_", "GX_")


@dataclass(frozen=True)
class ComponentStatus:
    """One part of the installation, as seen now."""

    name: str
    running: bool
    pid: int | None
    log: Path


@dataclass(frozen=True)
class Status:
    """The whole installation, as seen now."""

    home: Path
    airflow_url: str
    mlflow_url: str
    user: str
    password_file: Path  #: Airflow's: JSON, a password by user
    mlflow_password_file: Path  #: nothing but the password
    components: tuple[ComponentStatus, ...]

    @property
    def running(self) -> bool:
        return all(component.running for component in self.components)


def activate(base: Mapping[str, str] | None = None) -> tuple[State, Ports, dict[str, str]]:
    """Gives this process the components' environment, so that every stage finds its servers."""
    keep_to_owner()
    base = dict(os.environ if base is None else base)
    here = state.prepare(state.locate(base))
    ports = from_environment(base)
    environment = component_environment(here, postgres.address(here), ports, base)
    os.environ.update(environment)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    return here, ports, environment


def up(progress: Progress) -> Status:
    """Starts everything and returns once it is healthy; what already runs is left alone.

    Raises:
        UnavailableError: a port is busy, the disk full, or a component does not become healthy.
    """
    here, ports, environment = activate()
    with state.lock(here, "control"):
        fingerprint = _fingerprint(environment)
        since = datetime.now(UTC)
        if not _runs_unchanged(here, fingerprint):
            with _step(progress, "Checking ports and earlier starts"):
                _stop_components(here)
                for folder in (here.home, Path(environment["TENANTRY_LAKE"])):
                    tighten(folder)
                require_free(ports)
            if uses_embedded_postgres(environment, postgres.address(here)):
                with _step(progress, "Starting Postgres"):
                    postgres.start(here)
            with _step(progress, "Bringing the databases up to date"):
                _prepare_databases(here, environment)
            with _step(progress, "Starting Airflow and MLflow"):
                since = datetime.now(UTC)
                (here.run / "ports").write_text(json.dumps(asdict(ports)))
                _start_supervisor(here, environment, fingerprint)
        else:
            since = datetime.fromtimestamp(0, UTC)
        with _step(progress, "Waiting until all components are healthy"):
            _await_health(here, ports, since)
    return status()


def down(progress: Progress) -> None:
    """Stops what `up` started, and nothing else; the state stays."""
    here = state.prepare(state.locate(), minimum_free_bytes=0)
    with state.lock(here, "control"):
        with _step(progress, "Stopping Airflow and MLflow"):
            _stop_components(here)
        with _step(progress, "Stopping Postgres"):
            postgres.stop(here)


def clean(progress: Progress) -> None:
    """Stops everything and forgets the state, and nothing that `up` did not write."""
    down(progress)
    here = state.locate()
    with _step(progress, f"Removing the state in {here.home}"):
        for folder in (*here.folders, here.postgres):
            shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            here.home.rmdir()


def status() -> Status:
    """What runs now."""
    here = state.locate()
    ports = _started_with(here) or from_environment(os.environ)
    records = {record.name: record for record in processes.recall(here.run)}
    components = []
    for name in (supervisor.NAME, *_COMPONENTS):
        record = records.get(name)
        alive = record is not None and processes.is_alive(record)
        pid = record.pid if record is not None and alive else None
        components.append(ComponentStatus(name, alive, pid, here.logs / f"{name}.log"))
    server = postgres.postmaster(here)
    pid = server.pid if server is not None else None
    components.append(ComponentStatus("postgres", pid is not None, pid, here.logs / "postgres.log"))
    return Status(
        home=here.home,
        airflow_url=ports.airflow_url,
        mlflow_url=ports.mlflow_url,
        user=secrets.ADMIN,
        password_file=secrets.passwords_file(here),
        mlflow_password_file=secrets.mlflow_password_file(here),
        components=tuple(components),
    )


@contextmanager
def _step(progress: Progress, name: str) -> Iterator[None]:
    began = time.monotonic()
    progress(name, None)
    yield
    progress(name, time.monotonic() - began)


def _runs_unchanged(here: State, fingerprint: str) -> bool:
    known = here.run / "fingerprint"
    supervised = any(
        record.name == supervisor.NAME and processes.is_alive(record)
        for record in processes.recall(here.run)
    )
    return supervised and known.exists() and known.read_text() == fingerprint


def _stop_components(here: State) -> None:
    """Ends the supervisor first, so that it restarts nothing, then what it left behind."""
    records = processes.recall(here.run)
    leaders = [record for record in records if record.name == supervisor.NAME]
    processes.end(leaders, _STOP_SECONDS)
    processes.end([record for record in records if record not in leaders], _STOP_SECONDS)
    for record in records:
        processes.forget(here.run, record.name)
    (here.run / "ports").unlink(missing_ok=True)


def _prepare_databases(here: State, environment: Mapping[str, str]) -> None:
    from include.storage.migrate import migrate_all

    tenants = [one.ref for one in load_fleet(tenants_folder(), use_cases.names()).tenants.values()]
    stamp = here.postgres / "prepared"  # beside the data it speaks of: both vanish together
    wanted = _digest(
        version("apache-airflow"),
        version("mlflow"),
        settings.FILE.read_text(encoding="utf-8"),
        environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"],
        environment["MLFLOW_TRACKING_URI"],
    )
    if stamp.exists() and stamp.read_text() == wanted:
        migrate_all(tenants)
        return
    # MLflow's own command; the URL may hold a password, so it is kept out of the arguments
    upgrade = (
        "import os, runpy, sys; "
        "sys.argv = ['mlflow', 'db', 'upgrade', os.environ['MLFLOW_TRACKING_URI']]; "
        "runpy.run_module('mlflow', run_name='__main__')"
    )
    jobs = {
        "airflow-setup": [sys.executable, "-m", "include.runtime.airflow_setup"],
        "mlflow-setup": [sys.executable, "-c", upgrade],
    }
    started = {
        name: processes.spawn(command, environment, here.logs / f"{name}.log")
        for name, command in jobs.items()
    }
    migrate_all(tenants)
    for name, process in started.items():
        if process.wait() != 0:
            raise UnavailableError(_explain(here, name, "failed"))
    if uses_embedded_postgres(environment, postgres.address(here)):
        stamp.write_text(wanted)


def _started_with(here: State) -> Ports | None:
    """The ports of the running installation: `status` may be asked without their variables."""
    with suppress(OSError, ValueError, TypeError):
        return Ports(**json.loads((here.run / "ports").read_text()))
    return None


def _start_supervisor(here: State, environment: Mapping[str, str], fingerprint: str) -> None:
    local_settings = here.airflow / "config" / "airflow_local_settings.py"
    local_settings.parent.mkdir(parents=True, exist_ok=True)
    local_settings.write_text(preload.LOCAL_SETTINGS)
    (here.run / "fingerprint").write_text(fingerprint)
    command = [sys.executable, "-m", "include.runtime.supervisor"]
    process = processes.spawn(command, environment, here.logs / f"{supervisor.NAME}.log")
    processes.remember(here.run, supervisor.NAME, process.pid)


def _await_health(here: State, ports: Ports, since: datetime) -> None:
    deadline = time.monotonic() + _HEALTHY_SECONDS
    while missing := health.unhealthy(ports, since):
        if not any(component.running for component in status().components[:1]):
            raise UnavailableError(_explain(here, supervisor.NAME, "ended"))
        if time.monotonic() > deadline:
            raise UnavailableError(
                _explain(here, missing[0], f"is not healthy after {_HEALTHY_SECONDS:.0f} s")
            )
        time.sleep(0.25)


def _explain(here: State, name: str, what: str) -> str:
    log = here.logs / f"{name}.log"
    lines = log.read_text(errors="replace").splitlines()[-8:] if log.exists() else []
    return f"{name} {what}. The end of {log}:\n" + "\n".join(lines)


def _fingerprint(environment: Mapping[str, str]) -> str:
    """Changes with whatever a running component would not notice by itself.

    Tasks inherit `include/` from the scheduler that forks them, so new code asks for a restart;
    DAG files and tenants are read again all the time.
    """
    telling = [f"{k}={v}" for k, v in sorted(environment.items()) if k.startswith(_TELLING)]
    code = [
        f"{path.relative_to(PROJECT)} {sha256(path.read_bytes()).hexdigest()}"
        for folder in ("include", "plugins")
        for path in sorted((PROJECT / folder).rglob("*.py"))
    ]
    versions = [version("apache-airflow"), version("mlflow"), sys.version]
    return _digest(*telling, *code, *versions)


def _digest(*parts: str) -> str:
    return sha256("\0".join(parts).encode()).hexdigest()
