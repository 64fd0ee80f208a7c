"""Plain files of the lake: written whole or not at all, and read as they were written."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.errors import ConfigError, IntegrityError
from include.handoffs import StoredObject
from include.storage.lake import Lake
from include.tenants.namespace import TenantRef

ALDER, BIRCH = TenantRef("alder", "eu", "pool"), TenantRef("birch", "eu", "pool")
CONTENT = b"four hundred rows"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(tmp_path / "lake")


def test_a_file_is_told_by_owner_path_digest_and_rows(lake: Lake) -> None:
    """What comes back from writing is what reading takes."""
    stored = lake.put(ALDER, "notes/one.txt", CONTENT, 400)
    digest = hashlib.sha256(CONTENT).hexdigest()
    assert stored == StoredObject("alder", "notes/one.txt", digest, 400)
    assert lake.get(ALDER, stored) == CONTENT
    assert lake.put(ALDER, "notes/one.txt", CONTENT).rows == 0


def test_a_files_content_is_on_the_disk_before_it_has_its_name(
    lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of it was handed over when the disk is asked to keep it, and only then it is renamed."""
    told: list[tuple[str, int]] = []
    replace = Path.replace
    monkeypatch.setattr(os, "fsync", lambda number: told.append(("kept", os.stat(number).st_size)))

    def renamed(path: Path, target: Path) -> Path:
        told.append(("named", path.stat().st_size))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", renamed)
    lake.put(ALDER, "notes/one.txt", CONTENT)
    assert told == [("kept", len(CONTENT)), ("named", len(CONTENT))]


def test_a_file_is_written_where_it_will_be(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the tenant's folder, so that renaming is one step and no other folder ever holds it."""
    written: list[Path] = []
    replace = Path.replace

    def renamed(path: Path, target: Path) -> Path:
        written.append(path.parent)
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", renamed)
    lake.put(ALDER, "notes/one.txt", CONTENT)
    assert written == [lake.file_path(ALDER, "notes")]


@pytest.mark.parametrize("gone", [False, True], ids=["there", "swept meanwhile"])
def test_what_could_not_be_written_leaves_nothing(
    lake: Lake, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    """The error is told, the file of before stays, and no part of the new one lies about."""
    stored = lake.put(ALDER, "notes/one.txt", CONTENT)

    def full(path: Path, target: Path) -> Path:
        if gone:
            path.unlink()
        raise OSError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(Path, "replace", full)
        with pytest.raises(OSError, match="the disk is full"):
            lake.put(ALDER, "notes/one.txt", b"something else")
    folder = lake.file_path(ALDER, "notes")
    assert [path.name for path in folder.iterdir()] == ["one.txt"]
    assert lake.get(ALDER, stored) == CONTENT


def test_a_table_comes_back_as_it_was(lake: Lake) -> None:
    """With its number of rows; equal tables are equal bytes, compressed with zstd."""
    table = pa.table({"user_id": ["a", "b"], "score": [0.25, None]})
    stored = lake.put_table(ALDER, "features/one.parquet", table)
    assert stored.rows == 2
    assert lake.get_table(ALDER, stored).equals(table)
    assert lake.put_table(ALDER, "features/two.parquet", table).digest == stored.digest
    made = pq.ParquetFile(lake.file_path(ALDER, stored.path)).metadata.row_group(0).column(0)
    assert made.compression == "ZSTD"


@pytest.mark.parametrize("read", ["get", "get_table"])
def test_what_is_not_what_was_recorded_is_not_read(lake: Lake, read: str) -> None:
    """A neighbour's, one that is gone, one that was changed, and a folder."""
    stored = lake.put_table(ALDER, "features/one.parquet", pa.table({"a": [1]}))
    reads: Any = getattr(lake, read)
    theirs = StoredObject("birch", stored.path, stored.digest, 1)
    with pytest.raises(IntegrityError, match="belongs to birch, not to alder"):
        reads(ALDER, theirs)
    for path in ("features/none.parquet", "features"):
        with pytest.raises(IntegrityError, match="is gone; run the stage"):
            reads(ALDER, StoredObject("alder", path, stored.digest, 1))
    lake.file_path(ALDER, stored.path).write_bytes(b"changed")
    with pytest.raises(IntegrityError, match="is not what was recorded"):
        reads(ALDER, stored)


@pytest.mark.parametrize(
    "path",
    ["..", "../birch/notes/one.txt", "notes/../../birch/notes/one.txt", "/etc/passwd", "../.."],
)
def test_a_path_that_leads_out_is_refused_by_every_door(lake: Lake, path: str) -> None:
    """Also where the file is there, and its digest is known."""
    stored = lake.put(BIRCH, "notes/one.txt", CONTENT)
    for door in (
        lambda: lake.put(ALDER, path, b"x"),
        lambda: lake.put_table(ALDER, path, pa.table({"a": [1]})),
        lambda: lake.file_path(ALDER, path),
        lambda: lake.get(ALDER, StoredObject("alder", path, stored.digest, 1)),
        lambda: lake.get_table(ALDER, StoredObject("alder", path, stored.digest, 1)),
    ):
        with pytest.raises(IntegrityError, match=r"leads out of the tenant's folder"):
            door()
    assert lake.get(BIRCH, stored) == CONTENT


def test_a_neighbour_whose_id_begins_alike_is_outside(lake: Lake) -> None:
    """A folder's name is compared as a whole."""
    longer = TenantRef("alder-two", "eu", "pool")
    stored = lake.put(longer, "one.txt", CONTENT)
    with pytest.raises(IntegrityError, match="leads out"):
        lake.get(ALDER, StoredObject("alder", "../alder-two/one.txt", stored.digest, 1))


def test_ones_own_folder_is_inside(lake: Lake) -> None:
    """Itself, and whatever comes back to it."""
    home = lake.file_path(ALDER, "")
    assert home == (lake.root / "eu" / "alder").resolve()
    assert lake.file_path(ALDER, "notes/../notes/one.txt") == home / "notes" / "one.txt"
    assert lake.file_path(ALDER, "../alder/one.txt") == home / "one.txt"


@pytest.mark.parametrize("table", ["none", "", "events/../../birch/events", "Events", "../events"])
def test_an_unknown_table_is_refused(lake: Lake, table: str) -> None:
    """Names that are known are listed; none is taken for a path."""
    with pytest.raises(ConfigError, match=r"unknown lake table .*; known: .*events"):
        lake.version(ALDER, table)
