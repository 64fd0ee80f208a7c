"""Forgets what is too old of a tenant, in every place that `places` declares for lake and Postgres.

Time goes on after a contract's last day: what was agreed is for how long data is kept, not that it
is kept for ever once nobody pays any more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from psycopg import sql

from include.errors import TenantryError
from include.storage.lake import Lake
from include.storage.places import (
    TABLES,
    Cutoffs,
    LakePlace,
    TablePlace,
    dated,
    lake_place,
    registered,
)
from include.storage.postgres import Connection, tenant_transaction
from include.tenants.config import Retention
from include.tenants.namespace import TenantRef

T = TypeVar("T")

_EVENTS: Final = ("landing_events", "events")
_FACTS: Final = {"landing_attributes": "landing_events", "attributes": "events"}
_DELTA: Final = (*_EVENTS, *_FACTS)
#: The online store is built from the lake. Of a tenant that runs no more it goes once the lake has
#: forgotten something, and where no run has brought it forward for so long: the next builds it.
_STALE: Final = timedelta(days=31)
_ONLINE: Final = (
    "online_events", "online_partials", "online_delivered", "online_facts", "online_views",
    "online_groups",
)  # fmt: skip


@dataclass(frozen=True)
class Expired:
    """What was forgotten."""

    tenant: str
    events: int
    predictions: int
    quarantined: int
    files: int
    facts: int = 0
    rows: int = 0  #: of the other tables

    @property
    def anything(self) -> bool:
        """Whether something was."""
        return any(getattr(self, one.name) for one in fields(self) if one.name != "tenant")


def expire_of(
    owner: TenantRef,
    retention: Retention,
    at: datetime,
    lake: Lake,
    *,
    running: bool,
    in_force: Collection[str] | None = None,
) -> Expired:
    """Delete what is older than the owner's retention, counted back from `at`.

    The owner is whoever has data: a tenant, one that was removed, or the platform itself. Doing it
    again changes nothing. Files of the lake's older table versions go a week after the rows in them
    did. One place that cannot be reached holds up no other.

    Args:
        running: whether runs bring the owner's online store forward; else it goes with the first
            row that the lake forgets, and files of older table versions go at once.
        in_force: folders of the registry, relative to the owner's, of the versions that serve or
            may next; None where nobody knows, and all stay.

    Raises:
        TenantryError: lists the places that could not be reached, after the others are done.
    """
    cutoffs, unread, failed = Cutoffs.at(at, retention), not running, []

    def part(name: str, do: Callable[[], T], nothing: T) -> T:
        try:
            return do()
        except Exception as error:  # a broken log or file raises whatever its library does
            failed.append(f"{name}: {' '.join(str(error).split())[:300] or type(error).__name__}")
            return nothing

    events = sum(
        part(table, lambda t=table: lake.forget(owner, t, cutoffs.events, unread=unread), 0)  # type: ignore[misc]
        for table in _EVENTS
    )
    facts = sum(
        part(
            table,
            lambda t=table, of=of: lake.forget_facts(owner, t, of, cutoffs.events, unread=unread),  # type: ignore[misc]
            0,
        )
        for table, of in _FACTS.items()
    )
    files = part("files", lambda: _expire_files(lake.file_path(owner, ""), cutoffs, in_force), 0)
    emptied = unread and bool(events + facts)
    none: dict[str, int] = {}
    rows = part("rows", lambda: expire_rows(owner, cutoffs, at, emptied=emptied), none)
    if failed:
        raise TenantryError("; ".join(failed))
    return Expired(
        tenant=owner.id,
        events=events,
        predictions=rows.pop("predictions", 0),
        quarantined=rows.pop("quarantine", 0),
        files=files,
        facts=facts,
        rows=sum(rows.values()),
    )


def expire_rows(
    owner: TenantRef, cutoffs: Cutoffs, at: datetime, *, emptied: bool = False
) -> dict[str, int]:
    """The rows' part: by table, how many went.

    Args:
        emptied: the online store goes as a whole.
    """
    done: dict[str, int] = {}
    with tenant_transaction(owner) as connection:
        for place in TABLES:
            before = cutoffs.of(place.clock)
            if before is not None and place.column:
                done[place.table] = _expire_table(connection, owner, place, before)
        if emptied or _is_stale(connection, owner, at):
            for table in _ONLINE:
                done[table] = _delete(connection, owner, table)
    return done


def _expire_table(
    connection: Connection, owner: TenantRef, place: TablePlace, before: datetime
) -> int:
    query = sql.SQL("DELETE FROM {} t WHERE t.tenant_id = %s AND t.{} < %s AND ({})").format(
        sql.Identifier(place.table),
        sql.Identifier(place.column),
        sql.SQL(place.only or "true"),
    )
    return connection.execute(query, [owner.id, before]).rowcount


def _delete(connection: Connection, owner: TenantRef, table: str) -> int:
    query = sql.SQL("DELETE FROM {} WHERE tenant_id = %s").format(sql.Identifier(table))
    return connection.execute(query, [owner.id]).rowcount


def _is_stale(connection: Connection, owner: TenantRef, at: datetime) -> bool:
    row = connection.execute(
        "SELECT max(materialized_at) AS until FROM online_views WHERE tenant_id = %s", [owner.id]
    ).fetchone()
    return row is not None and row["until"] is not None and row["until"] < at - _STALE


def _expire_files(home: Path, cutoffs: Cutoffs, in_force: Collection[str] | None) -> int:
    """Delete what is too old among the plain files of a tenant's folder."""
    newest: dict[Path, str] = {}
    found: list[tuple[Path, LakePlace, datetime]] = []
    for path in sorted(home.rglob("*")):
        relative = path.relative_to(home)
        if relative.parts[0] in _DELTA or not path.is_file():
            continue
        place = lake_place(relative.as_posix())
        if place is None or (before := cutoffs.of(place.clock)) is None:
            continue
        if place.newest_stays:  # training/{use case}/{instant}-{trigger}/…
            folder = path.parent
            newest[folder.parent] = max(newest.get(folder.parent, ""), folder.name)
        found.append((path, place, before))
    gone = 0
    for path, place, before in found:
        if place.newest_stays and newest[path.parent.parent] == path.parent.name:
            continue
        name = path.relative_to(home).as_posix()
        if name.startswith("models/") and (
            in_force is None or path.parent.relative_to(home).as_posix() in in_force
        ):
            continue
        instant = _instant(path, name)
        if instant is not None and instant < before:
            path.unlink(missing_ok=True)
            gone += 1
    for folder in sorted((one for one in home.rglob("*") if one.is_dir()), reverse=True):
        parts = folder.relative_to(home).parts
        if parts[0] not in _DELTA and len(parts) > 1:
            _remove_empty(folder)
    return gone


def _remove_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:  # it holds something, or somebody is just writing into it
        return


def _instant(path: Path, relative: str) -> datetime | None:
    """When a file's content is of: by its name, by its version's card, else by its own age.

    Whom a model was trained on goes with the first of its snapshots: once events of that time are
    erased, the training set cannot be made again.
    """
    if relative.startswith("models/"):
        return registered(path)
    if relative.startswith("spines/") and (first := _first_snapshot(path)) is not None:
        return first
    if (found := dated(relative)) is not None:
        return found
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except FileNotFoundError:
        return None


def _first_snapshot(spine: Path) -> datetime | None:
    try:
        found = pc.min(pq.read_table(spine, columns=["as_of"], partitioning=None)["as_of"]).as_py()
    except (OSError, pa.ArrowException):
        return None
    return found if isinstance(found, datetime) else None
