"""Parquet files that decode to more than they look like: told before, or stopped on the way."""

from __future__ import annotations

import contextlib
import resource
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.errors import SourceError
from include.handoffs import Interval
from include.ingestion import parquet_budget
from include.ingestion.grants import SourceLimits
from include.ingestion.parquet_files import read_parquet
from include.ingestion.parquet_pages import pages_of
from include.ingestion.wanted import Presence, Wanted
from include.tenants.config import Source
from tests.unit.ingestion.sources import EVENTS, World

AT = pa.scalar(datetime(2024, 1, 9, tzinfo=UTC), pa.timestamp("us", "UTC"))


def repeated(value: Any, rows: int) -> pa.Array:
    """A column of one value, held once."""
    indices = pa.repeat(pa.scalar(0, pa.int32()), rows)
    return pa.DictionaryArray.from_arrays(indices, pa.array([value]))


def write(path: Path, rows: int, group: int, notes: pa.Array | None = None) -> Path:
    """A file of few bytes and many rows, written a row group at a time."""
    table = pa.table(
        {
            "id": repeated("1", group),
            "at": pa.repeat(AT, group),
            "user": repeated("u", group) if notes is None else notes,
        }
    )
    with pq.ParquetWriter(path, table.schema, compression="zstd") as writer:
        for _ in range(rows // group):
            writer.write_table(table, row_group_size=group)
    return path


def peak() -> int:
    """Bytes of this process at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_a_small_file_of_one_long_text_is_refused_before_it_is_decoded(world: World) -> None:
    """152 KB that are 1.3 TB: a dictionary of one text, and a million references to it."""
    long = "".join(chr(97 + n * n % 26) for n in range(1_300_000))
    path = write(world.own / "bomb.parquet", 1_000_000, 1_000_000, repeated(long, 1_000_000))
    assert path.stat().st_size < 160_000
    before = peak()
    error = world.refused(path, "parquet")
    assert "decodes to 1,300,0" in str(error)
    assert peak() - before < 300_000_000


def test_a_bomb_without_statistics_is_stopped_on_the_way(world: World) -> None:
    """Where no metadata says that there are no nulls, the budget ends it after a gigabyte."""
    long = "x" * 1_000_000
    table = pa.table(
        {"id": repeated("1", 20_000), "at": pa.repeat(AT, 20_000), "user": repeated(long, 20_000)}
    )
    path = world.own / "bomb.parquet"
    pq.write_table(table, path, compression="zstd", write_statistics=False)
    before = peak()
    world.grant({}, limits={"batch_bytes": 16_000_000, "decoded_bytes": 200_000_000})
    assert "decoded_bytes" in str(world.refused(path, "parquet"))
    assert peak() - before < 1_000_000_000  # of twenty that the file stands for


def test_many_rows_of_little_are_refused_by_their_number(world: World) -> None:
    """Rows and row groups have bounds of their own."""
    path = write(world.own / "many.parquet", 400_000, 100_000)
    for limits in ({"rows": 399_999}, {"row_groups": 3}, {"columns": 2}):
        world.grant({}, limits=limits)
        assert f"`{next(iter(limits))}` allows" in str(world.refused(path, "parquet"))
    world.grant({}, limits={"rows": 400_000, "row_groups": 4, "columns": 3})
    assert world.look(path, "parquet").good == 10_000


def test_a_nested_column_of_many_values_is_refused(world: World) -> None:
    """A list holds any number of values per row, and they count as what they are."""
    values = pa.array([list(range(1_000))] * 1_000)
    path = write(world.own / "nested.parquet", 1_000, 1_000, values)
    world.grant({}, limits={"decoded_bytes": 100_000, "rows": 10_000_000})
    assert "decoded_bytes" in str(world.refused(path, "parquet"))
    world.grant({}, limits={"rows": 999_999})
    assert "impossible number" in str(world.refused(path, "parquet"))


def test_values_that_repeat_the_one_before_are_decoded_few_at_a_time(world: World) -> None:
    """Delta encoded texts hold no dictionary, and all the same unpack to any length."""
    table = pa.table(
        {
            "id": [str(n) for n in range(2_000)],
            "at": pa.repeat(AT, 2_000),
            "user": ["x" * 100_000 + str(n) for n in range(2_000)],
        }
    )
    path = world.own / "delta.parquet"
    pq.write_table(table, path, use_dictionary=False, column_encoding={"user": "DELTA_BYTE_ARRAY"})
    assert path.stat().st_size < 1_000_000
    world.grant({}, limits={"batch_bytes": 8_000_000, "decoded_bytes": 60_000_000})
    before = peak()
    assert "decoded_bytes" in str(world.refused(path, "parquet"))
    assert peak() - before < 200_000_000


def test_columns_that_nobody_reads_cost_nothing(world: World) -> None:
    """A bomb in a column that is not mapped is not decoded."""
    table = pa.table(
        {
            "id": ["1"] * 100,
            "at": pa.repeat(AT, 100),
            "user": ["u"] * 100,
            "note": repeated("x" * 50_000_000, 100),
        }
    )
    path = world.own / "aside.parquet"
    pq.write_table(table, path, compression="zstd")
    assert world.look(path, "parquet").rows == 100


@pytest.mark.parametrize("rows", [1, 1_000, 65_536, 200_000])
def test_an_ordinary_file_is_decoded_as_ever(world: World, rows: int) -> None:
    """In batches of the usual size, whatever its texts."""
    texts = [f"a note of some forty characters, no {n}" for n in range(rows)]
    table = pa.table(
        {"id": [str(n) for n in range(rows)], "at": pa.repeat(AT, rows), "user": texts}
    )
    path = world.own / "plain.parquet"
    pq.write_table(table, path)
    with path.open("rb") as file:
        metadata = pq.read_metadata(path)
        leaves = parquet_budget.leaves_of(metadata, ["id", "at", "user"])
        groups = list(range(metadata.num_row_groups))
        pages = pages_of(file, metadata, groups, leaves, SourceLimits())
        texts_of = parquet_budget.dictionaries(file, metadata, groups, leaves)
        budget = parquet_budget.Decoded(SourceLimits(), path.stat().st_size)
        found = parquet_budget.rows_at_once(metadata, groups, leaves, pages, texts_of, budget)
    assert found == parquet_budget.BATCH_ROWS


def test_small_batches_come_out_as_usual_ones(world: World) -> None:
    """What is decoded few rows at a time is handed on in batches of the usual size, in order."""
    table = pa.table({"n": list(range(200_000))})
    budget = parquet_budget.Decoded(SourceLimits(), 1)
    batches = table.to_batches(max_chunksize=1_000)
    joined = list(parquet_budget.joined_batches(iter(batches), budget))
    assert [len(batch) for batch in joined] == [66_000, 66_000, 66_000, 2_000]
    assert pa.Table.from_batches(joined) == table


@pytest.mark.parametrize("at", [8, 40, 200, -8, -5, -1])
def test_metadata_that_lies_ends_in_an_error(world: World, at: int) -> None:
    """Bytes changed anywhere cost the source; nothing is read that was not there."""
    path = write(world.own / "lies.parquet", 1_000, 1_000)
    honest = path.read_bytes()
    for value in (0, 1, 127, 128, 255):
        content = bytearray(honest)
        content[at] = value
        path.write_bytes(bytes(content))
        try:
            assert world.look(path, "parquet").rows <= 1_000
        except SourceError as error:
            world.require_silence(error)


def one_page(path: Path, users: list[str]) -> Path:
    """A file of one row group, whose texts are one page."""
    count = len(users)
    table = pa.table({"id": [str(n) for n in range(count)], "at": pa.repeat(AT, count)})
    pq.write_table(
        table.append_column("user", pa.array(users)),
        path,
        compression="zstd",
        use_dictionary=False,
        data_page_size=1 << 30,
        write_batch_size=1 << 20,
        max_rows_per_page=1 << 30,
        write_statistics=False,
    )
    return path


def varint(number: int, length: int = 0) -> bytes:
    """An integer as Thrift writes it, in at least so many bytes."""
    left, found = number << 1, []
    while left > 0x7F or len(found) + 1 < length:
        found.append(left & 0x7F | 0x80)
        left >>= 7
    return bytes([*found, left])


@pytest.mark.parametrize("honest", [True, False], ids=["honest footer", "lying footer"])
def test_a_page_larger_than_is_decoded_at_once_is_not_unpacked(world: World, honest: bool) -> None:
    """Its own header says so, whatever the footer says."""
    path = one_page(world.own / "page.parquet", ["x" * 100_000] * 4_000)
    size = pq.read_metadata(path).row_group(0).column(2).total_uncompressed_size
    content = path.read_bytes()
    assert len(content) < 1_000_000
    if not honest:
        told = varint(size)
        assert content.count(told) >= 1
        body, footer = content[:-3_000], content[-3_000:]
        path.write_bytes(body + footer.replace(told, varint(1_000, len(told))))
        assert pq.read_metadata(path).row_group(0).column(2).total_uncompressed_size == 1_000
    before = peak()
    assert "a page holds 400,0" in str(world.refused(path, "parquet"))
    assert peak() - before < 100_000_000


def test_long_texts_among_many_short_ones_are_decoded_few_at_a_time(world: World) -> None:
    """The average says nothing about the part of a column where they stand together."""
    limits = SourceLimits(batch_bytes=8_000_000)
    path = world.own / "dense.parquet"
    users = [""] * 200_000 + [f"{n}" + "x" * 50_000 for n in range(2_000)]
    table = pa.table({"id": ["1"] * len(users), "at": pa.repeat(AT, len(users)), "user": users})
    pq.write_table(table, path, compression="zstd", use_dictionary=False, write_batch_size=50)
    connector = {"type": "file", "path": "dense.parquet", "format": "parquet"}
    source = Source.model_validate({"name": "pos", "connector": connector, "events": EVENTS})
    year = Interval(datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))
    rows = 0
    with path.open("rb") as file:
        presence = Presence(Wanted(("id", "at", "user")))
        for one in read_parquet(file, "dense", source, presence, year, limits):
            if isinstance(one, pa.Table):
                assert one.nbytes < 2 * limits.batch_bytes
                rows += len(one)
    assert rows == len(users)


def test_one_row_whose_list_holds_all_values_is_refused(world: World) -> None:
    """A row cannot be decoded in parts, and a run of equal values takes a few bytes."""
    count = 100_000_000
    lists = pa.ListArray.from_arrays(
        pa.array([0, count, count + 1], pa.int32()), pa.repeat(pa.scalar(1, pa.int8()), count + 1)
    )
    table = pa.table({"id": ["1", "2"], "at": pa.repeat(AT, 2), "user": ["u", "u"], "tags": lists})
    path = world.own / "row.parquet"
    pq.write_table(table, path, compression="zstd")
    assert path.stat().st_size < 100_000
    error = world.refused(path, "parquet", properties={"tags": "tags"})
    assert "could be one row's" in str(error)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "lz4", "brotli"])
@pytest.mark.parametrize("encoding", ["dictionary", "plain", "delta"])
def test_pages_of_every_kind_are_understood(
    world: World, version: str, compression: str, encoding: str
) -> None:
    """Their headers differ by version and statistics."""
    users = ["ü" * 3_000 + str(n % 7) for n in range(3_000)]
    table = pa.table(
        {
            "id": [str(n) for n in range(3_000)],
            "at": pa.repeat(AT, 3_000),
            "user": [one[-200:] for one in users],
            "note": users,
            "tags": [{"a": [n, None], "b": None} for n in range(3_000)],
        }
    )
    path = world.own / "any.parquet"
    pq.write_table(
        table,
        path,
        data_page_version=version,
        compression=compression,
        use_dictionary=encoding == "dictionary",
        column_encoding={"user": "DELTA_BYTE_ARRAY"} if encoding == "delta" else None,
        row_group_size=700,
        data_page_size=20_000,
        write_page_checksum=True,
        write_page_index=True,
    )
    assert world.look(path, "parquet", properties={"tags": "tags"}).good == 3_000
    metadata = pq.read_metadata(path)
    with path.open("rb") as file:
        pages = pages_of(
            file,
            metadata,
            range(metadata.num_row_groups),
            range(metadata.num_columns),
            SourceLimits(),
        )
    for (group, leaf), one in pages.items():
        column = metadata.row_group(group).column(leaf)
        assert one.values == column.num_values
        assert one.size <= column.total_uncompressed_size < one.size + 40_000


@pytest.mark.parametrize("at", range(4, 64, 3))
@pytest.mark.parametrize("byte", [0x00, 0x0C, 0x7F, 0x80, 0xFF, 0x19])
def test_a_page_header_that_is_none_ends_in_an_error(world: World, at: int, byte: int) -> None:
    """Or is harmless; never in a long wait, nor a crash."""
    path = write(world.own / "sales.parquet", 100, 100)
    content = bytearray(path.read_bytes())
    content[at : at + 4] = bytes([byte]) * 4
    path.write_bytes(content)
    with contextlib.suppress(SourceError):
        world.look(path, "parquet")


def footer(chunks: int, groups: int) -> bytes:
    """A file that is all footer, whose columns' entries take three bytes each."""
    length = bytes([chunks & 0x7F | 0x80, chunks >> 7 & 0x7F | 0x80, chunks >> 14])
    group = b"\x19\xfc" + length + b"\x26\x00\x00" * chunks + b"\x16\x00\x16\x00\x00"
    schema = b"\x48\x01r\x15\x02\x00" + b"\x15\x02\x38\x02id\x00"
    head = b"\x15\x02\x19\x2c" + schema + b"\x16\x00\x19" + bytes([groups << 4 | 12])
    told = head + group * groups + b"\x00"
    return b"PAR1" + told + len(told).to_bytes(4, "little") + b"PAR1"


def test_a_footer_that_would_fill_the_memory_is_not_parsed(world: World) -> None:
    """Three bytes of it become seven hundred: 32 MB were seven gigabytes."""
    path = world.own / "footer.parquet"
    path.write_bytes(footer(900_000, 12))
    before = peak()
    assert "parts" in str(world.refused(path, "parquet"))
    assert peak() - before < 300_000_000
    path.write_bytes(footer(1_000, 2))
    assert "no column 'at', 'user'; there are: id" in str(world.refused(path, "parquet"))


def test_a_long_footer_that_is_honest_is_read(world: World) -> None:
    """A wide file of many row groups has one."""
    names = [f"column_{number}_{'x' * 60}" for number in range(300)]
    table = pa.table({"id": ["1"] * 60, "at": pa.repeat(AT, 60), "user": ["u"] * 60})
    for name in names:
        table = table.append_column(name, pa.array(range(60)))
    path = world.own / "wide.parquet"
    pq.write_table(table, path, row_group_size=1)
    assert int.from_bytes(path.read_bytes()[-8:-4], "little") > 2 << 20
    assert world.look(path, "parquet").good == 60
