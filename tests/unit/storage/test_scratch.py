"""Temporary rows of tenants: where they lie, who may look, and who clears up after a kill."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from include.errors import ConfigError
from include.storage.scratch import scratch, scratch_folder, sweep
from include.storage.slices import Spool

ROOT = Path(__file__).parents[3]
#: A task that is killed while its rows lie in a file.
CHILD = """
import sys, time
import pyarrow as pa
from include.ingestion.spool import SliceSpool
from include.storage.canonical import EVENTS
from include.storage.scratch import scratch
from include.storage.slices import Spool
schema = pa.schema([("n", pa.int64())])
with Spool(schema, 1, owner=sys.argv[1]) as spool, scratch(sys.argv[1]) as folder:
    spool.write(pa.table({"n": [1, 2, 3]}))
    (folder / "rows").write_text("ann@x.org")
    print("spooled", flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder."""
    monkeypatch.setenv("TENANTRY_SPOOL", str(tmp_path / "spool"))
    return tmp_path


@pytest.fixture
def start() -> Callable[[str], subprocess.Popen[str]]:
    """Starts a task of a tenant that is in the middle of its spool."""

    def run(owner: str) -> subprocess.Popen[str]:
        task = subprocess.Popen(
            [sys.executable, "-c", CHILD, owner], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert task.stdout is not None
        assert task.stdout.readline() == "spooled\n"
        return task

    return run


def kill(task: subprocess.Popen[str]) -> None:
    """Without a chance to clear up."""
    task.send_signal(signal.SIGKILL)
    task.wait()
    assert task.stdout is not None
    task.stdout.close()


def files(folder: Path) -> list[Path]:
    """Every file in it, however deep."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_a_killed_task_spooled_is_swept(
    home: Path, start: Callable[[str], subprocess.Popen[str]]
) -> None:
    """And nothing of a task that lives, of the same tenant or of another."""
    killed, alive, other = start("alder"), start("alder"), start("birch")
    try:
        kill(killed)
        assert len(files(home / "spool")) == 12
        assert sweep("alder") == 2
        assert len(files(home / "spool" / "alder")) == 4
        assert sweep("alder") == 0
    finally:
        kill(alive)
        kill(other)
    assert sweep() == 4
    assert files(home) == []
    assert sweep() == 0


def test_the_folder_is_its_owners_alone(home: Path) -> None:
    """Whatever the umask: folders 0700, and the lock 0600."""
    before = os.umask(0)
    try:
        with scratch("alder") as folder:
            for place in (folder, folder.parent, folder.parent.parent):
                assert stat.S_IMODE(place.stat().st_mode) == 0o700
            (lock,) = folder.parent.glob("*.lock")
            assert stat.S_IMODE(lock.stat().st_mode) == 0o600
            assert folder.is_relative_to(home / "spool" / "alder")
    finally:
        os.umask(before)
    assert files(home) == []


def test_an_open_folder_is_closed(home: Path) -> None:
    """One that was made with another mask before is taken from the others."""
    (home / "spool").mkdir(mode=0o755)
    with scratch("alder"):
        assert stat.S_IMODE((home / "spool").stat().st_mode) == 0o700


def test_a_link_in_its_place_is_refused(
    home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Somebody else's folder never holds a tenant's rows."""
    (home / "spool").symlink_to(tmp_path_factory.mktemp("elsewhere"))
    with pytest.raises(ConfigError, match="belongs to somebody else"), scratch("alder"):
        pytest.fail("it was used")


@pytest.mark.parametrize("owner", ["../birch", "", "a/b", "."])
def test_an_owner_is_a_tenants_id(owner: str) -> None:
    """Nothing else reaches a path."""
    with pytest.raises(ConfigError), scratch(owner):
        pytest.fail("it was used")


def test_rows_of_a_spool_lie_in_its_owners_folder(home: Path) -> None:
    """From the first file on, and no longer than the spool."""
    with Spool(pa.schema([("n", pa.int64())]), 1, owner="alder") as spool:
        spool.write(pa.table({"n": [1, 2]}))
        assert spool.folder.parent == home / "spool" / "alder"
    assert files(home) == []


def test_the_folder_can_be_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By `TENANTRY_SPOOL`; without it, a folder of the machine's that bears the user's number."""
    monkeypatch.setenv("TENANTRY_SPOOL", str(home / "fast"))
    assert scratch_folder() == home / "fast"
    monkeypatch.delenv("TENANTRY_SPOOL")
    assert str(os.geteuid()) in scratch_folder().name
