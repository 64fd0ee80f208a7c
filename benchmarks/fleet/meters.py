"""What a side costs: CPU seconds and memory of its processes, and the bytes that it leaves behind.

CPU is read from `/proc/PID/stat`. A process that is over counts with its parent from when it was
waited for, so that a tree's seconds are those of its living members and of their children that are
over. Memory is the proportional share (PSS): pages that forked processes share count once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg

from include.runtime.postgres import Postgres
from include.runtime.state import State

#: Component → its processes, as they are now.
Processes = Mapping[str, list[psutil.Process]]
_SECONDS = 2.0  #: between two looks at the memory


def tree(pid: int | None) -> list[psutil.Process]:
    """A process and all its descendants; nothing of one that is gone."""
    with suppress(psutil.Error):
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    return []


def parent(process: psutil.Process) -> psutil.Process | None:
    """Who started it, while both live."""
    with suppress(psutil.Error):
        return process.parent()
    return None


def cpu_seconds(processes: Iterable[psutil.Process], children: bool = True) -> float:
    """User and system time of these processes, and of their children that are over."""
    seconds = 0.0
    for process in processes:
        with suppress(psutil.Error):
            spent = process.cpu_times()
            seconds += spent.user + spent.system
            if children:
                seconds += spent.children_user + spent.children_system
    return seconds


def memory_bytes(processes: Iterable[psutil.Process]) -> int:
    """Their proportional share of memory."""
    size = 0
    for process in processes:
        with suppress(OSError):
            lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
            size += sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
    return size


@dataclass
class MemoryWatch:
    """The highest memory of all components together while the `with` block runs."""

    look: Callable[[], Processes]
    peak: dict[str, int] = field(default_factory=dict)  #: component → bytes, when all had most
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> MemoryWatch:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_SECONDS):
            now = {name: memory_bytes(members) for name, members in self.look().items()}
            if sum(now.values()) > sum(self.peak.values()):
                self.peak = now


def bytes_left(state: State, server: Postgres) -> dict[str, int]:
    """Place → bytes: the lake by folder of a tenant's, every database, the logs."""
    left: dict[str, int] = {}
    for path in state.lake.rglob("*"):
        if path.is_file():
            parts = path.relative_to(state.lake).parts  # region, tenant, what it is
            place = f"lake {parts[2]}" if len(parts) > 3 else "lake other"
            left[place] = left.get(place, 0) + path.stat().st_size
    left["logs"] = sum(path.stat().st_size for path in state.logs.rglob("*") if path.is_file())
    with psycopg.connect(server.dsn("postgres")) as connection:
        sizes = connection.execute(
            "SELECT datname, pg_database_size(datname) FROM pg_database WHERE NOT datistemplate"
        )
        left |= {f"database {name}": size for name, size in sizes if name != "postgres"}
    return left
