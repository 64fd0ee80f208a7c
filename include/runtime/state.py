"""The state folder: everything the embedded runtime writes, and who may change it right now."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from include.errors import UnavailableError
from include.runtime.private import close_folder, make_folder
from include.storage.lake_files import check_root

PROJECT = Path(__file__).resolve().parents[2]
#: a first start writes about 150 MB; below this, Postgres may stop in the middle of a write
MINIMUM_FREE_BYTES = 500 * 1024**2


@dataclass(frozen=True)
class State:
    """The layout of one state folder; two folders are two independent installations."""

    home: Path

    @property
    def postgres(self) -> Path:
        return self.home / "postgres"

    @property
    def airflow(self) -> Path:
        return self.home / "airflow"

    @property
    def lake(self) -> Path:
        return self.home / "lake"

    @property
    def mlflow(self) -> Path:
        return self.home / "mlflow"

    @property
    def logs(self) -> Path:
        return self.home / "logs"

    @property
    def run(self) -> Path:
        return self.home / "run"

    @property
    def secrets(self) -> Path:
        return self.home / "secrets"

    @property
    def temporary(self) -> Path:
        return self.home / "tmp"

    @property
    def spool(self) -> Path:
        return self.home / "spool"

    @property
    def folders(self) -> tuple[Path, ...]:
        return (
            *(self.airflow, self.lake, self.mlflow, self.logs, self.run),
            *(self.secrets, self.temporary, self.spool),
        )


def locate(environment: Mapping[str, str] = os.environ) -> State:
    """The state folder of this environment: `$TENANTRY_HOME`, else `.tenantry/` in the project."""
    home = environment.get("TENANTRY_HOME")
    return State(Path(home).expanduser().absolute() if home else PROJECT / ".tenantry")


def prepare(state: State, minimum_free_bytes: int = MINIMUM_FREE_BYTES) -> State:
    """Creates the folders, closed to everybody else.

    Raises:
        ConfigError: the lake cannot be in a folder of that name.
        UnavailableError: they cannot be written, do not fit, or are not this user's alone.
    """
    check_root(state.lake, "TENANTRY_HOME")
    probe = state.home / ".probe"
    try:
        for folder in state.folders:
            make_folder(folder)
        for folder in (state.home, *state.folders):
            close_folder(folder)
        probe.write_bytes(b"0" * 4096)
        probe.unlink()
    except OSError as error:
        raise UnavailableError(
            f"the state folder {state.home} cannot be written: {error.strerror}. "
            "Free space or fix its permissions, or set TENANTRY_HOME to another folder."
        ) from error
    free = shutil.disk_usage(state.home).free
    if free < minimum_free_bytes:
        raise UnavailableError(
            f"only {free // 1024**2} MB are free on the disk of {state.home}; "
            f"{minimum_free_bytes // 1024**2} MB are needed. "
            "Free space, or set TENANTRY_HOME to a folder on another disk."
        )
    return state


@contextmanager
def lock(state: State, name: str, *, wait_seconds: float = 0.0) -> Iterator[None]:
    """Holds the lock `name` of this state folder, or raises UnavailableError naming its holder.

    The kernel releases the lock when its holder ends, however it ends, so a crash leaves nothing
    to clean up; the text in the file only serves the message.
    """
    make_folder(state.run)
    path = state.run / f"{name}.lock"
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "a+") as file:
        deadline = time.monotonic() + wait_seconds
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise UnavailableError(_held(path, name)) from None
                time.sleep(0.05)
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid()}))
        file.flush()
        yield


def _held(path: Path, name: str) -> str:
    try:
        holder = f"process {json.loads(path.read_text())['pid']}"
    except (OSError, ValueError, KeyError):
        holder = "another process"
    return (
        f"{holder} is already working on this installation (lock {path}, {name}). "
        "Wait until it is done, or end that process and try again."
    )
