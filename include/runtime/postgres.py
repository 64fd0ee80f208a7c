"""The embedded Postgres: one server per state folder, reached over a unix socket only.

The server outlives the process that started it. Authentication is by folder: the socket's folder is
open to its owner alone.

Started by root, the server runs as a user of its own, which may pass neither the state folder nor
whatever lies above it, and need not: it is handed its folder opened, and takes the way through
`/proc/self/fd`. No folder is opened to anyone for its sake.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from include.errors import UnavailableError
from include.runtime.postgres_programs import programs
from include.runtime.postgres_user import ServerUser, find_owner
from include.runtime.private import make_folder
from include.runtime.state import State, lock

SUPERUSER = "postgres"
#: database and the role that owns it; the tenants' databases are created by storage's migrations
DATABASES = {"airflow": "airflow", "mlflow": "mlflow"}
#: durability stays on (fsync, full_page_writes, synchronous_commit keep their defaults)
SETTINGS: Mapping[str, str] = {
    "listen_addresses": "",
    "max_connections": "300",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",
    # parallel plans need /dev/shm, which containers cap at 64 MB; two cores gain nothing from them
    "max_parallel_workers_per_gather": "0",
    "unix_socket_permissions": "0600",  # on top of its folder, which is closed as well
}
#: Folders that a child was handed opened, by their numbers
_OPENED = Path("/proc/self/fd")
_SOCKET_NAME = ".s.PGSQL.5432"
_LONGEST_SOCKET_PATH = 100  # bytes; Linux allows 107, macOS 103


@dataclass(frozen=True)
class Postgres:
    """Where a started server listens."""

    socket_dir: Path

    def dsn(self, database: str, user: str = SUPERUSER) -> str:
        """A libpq URL."""
        return f"postgresql://{user}@/{database}?host={quote(str(self.socket_dir), safe='/')}"

    def sqlalchemy_url(self, database: str, user: str = SUPERUSER) -> str:
        """The same place for SQLAlchemy with psycopg2, as Airflow and MLflow want it."""
        return self.dsn(database, user).replace("postgresql://", "postgresql+psycopg2://", 1)


def address(state: State) -> Postgres:
    """Where the server of this state folder listens once it runs."""
    return Postgres(_socket_dir(state))


def start(state: State, timeout_seconds: float = 60.0) -> Postgres:
    """Starts the server unless it runs, heals what a crash left, and creates the databases."""
    with lock(state, "postgres", wait_seconds=timeout_seconds):
        data = _data(state)
        server = address(state)
        if not is_running(state):
            owner = find_owner()
            make_folder(state.logs)
            _make_private(state.postgres, owner)
            _make_private(server.socket_dir, owner)
            _heal(data, server.socket_dir)
            if not (data / "PG_VERSION").exists():
                _initialise(state, data, owner)
            with _handed_over(state.postgres, owner) as (way, descriptors):
                socket_dir = _along(way, state.postgres, server.socket_dir)
                options = {**SETTINGS, "unix_socket_directories": f'"{socket_dir}"'}
                arguments = " ".join(f"-c {name}={shlex.quote(v)}" for name, v in options.items())
                patience = ["-w", "-t", str(int(timeout_seconds))]
                where = ["-D", str(_along(way, state.postgres, data))]
                command = ["start", *patience, *where, "-o", arguments]
                _run(state, "pg_ctl", command, owner, descriptors)
        create_databases(server, DATABASES)
        return server


def stop(state: State, timeout_seconds: float = 30.0) -> None:
    """Stops the server, if it runs: open sessions are rolled back, data is flushed."""
    with lock(state, "postgres", wait_seconds=timeout_seconds):
        data = _data(state)
        if is_running(state):
            owner = find_owner()
            with _handed_over(state.postgres, owner) as (way, descriptors):
                mode = ["stop", "-w", "-t", str(int(timeout_seconds)), "-m", "fast"]
                where = ["-D", str(_along(way, state.postgres, data))]
                _run(state, "pg_ctl", [*mode, *where], owner, descriptors)
        _heal(data, _socket_dir(state))


def is_running(state: State) -> bool:
    """Whether this state folder's postmaster lives; one that was killed but not reaped does not."""
    return postmaster(state) is not None


def postmaster(state: State) -> psutil.Process | None:
    """The postmaster's process, or None."""
    data = _data(state)
    try:
        process = psutil.Process(int((data / "postmaster.pid").read_text().split("\n", 1)[0]))
        alive = process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == data.resolve()
    except (OSError, ValueError, psutil.Error):
        return None
    return process if alive else None


def _data(state: State) -> Path:
    return state.postgres / "data"


def _socket_dir(state: State) -> Path:
    folder = state.postgres / "socket"
    if len(os.fsencode(folder / _SOCKET_NAME)) <= _LONGEST_SOCKET_PATH:
        return folder
    digest = sha256(os.fsencode(folder)).hexdigest()[:16]
    # not `gettempdir`: components have a temporary folder of their own, and look here, too
    return Path("/tmp") / f"tenantry-{os.geteuid()}-{digest}"  # noqa: S108


def _make_private(folder: Path, owner: ServerUser) -> None:
    make_folder(folder)
    if folder.is_symlink() or folder.stat().st_uid not in (os.geteuid(), owner.uid):
        raise UnavailableError(
            f"{folder} belongs to someone else, so Postgres must not use it. "
            "Remove it, or set TENANTRY_HOME to another folder."
        )
    if owner.switch:
        os.chown(folder, owner.uid, owner.gid)
    folder.chmod(0o700)


@contextmanager
def _handed_over(folder: Path, owner: ServerUser) -> Iterator[tuple[Path, tuple[int, ...]]]:
    """How the server gets to its folder, and the descriptors that its program inherits for that.

    A user of its own may not pass the folders above. An opened folder can be entered all the same,
    and stays open for as long as the server and its children live.
    """
    if not owner.switch:
        yield folder, ()
        return
    if not _OPENED.is_dir():
        raise UnavailableError(
            "this system has no /proc, without which root cannot start the embedded Postgres. "
            "Start as an ordinary user, or set TENANTRY_DATABASE_URL and "
            "TENANTRY_ADMIN_DATABASE_URL to a server of your own."
        )
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield _OPENED / str(descriptor), (descriptor,)
    finally:
        os.close(descriptor)


def _along(way: Path, folder: Path, place: Path) -> Path:
    """A place in the folder as it is reached on that way; one elsewhere as it is."""
    return way / place.relative_to(folder) if place.is_relative_to(folder) else place


def _heal(data: Path, socket_dir: Path) -> None:
    """Removes what a killed postmaster left behind. Only called when no postmaster lives."""
    _end_orphans(data)
    for leftover in (
        data / "postmaster.pid",
        socket_dir / _SOCKET_NAME,
        socket_dir / f"{_SOCKET_NAME}.lock",
    ):
        leftover.unlink(missing_ok=True)


def _end_orphans(data: Path, patience_seconds: float = 5.0) -> None:
    """Backends notice their postmaster's death by themselves; those that are too busy are ended.

    A new postmaster refuses to start while one of them still holds the shared memory.
    """
    deadline = time.monotonic() + patience_seconds
    while orphans := _backends(data):
        if time.monotonic() > deadline:
            for process in orphans:
                with suppress(psutil.Error):
                    process.send_signal(signal.SIGKILL)
        time.sleep(0.05)


def _backends(data: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["name"]):
        with suppress(psutil.Error, OSError):
            if (
                process.info["name"] == "postgres"
                and process.status() != psutil.STATUS_ZOMBIE
                and Path(process.cwd()) == data.resolve()
            ):
                found.append(process)
    return found


def _initialise(state: State, data: Path, owner: ServerUser) -> None:
    fresh = data.with_name("data.new")
    for folder in (fresh, data):  # left by an initdb that did not finish
        if folder.exists():
            shutil.rmtree(folder)
    arguments = ["--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "-U", SUPERUSER]
    with _handed_over(state.postgres, owner) as (way, descriptors):
        where = ["-D", str(_along(way, state.postgres, fresh))]
        _run(state, "initdb", [*arguments, *where], owner, descriptors)
    fresh.rename(data)


def _run(
    state: State,
    program: str,
    arguments: Sequence[str],
    owner: ServerUser,
    descriptors: tuple[int, ...],
) -> None:
    log = state.logs / "postgres.log"
    with log.open("ab") as output:
        os.fchmod(output.fileno(), 0o600)
        done = subprocess.run(
            [*owner.prefix, str(programs(owner) / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=state.postgres,
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
            start_new_session=True,
            pass_fds=descriptors,
            check=False,
            **owner.identity,
        )
    if done.returncode != 0:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-8:])
        raise UnavailableError(
            f"Postgres: `{program} {arguments[0]}` failed ({done.returncode}). "
            f"The end of {log}:\n{tail}"
        )


def create_databases(server: Postgres, databases: Mapping[str, str]) -> None:
    """Creates each database and the login role that owns it, where they are missing."""
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        roles = {row[0] for row in connection.execute("SELECT rolname FROM pg_roles")}
        existing = {row[0] for row in connection.execute("SELECT datname FROM pg_database")}
        for database, role in databases.items():
            if role not in roles:
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
            if database not in existing:
                connection.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(
                        sql.Identifier(database), sql.Identifier(role)
                    )
                )
