"""CSV as the world writes it: whatever the dialect, the rows that were written are read."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import re
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.ingestion import lines
from include.ingestion.containers import decompressed
from include.ingestion.grants import SourceLimits
from include.ingestion.text_files import FEWER, MORE
from tests.unit.ingestion.text_tables import Row, read_rows

#: Of characters that mean something somewhere, and of some that are written in several bytes.
VALUES: Final = st.text("ab1 \"',;|\t\n\r\\^é日\x00\x85\u2028\ufeff", max_size=6)
TAMER: Final = st.text("ab1 \"',;|\\^é", max_size=6)
ENCODINGS: Final = ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "gb18030", "utf-7")


def _zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())


PACKED: Final = {"": bytes, "gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
PACKERS: Final = {**PACKED, "zst": _zstd}


@dataclass(frozen=True)
class Written:
    """A table in some dialect."""

    text: str
    columns: tuple[str, ...]
    rows: list[Row]
    keys: dict[str, Any]  #: of the connector


@st.composite
def tables(draw: st.DrawFn) -> Written:
    """Tables as Python's writer writes them."""
    columns = tuple(f"c{number}" for number in range(draw(st.integers(1, 4))))
    escape = draw(st.sampled_from([None, "\\", "^"]))
    quoting = draw(st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONE]))
    if (escape is None and quoting == csv.QUOTE_NONE) or len(columns) == 1:
        quoting = csv.QUOTE_ALL  # a single empty field is a blank line but for its quotes
    values = VALUES if quoting == csv.QUOTE_ALL else TAMER  # the writer forgets lone line ends
    rows = draw(st.lists(st.tuples(*[values] * len(columns)), max_size=8))
    keys = {"separator": draw(st.sampled_from(",;|\t~\x01")), "escape": escape}
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    written = io.StringIO(newline="")
    writer = csv.writer(
        written,
        delimiter=keys["separator"],
        escapechar=escape,
        doublequote=escape is None or draw(st.booleans()),
        quoting=quoting,
        lineterminator=end,
    )
    writer.writerow(columns)
    writer.writerows(rows)
    text = written.getvalue()
    if draw(st.booleans()):
        text = text.removesuffix(end)
    if draw(st.booleans()):
        text = end * 2 + text
    return Written(text, columns, rows, keys)


def reference(written: Written) -> list[Row]:
    """The rows as Python's module reads them where it is strict; no text is no value."""
    reader = csv.reader(
        io.StringIO(written.text, newline=""),
        delimiter=written.keys["separator"],
        escapechar=written.keys["escape"],
        strict=True,
    )
    rows = [tuple(value or None for value in row) for row in reader if row]
    return rows[1:]


@given(tables(), st.sampled_from(ENCODINGS), st.sampled_from(list(PACKERS)), st.integers(1, 60))
def test_what_was_written_is_read(
    written: Written, encoding: str, packed: str, block_bytes: int
) -> None:
    """In any separator, escape, line end, encoding, style of quotes and compression."""
    stored = PACKERS[packed](written.text.encode(encoding))
    with decompressed(io.BytesIO(stored), "x.csv", len(stored), SourceLimits()) as file:
        content = file.read()
    named = "utf-8" if encoding in ("utf-8-sig", "utf-16", "utf-32") else encoding
    rows, aside = read_rows(
        content, written.columns, block_bytes=block_bytes, encoding=named, **written.keys
    )
    assert rows == reference(written)
    assert aside == []


@st.composite
def damaged(draw: st.DrawFn) -> tuple[bytes, str, list[Row], set[int]]:
    """A file with one damaged place, its encoding, its rows, and those that the damage touches.

    Each value begins with the number of its row, so that where it comes from can be told.
    """
    count, end = draw(st.integers(2, 4)), draw(st.sampled_from(["\n", "\r\n"]))
    encoding = draw(st.sampled_from(["utf-8", "cp1252"]))
    texts = st.text('ab ",\né', max_size=5)
    rows = [
        tuple(f"r{number}.{draw(texts)}" for _ in range(count))
        for number in range(draw(st.integers(1, 10)))
    ]
    ends, records = [], []
    for row in [tuple(f"c{number}" for number in range(count)), *rows]:
        written = io.StringIO(newline="")
        csv.writer(written, lineterminator=end).writerow(row)
        records.append(written.getvalue().encode(encoding))
        ends.append(sum(map(len, records)))
    content = b"".join(records)
    start = draw(st.integers(ends[0], len(content)))
    stop = min(len(content), start + draw(st.integers(0, 12)))
    noise = draw(st.lists(st.sampled_from(list(b'"",\r\nx\\\xff\x00')), max_size=4))
    touched = {
        number for number in range(len(rows)) if ends[number] <= stop and start <= ends[number + 1]
    }
    return content[:start] + bytes(noise) + content[stop:], encoding, rows, touched


@given(damaged(), st.integers(1, 80))
def test_damage_costs_what_it_touches(
    file: tuple[bytes, str, list[Row], set[int]], block_bytes: int
) -> None:
    """Every other row is read or set aside with a reason, and no value spans two of them."""
    content, encoding, rows, touched = file
    columns = [f"c{number}" for number in range(len(rows[0]))]
    read, aside = read_rows(content, columns, block_bytes=block_bytes, encoding=encoding)
    whole = {number: row for number, row in enumerate(rows) if number not in touched}
    for row in read:
        numbers = {int(one) for one in re.findall(r"r(\d)\.", " ".join(map(str, row)))}
        assert all(row == rows[number] for number in numbers & set(whole))
    set_aside = " ".join(record for record, _ in aside)
    for number, row in whole.items():
        assert row in read or f"r{number}." in set_aside
    assert {reason for _, reason in aside} <= {
        *(FEWER, MORE, lines.OPEN_QUOTE, lines.AFTER_QUOTE, lines.undecodable(encoding)),
    }


HEADER: Final = b"id,at,user\n"
GOOD: Final = [("1", "a", "u"), ("2", "b", "v")]


@pytest.mark.parametrize(
    "content",
    [
        b"id,at,user\r1,a,u\r2,b,v\r",
        b"id,at,user\r\n1,a,u\n2,b,v\r\n",
        b"id,at,user\n1,a,u\r2,b,v",
        b"\n\r\n\nid,at,user\n\n1,a,u\n\r\n2,b,v\n\n\n",
        b'\xef\xbb\xbf"id","at","user"\n1,a,u\n2,b,v\n',
        b"id,at,user,\n1,a,u,\n2,b,v,\n",
        b"id,at,user,,\n1,a,u\n2,b,v\n",
        b' id , at,"user"\n1,a,u\n2,b,v\n',
        b'id, at, user\n1, a, u\n2, "b",  v\n',
        b'id,"x\ny",at,user\n1,x,a,u\n2,"x\r\ny",b,v\n',
        b"id,x,x,at,user\n1,,,a,u\n2,,,b,v\n",
        b"user,at,id\nu,a,1\nv,b,2\n",
        b"id,at,user,x\n1,a,u,\x00\n2,b,v,\x00\n",
    ],
    ids=range(13),
)
def test_files_of_the_same_rows_are_read_alike(content: bytes) -> None:
    """Line ends, blank lines, marks, blanks around names, nameless columns: layout is no data."""
    assert read_rows(content, ("id", "at", "user")) == (GOOD, [])


def test_blanks_behind_separators_are_kept_where_the_header_has_none() -> None:
    """Then they belong to the value; where the header has them, too, a quote may follow."""
    rows, _ = read_rows(HEADER + b"1, a,u\n", ("id", "at", "user"))
    assert rows == [("1", " a", "u")]
    spaced = b'id, at, user\n1, "a, ""b""\nc", "u "\n 2, x,y\n'
    rows, aside = read_rows(spaced, ("id", "at", "user"))
    assert rows == [("1", 'a, "b"\nc', "u "), ("2", "x", "y")]
    assert aside == []


PIPES: Final = rb"""id,at,title
1,a,"pipe 5\""
2,b,"pipe 6\""
3,c,plain
4,d,"a \"b\" c"
"""


def test_text_after_a_closing_quote_costs_its_line() -> None:
    """Two orders never become one that holds the other customer's data."""
    rows, aside = read_rows(PIPES, ("id", "at", "title"))
    assert rows == [("3", "c", "plain")]
    assert [reason for _, reason in aside] == [lines.AFTER_QUOTE] * 3
    assert [record[0] for record, _ in aside] == ["1", "2", "4"]


def test_an_escape_makes_quotes_part_of_a_value() -> None:
    """The same file, declared as it is written."""
    rows, aside = read_rows(PIPES, ("id", "at", "title"), escape="\\")
    assert [title for _, _, title in rows] == ['pipe 5"', 'pipe 6"', "plain", 'a "b" c']
    assert aside == []


def test_an_escape_stands_before_separators_and_line_ends_too() -> None:
    """As databases write values without quotes; more than fifty lines are no value."""
    rows, aside = read_rows(HEADER + b"1,a\\,b,u\n2,c\\\nd,v\n", ("id", "at", "user"), escape="\\")
    assert (rows, aside) == ([("1", "a,b", "u"), ("2", "c\nd", "v")], [])
    rows, aside = read_rows(HEADER + b"a\\\n" * 100_000, ("id", "at", "user"), escape="\\")
    assert rows == []
    assert len(aside) > 99_000


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"1,a", FEWER),
        (b"1,a,u,x", MORE),
        (b'1,a,"u', lines.OPEN_QUOTE),
        (b'1,a,"u"x', lines.AFTER_QUOTE),
        (b"1,a,\xff", lines.undecodable("utf-8")),
        (b"1,a,\xff\n\x81,\x8d,\xfe", lines.undecodable("utf-8")),
        (b'1,a,"\xff\nx"', lines.undecodable("utf-8")),
    ],
    ids=range(7),
)
def test_the_reason_says_what_is_wrong_and_no_value(line: bytes, reason: str) -> None:
    """Reasons are counted by their text; the lines around are read."""
    good = [(str(number), "b", "v") for number in range(60)]
    content = HEADER + b"".join(",".join(row).encode() + b"\n" for row in good)
    for place in (HEADER, HEADER + b"0,b,v\n"):
        damaged_file = content.replace(place, place + line + b"\n", 1)
        rows, aside = read_rows(damaged_file, ("id", "at", "user"), block_bytes=200)
        assert rows == good
        assert {told for _, told in aside} == {reason}


def test_a_record_that_does_not_decode_goes_as_a_whole() -> None:
    """What is left of it would open a quote that the next record closes."""
    content = HEADER + b'1,a,"x\n\xff",y\n2,"b",v\n3,"",w\n'
    rows, aside = read_rows(content, ("id", "at", "user"))
    assert rows == [("2", "b", "v"), ("3", None, "w")]
    assert len(aside) == 1


@pytest.mark.parametrize(
    "encoding", ["cp1252", "latin-1", "shift_jis", "utf-16-be", "utf-16", "gb18030", "koi8-r"]
)
def test_a_declared_encoding_is_read(encoding: str) -> None:
    """Names and values alike; what does not decode costs its line."""
    word = "é" if encoding in ("cp1252", "latin-1") else "я"
    text = f"id,{word},user\n1,{word}{word},u\n2,b,v\n"
    rows, aside = read_rows(text.encode(encoding), ("id", word, "user"), encoding=encoding)
    assert rows == [("1", word * 2, "u"), ("2", "b", "v")]
    assert aside == []


def test_half_a_character_of_another_encoding_costs_its_line() -> None:
    """The reason names the encoding and the key."""
    content = "id,at,user\n1,日,u\n2,x,v\n".encode("shift_jis").replace(
        "日".encode("shift_jis"), b"\xfc\xfc"
    )
    rows, aside = read_rows(content, ("id", "at", "user"), encoding="shift_jis")
    assert rows == [("2", "x", "v")]
    assert [reason for _, reason in aside] == [
        "the line is not SHIFT_JIS; `encoding` says what a file is written in"
    ]


def test_an_unnamed_first_column_can_be_named() -> None:
    """As data frames are written with their index; a name that is there stays."""
    rows, _ = read_rows(b",at,user\n1,a,u\n", ("id", "at"), unnamed="id")
    assert rows == [("1", "a")]
    rows, _ = read_rows(b"id,at,user\n1,a,u\n", ("id", "at"), unnamed="index")
    assert rows == [("1", "a")]
