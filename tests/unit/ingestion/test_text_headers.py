"""A first line that is no header as read: one error that says what to set, and shows no value."""

from __future__ import annotations

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from include.tenants.connectors import FileConnector
from tests.unit.ingestion.sources import HEADER, ROW, SECRETS, World

SALES = HEADER + ROW


@pytest.mark.parametrize(
    ("content", "hints"),
    [
        (SALES.replace(",", ";").encode(), ['`separator: ";"`']),
        (SALES.replace(",", "\t").encode(), [r'`separator: "\t"`']),
        (SALES.replace(",", "|").encode(), ['`separator: "|"`']),
        (("größe," + SALES).encode("latin-1"), ["not UTF-8", "`encoding: cp1252`"]),
        (SALES.encode("utf-16-le"), ["`encoding: utf-16-le`"]),
        (SALES.encode("utf-16-be"), ["`encoding: utf-16-be`"]),
        (
            ("größe," + SALES).replace(",", ";").encode("cp1252"),
            ["`encoding: cp1252`", '`separator: ";"`'],
        ),
        (b"", ["is empty"]),
        (b"\n\r\n", ["is empty"]),
        (b'"id,at,user\n1,2024-01-09,u\n', ["a quote in the first line"]),
        (b'"id"x,at,user\n1,2024-01-09,u\n', ["a quote in the first line"]),
        (b"x" * 2_000_000, ["over 1,048,576 bytes"]),
        (b"<!DOCTYPE html><html><body>502 Bad Gateway</body></html>", ["a page of HTML"]),
        (b"<?xml version='1.0'?><rows/>", ["XML"]),
        (b'{"id": 1, "at": "2024-01-09", "user": "u"}\n', ["JSON"]),
        (b"7z\xbc\xaf\x27\x1c\x00\x04", ["a 7z archive"]),
        (b"Rar!\x1a\x07\x01\x00", ["a RAR archive"]),
        (b"sales.csv".ljust(257, b"\0") + b"ustar\x0000", ["a tar archive"]),
        (b"\x04\x22\x4d\x18\x64\x40\xa7", ["an lz4 file"]),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", ["an Excel workbook"]),
        (b"SQLite format 3\x00", ["a SQLite database"]),
        (b"\x00\x01\x02\x03" * 100, ["no text"]),
        (gzip.compress(gzip.compress(SALES.encode())), ["packed twice"]),
    ],
    ids=range(23),
)
def test_the_error_says_what_the_file_is_or_what_to_set(
    world: World, content: bytes, hints: list[str]
) -> None:
    """It names the file, too; never does a row of data become the header."""
    path = world.own / "sales.csv"
    path.write_bytes(content)
    told = str(world.refused(path))
    assert all(hint in told for hint in ["sales.csv", *hints])


def test_what_is_set_as_the_error_says_is_read(world: World) -> None:
    """The keys that it names are enough."""
    path = world.own / "sales.csv"
    connector = {"type": "file", "path": str(path), "format": "csv"}
    path.write_bytes(("größe," + SALES).replace(",", ";").encode("cp1252"))
    lines = path.read_bytes().splitlines()
    path.write_bytes(lines[0] + b"\nL;" + lines[1] + b"\n")
    assert world.read({**connector, "encoding": "cp1252", "separator": ";"}).good == 1
    path.write_bytes(SALES.replace(",", "\t").encode("utf-16"))
    assert world.read({**connector, "separator": "\\t"}).good == 1
    path.write_bytes(SALES.encode("utf-16-le"))
    assert world.read({**connector, "encoding": "utf-16-le"}).good == 1


def test_parquet_that_is_called_csv_is_named(world: World) -> None:
    """As the container that it is."""
    path = world.own / "sales.csv"
    pq.write_table(pa.table({"id": [1]}), path)
    assert "a Parquet file" in str(world.refused(path))


@pytest.mark.parametrize("first", ["größe,{}\n", '"{}\n', '"x"{},id\n', "{};at;user\n", "<html>{}"])
@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le"])
def test_a_first_line_of_data_is_not_told(world: World, first: str, encoding: str) -> None:
    """A customer's address is in no error, whatever is wrong with the line it is in."""
    secret = f"{SECRETS[3]},{SECRETS[2]},{SECRETS[4]}"
    path = world.own / "sales.csv"
    path.write_bytes((first.format(secret) + f"1,2024-01-09,{secret}\n").encode(encoding))
    assert "'user'" in str(world.refused(path))


def test_lines_that_are_no_lines_of_json_are_named(world: World) -> None:
    """What a JSON-lines file begins with tells as much."""
    path = world.own / "sales.jsonl"
    path.write_text("<html>\n<body>\n")
    assert "a page of HTML, and no JSON lines" in str(world.refused(path, "jsonl"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_json_lines_have_encodings_and_line_ends_too(world: World, encoding: str) -> None:
    """A mark is recognised, an encoding without one is declared."""
    row = {"at": "2024-01-09", "user": "ü"}
    lines = [json.dumps({"id": number, **row}, ensure_ascii=False) for number in range(3)]
    path = world.own / "sales.jsonl"
    path.write_bytes("\r".join(lines).encode(encoding))
    declared = {"encoding": encoding} if encoding == "cp1252" else {}
    connector = {"type": "file", "path": str(path), "format": "jsonl", **declared}
    assert world.read(connector, quantity=None, amount=None).good == 3


def make(path: str = "x.csv", kind: str = "csv", **keys: object) -> FileConnector:
    """A connector of a tenant's file."""
    return FileConnector.model_validate({"type": "file", "path": path, "format": kind, **keys})


@pytest.mark.parametrize(
    ("kind", "keys", "told"),
    [
        ("jsonl", {"separator": ";"}, "`separator` is of format csv, and this is jsonl"),
        ("jsonl", {"escape": "\\"}, "`escape` is of format csv, and this is jsonl"),
        ("parquet", {"unnamed": "id"}, "`unnamed` is of format csv, and this is parquet"),
        ("parquet", {"encoding": "cp1252"}, "`encoding` is of format csv or jsonl"),
        ("csv", {"separator": ";;"}, "one ASCII character"),
        ("csv", {"separator": ""}, "one ASCII character"),
        ("csv", {"separator": '"'}, "one ASCII character"),
        ("csv", {"separator": "\n"}, "one ASCII character"),
        ("csv", {"separator": "é"}, "one ASCII character"),
        ("csv", {"escape": "a"}, "one ASCII character"),
        ("csv", {"escape": ","}, "`escape` and `separator` are both ','"),
        ("csv", {"encoding": "base64"}, "no encoding of text"),
        ("csv", {"encoding": "rot13"}, "no encoding of text"),
        ("csv", {"encoding": "idna"}, "no encoding of text"),
        ("csv", {"encoding": "unicode_escape"}, "no encoding of text"),
        ("csv", {"encoding": "utf-9"}, "no encoding of text"),
        ("csv", {"encoding": "../x"}, "encoding"),
    ],
)
def test_a_key_that_cannot_be_meant_is_an_error(
    kind: str, keys: dict[str, object], told: str
) -> None:
    """It says which key, and what it could be."""
    with pytest.raises(ValidationError) as caught:
        make(kind=kind, **keys)
    assert told in str(caught.value)


def test_the_undecodable_header_of_a_glob_names_its_file(world: World) -> None:
    """One error for the one file, however many are good."""
    (world.own / "a.csv").write_text(SALES)
    (world.own / "b.csv").write_bytes(("größe," + SALES).encode("latin-1"))
    (world.own / "sales.csv").unlink()
    told = str(world.refused(world.own / "*.csv"))
    assert "b.csv: the first line is not UTF-8" in told
