"""Packed text: told by its first bytes, whatever its name; what is damaged is named."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.ingestion.sources import HEADER, ROW, World

SALES = (HEADER + ROW * 500).encode()


def zst(content: bytes) -> bytes:
    """The content as zstd."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())


def zipped(*members: tuple[str, bytes]) -> bytes:
    """An archive."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return written.getvalue()


def alone(content: bytes) -> bytes:
    """An archive of one member."""
    return zipped(("export.csv", content))


PACK: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zst,
    "zip": alone,
}


@pytest.mark.parametrize("packed", PACK)
@pytest.mark.parametrize("name", ["sales.csv", "sales.csv.gz", "sales.csv.zip", "sales"])
def test_a_packed_file_is_read_whatever_its_name(world: World, packed: str, name: str) -> None:
    """Browsers and mail programs rename what they store."""
    (world.own / name).write_bytes(PACK[packed](SALES))
    assert world.look(world.own / name).good == 500


@pytest.mark.parametrize("name", ["plain.csv.gz", "plain.zst", "plain.zip"])
def test_plain_text_is_read_whatever_its_name(world: World, name: str) -> None:
    """A file that was unpacked, but not renamed."""
    (world.own / name).write_bytes(SALES)
    assert world.look(world.own / name).good == 500


@pytest.mark.parametrize("packed", PACK)
@pytest.mark.parametrize("damage", ["cut", "changed", "head"])
def test_a_damaged_container_is_an_error_that_names_it(
    world: World, packed: str, damage: str
) -> None:
    """With what it is, and what to do; no error of a library."""
    whole = PACK[packed](SALES)
    middle = len(whole) // 2
    content = {
        "cut": whole[:middle],
        "changed": whole[:middle] + bytes(255 - byte for byte in whole[middle:-1]) + whole[-1:],
        "head": whole[:10] + b" is all that is left",
    }[damage]
    path = world.own / f"packed.csv.{packed}"
    path.write_bytes(content)
    told = str(world.refused(path))
    name = {"gz": "gzip", "bz2": "bzip2", "zst": "zstd"}.get(packed, packed)
    if damage == "head" and packed == "bz2":
        assert "packed.csv.bz2" in told
    else:
        assert f"packed.csv.{packed}: is damaged or incomplete as {name}; copy it" in told


def test_a_member_of_what_is_no_archive_is_an_error_that_names_it(world: World) -> None:
    """Also where the path asks for a member."""
    (world.own / "x.zip").write_bytes(b"PK\x03\x04 not a zip")
    told = str(world.refused(f"zip://orders.csv::{world.own}/x.zip"))
    assert "x.zip: is damaged or incomplete as zip; copy it here again" in told


def test_an_archive_of_several_says_how_a_member_is_named(world: World) -> None:
    """The members that look like names are told, nothing else of them."""
    member = ("ann.secret@birch.example.csv", SALES)
    (world.own / "all.zip").write_bytes(zipped(("orders.csv", SALES), ("returns.csv", b""), member))
    told = str(world.refused(world.own / "all.zip"))
    assert (
        "all.zip: is an archive of 3 members; put `zip://`, a member's name and `::` before" in told
    )
    assert "there are: orders.csv, returns.csv" in told
    assert world.look(f"zip://orders.csv::{world.own}/all.zip").good == 500


def test_what_systems_add_to_an_archive_is_no_member(world: World) -> None:
    """An archive made by a Mac holds one table."""
    aside = (("__MACOSX/._export.csv", b"\0"), (".DS_Store", b"\0"), ("folder/", b""))
    (world.own / "mac.zip").write_bytes(zipped(*aside, ("folder/export.csv", SALES)))
    assert world.look(world.own / "mac.zip").good == 500


def test_a_workbook_is_no_archive_of_tables(world: World) -> None:
    """It is named, and what to do instead."""
    book = zipped(("[Content_Types].xml", b"<x/>"), ("xl/workbook.xml", b"<x/>"))
    (world.own / "book.xlsx").write_bytes(book)
    assert "is an Excel workbook" in str(world.refused(world.own / "book.xlsx"))


def test_parquet_in_an_archive_is_read_too(world: World) -> None:
    """The archive's only member, whatever the format."""
    written = io.BytesIO()
    table = pa.table({"id": ["1"], "at": ["2024-01-09"], "user": ["u"]})
    pq.write_table(table, written)
    (world.own / "sales.zip").write_bytes(zipped(("sales.parquet", written.getvalue())))
    found = world.look(world.own / "sales.zip", "parquet", quantity=None, amount=None)
    assert found.good == 1
