"""Recorded processes are recognised by start time, and ended with all they forked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from include.runtime import processes
from include.runtime.processes import Record

#: a process that forks one child, tells its pid, and sleeps
_PARENT = """
import os, time
child = os.fork()
if child:
    print(child, flush=True)
time.sleep(300)
"""


@pytest.fixture
def parent() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-c", _PARENT], stdout=subprocess.PIPE, start_new_session=True
    )
    yield process
    assert process.stdout is not None
    process.stdout.close()
    process.kill()
    process.wait()


def _child(parent: subprocess.Popen[bytes]) -> psutil.Process:
    assert parent.stdout is not None
    return psutil.Process(int(parent.stdout.readline()))


def _gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_record_outlives_the_process_that_wrote_it(tmp_path: Path) -> None:
    """What was remembered is recalled from the folder, and no longer once forgotten."""
    record = processes.remember(tmp_path, "scheduler", os.getpid())
    assert processes.recall(tmp_path) == (record,)
    assert processes.is_alive(record)
    processes.forget(tmp_path, "scheduler")
    assert processes.recall(tmp_path) == ()


def test_a_recycled_pid_is_not_ours() -> None:
    """The same pid with another start time is somebody else's process: not alive, never ended."""
    mine = psutil.Process()
    stale = Record("scheduler", mine.pid, mine.create_time() - 3600)
    assert not processes.is_alive(stale)
    assert processes.family(stale) == []
    processes.end([stale], grace_seconds=0)  # would end this very test


def test_a_torn_record_counts_as_absent(tmp_path: Path) -> None:
    """A file that a crash left half written does not stop the next start."""
    (tmp_path / "scheduler.json").write_text('{"name": "sched')
    assert processes.recall(tmp_path) == ()


def test_ending_a_process_ends_its_children(
    tmp_path: Path, parent: subprocess.Popen[bytes]
) -> None:
    """Nothing of the session is left, though only the leader was recorded."""
    child = _child(parent)
    processes.end([processes.remember(tmp_path, "x", parent.pid)], grace_seconds=5)
    assert _gone(child)
    assert not psutil.pid_exists(parent.pid)


def test_children_of_a_killed_parent_are_found(
    tmp_path: Path, parent: subprocess.Popen[bytes]
) -> None:
    """After SIGKILL of the leader its forks are still known as its family, and ended."""
    record = processes.remember(tmp_path, "x", parent.pid)
    child = _child(parent)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert [p.pid for p in processes.family(record)] == [child.pid]
    processes.kill(record)
    assert _gone(child)


def test_a_killed_process_is_dead_before_it_is_reaped(
    tmp_path: Path, parent: subprocess.Popen[bytes]
) -> None:
    """A zombie does not count as alive."""
    record = processes.remember(tmp_path, "x", parent.pid)
    parent.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, parent.pid, os.WEXITED | os.WNOWAIT)
    assert psutil.Process(parent.pid).status() == psutil.STATUS_ZOMBIE
    assert not processes.is_alive(record)
