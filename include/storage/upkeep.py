"""Small files of a Delta table put together, and files that no version needs taken away.

A table's own log says how long each of its files lives: from the version that added it until the
version that removed it. A file is needed by the newest version, and by each version that has a
name: that a model, a training or a stage's handoff has on record, and that somebody may therefore
read again. All other versions nobody can ask for. Putting files together is a version of its own,
with the same rows; so the small files go once no named version is older.
"""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import pyarrow as pa
from deltalake import DeltaTable

from include.storage.canonical import TIMESTAMP

#: So many files of one source and month are worth putting together.
MANY: Final = 8
_TARGET_BYTES: Final = 128 * 1024 * 1024
#: When the first row of a file arrived, where nothing tells.
UNKNOWN: Final = datetime.min.replace(tzinfo=UTC)
_SAME_ROWS: Final = "OPTIMIZE"  #: the operation of a commit that changes files and no rows


@dataclass(frozen=True)
class Life:
    """The versions that need a file: from `added` on, up to but without `removed`."""

    path: str
    added: int
    removed: int | None
    removed_at: datetime | None

    def is_needed(self, named: Collection[int], since: datetime) -> bool:
        """Whether a version needs the file, or did until a short while ago, when it was read."""
        if self.removed is None or self.removed_at is None or self.removed_at >= since:
            return True
        return any(self.added <= version < self.removed for version in named)


def compact(table: DeltaTable, month: str) -> int:
    """Put the small files of each source and month together, of months before `month`.

    Returns:
        How many files there are less. What is killed meanwhile has changed nothing.
    """
    files = pa.table(table.get_add_actions(flatten=True))
    counted = files.group_by(["partition.source", "partition.month"]).aggregate([("path", "count")])
    less = 0
    for place in counted.to_pylist():
        source, of = place["partition.source"], place["partition.month"]
        if of >= month or place["path_count"] < MANY:
            continue
        done = table.optimize.compact(
            partition_filters=[("source", "=", source), ("month", "=", of)],
            target_size=_TARGET_BYTES,
            max_concurrent_tasks=1,
        )
        less += done["numFilesRemoved"] - done["numFilesAdded"]
    return less


def vacuum(home: Path, named: Collection[int], since: datetime) -> int:
    """Delete the data files of a table that neither the newest nor a named version needs.

    Args:
        home: the table's folder.
        named: versions that somebody may read again.
        since: files that were written or needed since then stay: somebody may just be writing or
            reading them.

    Returns:
        How many went; none where the log has a gap, which leaves unknown what is needed.
    """
    lives = _lives(home / "_delta_log")
    if lives is None:
        return 0
    needed = {life.path for life in lives if life.is_needed(named, since)}
    gone = 0
    for file in sorted(home.glob("source=*/month=*/*.parquet")):
        if file.relative_to(home).as_posix() in needed or _written(file) >= since.timestamp():
            continue
        file.unlink(missing_ok=True)
        gone += 1
    return gone


def changed(home: Path, first: int, second: int) -> dict[str, datetime | None] | None:
    """Files in which rows came or went from one version to the other.

    Each with when its first row arrived, where that commit says so. None where the log has a gap.
    """
    files: dict[str, datetime | None] = {}
    for version in range(min(first, second) + 1, max(first, second) + 1):
        actions = _actions(home / "_delta_log", version)
        if actions is None:
            return None
        if any(a.get("commitInfo", {}).get("operation") == _SAME_ROWS for a in actions):
            continue
        for action in actions:
            if "add" in action:
                files[unquote(action["add"]["path"])] = _first_arrival(action["add"].get("stats"))
            elif "remove" in action:
                files.setdefault(unquote(action["remove"]["path"]), None)
    return files


def arrivals(table: DeltaTable | None) -> dict[str, datetime]:
    """A version's data files, each with when its first row arrived."""
    if table is None:
        return {}
    files = pa.table(table.get_add_actions(flatten=True))
    created = files["min.created_timestamp"].cast(TIMESTAMP).to_pylist()
    return dict(zip(files["path"].to_pylist(), (c or UNKNOWN for c in created), strict=True))


def unread_files(home: Path, table: DeltaTable, *, at_once: bool) -> list[Path]:
    """Files that the newest version does not need, and has not for a week.

    Args:
        at_once: those that it needed until just now, too.
    """
    names = (
        table.vacuum(0, dry_run=True, enforce_retention_duration=False, full=True)
        if at_once
        else table.vacuum(dry_run=True, full=True)
    )
    return [home / name for name in names]


def _lives(log: Path) -> list[Life] | None:
    """The life of every file that the log names; None where the log has a gap."""
    added: dict[str, int] = {}
    over: list[Life] = []
    version = -1
    for version, actions in enumerate(_versions(log)):
        if actions is None:
            return None
        for action in actions:
            if "add" in action:
                added[unquote(action["add"]["path"])] = version
            elif "remove" in action:
                path = unquote(action["remove"]["path"])
                at = datetime.fromtimestamp(action["remove"]["deletionTimestamp"] / 1000, UTC)
                over.append(Life(path, added.pop(path, 0), version, at))
    if version < 0:
        return None
    return [*over, *(Life(path, since, None, None) for path, since in added.items())]


def _versions(log: Path) -> Iterator[list[dict[str, Any]] | None]:
    """What each version did, from the first to the newest; None in place of one that is lacking."""
    newest = max((int(file.stem) for file in log.glob("[0-9]*[0-9].json")), default=-1)
    for version in range(newest + 1):
        yield _actions(log, version)


def _actions(log: Path, version: int) -> list[dict[str, Any]] | None:
    try:
        text = (log / f"{version:020}.json").read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines() if line]
    except (OSError, ValueError):
        return None


def _first_arrival(statistics: str | None) -> datetime | None:
    try:
        told = json.loads(statistics or "")["minValues"]["created_timestamp"]
        first = pa.scalar(datetime.fromisoformat(told), TIMESTAMP).as_py()
    except (ValueError, KeyError, TypeError):
        return None
    return first if isinstance(first, datetime) else None


def _written(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return time.time()
