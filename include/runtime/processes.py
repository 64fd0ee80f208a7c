"""Processes that outlive the one that started them: recorded, recognised and ended with all kin.

A record is a pid and the start time of that process, so that a recycled pid is never taken for
ours. Every component leads its own session, which its forks never leave; that is how the
children of a killed parent are found.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from include.runtime.state import PROJECT


@dataclass(frozen=True)
class Record:
    """One started process; written to `run/{name}.json`."""

    name: str
    pid: int
    started_at: float  #: seconds since the epoch, as the system reports it


def spawn(
    command: Sequence[str], environment: Mapping[str, str], log: Path
) -> subprocess.Popen[bytes]:
    """Starts a process as the leader of a session of its own; what it says is added to the log."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=PROJECT,
            env=dict(environment),
            start_new_session=True,
        )


def remember(folder: Path, name: str, pid: int) -> Record:
    """Writes the record of a process that was just started as the leader of its session."""
    record = Record(name, pid, psutil.Process(pid).create_time())
    partial = folder / f".{name}.json"
    partial.write_text(json.dumps(asdict(record)))
    partial.replace(folder / f"{name}.json")
    return record


def recall(folder: Path) -> tuple[Record, ...]:
    """The records in a folder, by name; a torn one counts as absent."""
    found = []
    for path in sorted(folder.glob("*.json")):
        with suppress(OSError, ValueError, TypeError):
            found.append(Record(**json.loads(path.read_text())))
    return tuple(found)


def forget(folder: Path, name: str) -> None:
    """Removes a record."""
    (folder / f"{name}.json").unlink(missing_ok=True)


def is_alive(record: Record) -> bool:
    """Whether that very process runs, not another one with its pid, nor its unreaped remains."""
    try:
        process = psutil.Process(record.pid)
        same = abs(float(process.create_time()) - record.started_at) < 1.0
        return same and bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def family(record: Record) -> list[psutil.Process]:
    """The recorded process, if it lives, and all that is left of its session."""
    if psutil.pid_exists(record.pid) and not _is_same(record):
        return []  # the pid was recycled, which cannot happen while its session has members
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if (
                os.getsid(process.pid) == record.pid
                and process.create_time() >= record.started_at - 1.0
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                found.append(process)
    return found


def end(records: Iterable[Record], grace_seconds: float) -> None:
    """Asks the recorded processes to stop, waits, then kills what is left of their sessions."""
    pending = list(records)
    for record in pending:
        if is_alive(record):
            with suppress(ProcessLookupError):
                os.kill(record.pid, signal.SIGTERM)
    deadline = time.monotonic() + grace_seconds
    while any(map(is_alive, pending)) and time.monotonic() < deadline:
        _reap(pending)
        time.sleep(0.05)
    for record in pending:
        kill(record)


def kill(record: Record) -> None:
    """Kills a recorded process and its session at once."""
    for _ in range(100):  # a fork may slip in between listing and killing
        if not (members := family(record)):
            return
        for process in members:
            with suppress(psutil.Error):
                process.kill()
        _reap([record])
        time.sleep(0.02)


def _is_same(record: Record) -> bool:
    try:
        return abs(float(psutil.Process(record.pid).create_time()) - record.started_at) < 1.0
    except psutil.Error:
        return True  # gone in between: what is left of its session is still ours


def _reap(records: Iterable[Record]) -> None:
    for record in records:
        with suppress(ChildProcessError):
            os.waitpid(record.pid, os.WNOHANG)
