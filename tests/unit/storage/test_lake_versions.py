"""Old versions of a table: kept for as long as nothing in them had to be forgotten."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from include.errors import IntegrityError
from include.handoffs import Interval
from include.storage.canonical import ATTRIBUTES
from include.storage.lake import Lake
from include.tenants.namespace import TenantRef, lake_table

A = TenantRef("tenant-a", "eu", "pool")
TABLE = "attributes"
START = datetime(2024, 1, 1, tzinfo=UTC)
YEAR = timedelta(days=365)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(tmp_path)


def put(lake: Lake, day: int, value: str) -> int:
    """One fact, in a slice of its own day; the version afterwards."""
    at = START + timedelta(day)
    row = {
        "tenant_id": A.id,
        "source": "pos",
        "event_id": f"day-{day}",
        "entity": "item",
        "entity_id": "i",
        "name": "category",
        "value": value,
        "valid_from": at,
        "created_timestamp": at,
        "month": f"{at:%Y-%m}",
    }
    batches = pa.Table.from_pylist([row], schema=ATTRIBUTES).to_batches()
    return lake.replace_slice(
        A, TABLE, "pos", Interval(at, at + timedelta(days=1)), batches
    ).version


def values(lake: Lake, version: int | None = None) -> list[str]:
    """What a version holds, in order."""
    found: list[str] = lake.read(A, TABLE, version=version, columns=["value"])["value"].to_pylist()
    return found


def let_time_pass(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything written so far is a year old, and no file is too young to go."""
    vacuum = DeltaTable.vacuum

    def at_once(table: DeltaTable, **given: bool) -> list[str]:
        return vacuum(table, retention_hours=0, enforce_retention_duration=False, **given)

    monkeypatch.setattr(DeltaTable, "vacuum", at_once)
    ago = time.time() - YEAR.total_seconds()
    for path in (lake.root / lake_table(A, TABLE)).rglob("*"):
        os.utime(path, (ago, ago))


def test_a_version_outlives_a_hundred_later_ones(lake: Lake) -> None:
    """Delta drops the log of versions older than a month at each checkpoint, unless told not to."""
    first = put(lake, 0, "first")
    for number in range(101):
        put(lake, 0, str(number))
        ago = time.time() - YEAR.total_seconds()
        for path in (lake.root / lake_table(A, TABLE) / "_delta_log").iterdir():
            os.utime(path, (ago, ago))
    assert values(lake, first) == ["first"]


def test_forgetting_keeps_versions_that_hold_nothing_old(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slice that was replaced stays readable where no row of it had to go, and no commit is
    added."""
    before = put(lake, 40, "as it was")
    put(lake, 40, "as it is")
    let_time_pass(lake, monkeypatch)
    newest = lake.version(A, TABLE)
    assert lake.forget(A, TABLE, START + timedelta(days=40)) == 0
    assert values(lake, before) == ["as it was"]
    assert values(lake) == ["as it is"]
    assert lake.version(A, TABLE) == newest


def test_what_is_erased_is_in_no_version(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that retention erased leave the disk, those that were replaced before it too, and a
    version that needs them says so instead of reading as less."""
    put(lake, 0, "old and replaced")
    put(lake, 0, "old")
    version = put(lake, 31, "kept")
    let_time_pass(lake, monkeypatch)
    assert lake.forget(A, TABLE, START + timedelta(days=20)) == 1
    assert values(lake) == ["kept"]
    with pytest.raises(IntegrityError, match="retention erased"):
        values(lake, version)
    data = (lake.root / lake_table(A, TABLE)).rglob("*.parquet")
    assert not [path for path in data if "month=2024-01" in str(path)]


def test_a_killed_writers_old_file_goes_too(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that no version knows may hold old rows."""
    put(lake, 31, "kept")
    orphan = lake.root / lake_table(A, TABLE) / "source=pos" / "month=2024-01" / "part-x.parquet"
    orphan.parent.mkdir(parents=True, exist_ok=True)
    orphan.write_bytes(b"half a file")
    let_time_pass(lake, monkeypatch)
    lake.forget(A, TABLE, START + timedelta(days=20))
    assert not orphan.exists()
    assert values(lake) == ["kept"]


def test_a_version_that_never_was_is_an_error(lake: Lake) -> None:
    """A pinned version never reads as an empty table."""
    put(lake, 0, "x")
    with pytest.raises(IntegrityError, match="version 99"):
        values(lake, 99)
    with pytest.raises(IntegrityError, match="version 3"):
        lake.read(A, "events", version=3)


def test_a_version_tells_whether_rows_were_erased_since(lake: Lake) -> None:
    """Until which arrival; not of versions made later, nor where there was nothing to erase."""
    first, second = put(lake, 0, "a"), put(lake, 40, "b")
    assert lake.erased_since(A, TABLE, first) is None
    assert lake.forget(A, TABLE, START) == 0
    assert lake.version(A, TABLE).version == second
    until = START + timedelta(days=10)
    assert lake.forget(A, TABLE, until) == 1
    assert lake.erased_since(A, TABLE, first) == lake.erased_since(A, TABLE, second) == until
    third = put(lake, 80, "c")
    assert lake.erased_since(A, TABLE, third) is None
    assert lake.forget(A, TABLE, until + timedelta(days=40)) == 1
    assert lake.erased_since(A, TABLE, third) == until + timedelta(days=40)
    assert values(lake) == ["c"]
    assert lake.erased_since(A, TABLE, -1) is None
    assert lake.erased_since(A, "events", 0) is None
    log = lake.root / lake_table(A, TABLE) / "_delta_log"
    DeltaTable(str(log.parent)).create_checkpoint()
    for version in range(third):
        (log / f"{version:020}.json").unlink()
    assert lake.erased_since(A, TABLE, first) == until + timedelta(days=40)
