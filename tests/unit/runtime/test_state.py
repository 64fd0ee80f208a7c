"""The state folder: layout, room, and a lock that no crash can leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from include.errors import UnavailableError
from include.runtime import state
from include.runtime.state import PROJECT, State

_HOLDER = """
import sys, time
from pathlib import Path
from include.runtime.state import State, lock
with lock(State(Path(sys.argv[1])), "control"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_state_folder_is_in_the_project_by_default() -> None:
    """Without configuration, state lives in `.tenantry/` beside the code."""
    assert state.locate({}).home == PROJECT / ".tenantry"


def test_tenantry_home_moves_the_state_folder(tmp_path: Path) -> None:
    """`$TENANTRY_HOME` names another folder, which need not exist yet."""
    assert state.locate({"TENANTRY_HOME": str(tmp_path / "x")}).home == tmp_path / "x"


def test_secrets_are_closed_to_others(tmp_path: Path) -> None:
    """The folder of keys is open to its owner alone."""
    here = state.prepare(State(tmp_path))
    assert here.secrets.stat().st_mode & 0o077 == 0


def test_a_full_disk_is_named_before_anything_starts(tmp_path: Path) -> None:
    """Too little room is an error that says how much is free and what to set."""
    with pytest.raises(UnavailableError, match=r"MB are free .* TENANTRY_HOME"):
        state.prepare(State(tmp_path), minimum_free_bytes=2**62)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A path that is no folder is an error that names it and what to set."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match=r"file/home cannot be written.*TENANTRY_HOME"):
        state.prepare(State(tmp_path / "file" / "home"))


def test_a_held_lock_names_its_holder(tmp_path: Path) -> None:
    """A second command at the same time is told which process is at work."""
    here = State(tmp_path)
    with (
        state.lock(here, "control"),
        pytest.raises(UnavailableError, match=f"process {os.getpid()} is already working"),
        state.lock(here, "control"),
    ):
        pytest.fail("the lock was given twice")


def test_a_killed_holder_leaves_the_lock_free(tmp_path: Path) -> None:
    """SIGKILL of the holder frees the lock, though its file and pid are still there."""
    command = [sys.executable, "-c", _HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=PROJECT) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert str(holder.pid) in (tmp_path / "run" / "control.lock").read_text()
    with state.lock(State(tmp_path), "control"):
        assert str(os.getpid()) in (tmp_path / "run" / "control.lock").read_text()
