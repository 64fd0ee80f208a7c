"""CSV and JSON lines as tables of text; a bad line costs itself and nothing else."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.csv as pc_csv

from include.errors import SourceError
from include.ingestion.columns import require
from include.ingestion.lines import UNPARSABLE, Block, blocks

#: Column of a line that could not be read at all; it comes with `REASON` and without any other.
UNPARSED: Final = "unparsed line"
REASON: Final = "reason"
_BATCH_ROWS: Final = 65_536


def read_csv(
    file: BinaryIO, name: str, columns: list[str], most_columns: int
) -> Iterator[pa.Table]:
    """Tables of text columns, empty text as null; the first line names the columns."""
    names: list[str] | None = None
    for block in blocks(file, quoted=True):
        content = block.content
        if names is None and content.strip():
            line, _, content = content.lstrip(b"\r\n").partition(b"\n")
            names = _header(line.decode(), columns, name, most_columns)
        if names is not None and content.strip():
            yield from _parsed(content, names, columns, block)
        yield from unparsed(block.bad)


def read_jsonl(
    files: Iterable[tuple[str, BinaryIO]], columns: list[str], most_columns: int
) -> Iterator[pa.Table]:
    """Tables of text columns; a key that no object of any file has is a missing column."""
    seen: dict[str, None] = {}
    last = ""
    for last, file in files:  # noqa: B007  (the message names it)
        for block in blocks(file, quoted=False):
            rows: list[list[str | None]] = []
            for line in block.content.split(b"\n"):
                if line.strip():
                    _read_object(line, columns, rows, seen, block)
            if len(seen) > most_columns:
                seen = dict.fromkeys(name for name in columns if name in seen)
            for start in range(0, len(rows), _BATCH_ROWS):
                yield _table(rows[start : start + _BATCH_ROWS], columns)
            yield from unparsed(block.bad)
    if seen:
        require(columns, sorted(seen), last)


def unparsed(bad: Sequence[tuple[str, str]]) -> Iterator[pa.Table]:
    """Lines taken out, as a table of their own; nothing when there are none."""
    if bad:
        lines, reasons = zip(*bad, strict=True)
        yield pa.table(
            {UNPARSED: pa.array(lines, pa.string()), REASON: pa.array(reasons, pa.string())}
        )


def _header(line: str, columns: list[str], path: str, most: int) -> list[str]:
    names = next(csv.reader([line.rstrip("\r")]), [])
    if len(names) > most:
        raise SourceError(f"{path}: has {len(names):,} columns; `columns` allows {most:,}")
    require(columns, names, path)
    twice = sorted({name for name in columns if names.count(name) > 1})
    if twice:
        raise SourceError(f"{path}: column {', '.join(map(repr, twice))} stands there twice")
    return names


def _parsed(
    content: bytes, names: list[str], columns: list[str], block: Block
) -> Iterator[pa.Table]:
    refused: list[str] = []

    def refuse(row: Any) -> str:
        refused.append(row.text)
        return "skip"

    table = pc_csv.read_csv(
        pa.BufferReader(content),
        read_options=pc_csv.ReadOptions(
            column_names=names, block_size=len(content) + 1, use_threads=False
        ),
        parse_options=pc_csv.ParseOptions(newlines_in_values=True, invalid_row_handler=refuse),
        convert_options=pc_csv.ConvertOptions(
            include_columns=columns,
            column_types=dict.fromkeys(columns, pa.string()),
            strings_can_be_null=True,
            null_values=[""],
        ),
    )
    if len(table):
        yield table
    rows: list[list[str | None]] = []
    for text in refused:
        # A quote within a value can have drawn in the lines after it: they are good on their own.
        for line in text.splitlines():
            fields = _fields(line)
            if "\n" in text and len(fields) == len(names):
                rows.append([fields[names.index(name)] or None for name in columns])
            else:
                block.reject(line, UNPARSABLE)
    if rows:
        yield _table(rows, columns)


def _fields(line: str) -> list[str]:
    try:
        return next(csv.reader([line], strict=True), [])
    except csv.Error:
        return []


def _read_object(
    line: bytes,
    columns: list[str],
    rows: list[list[str | None]],
    seen: dict[str, None],
    block: Block,
) -> None:
    try:
        found = json.loads(line)
        if not isinstance(found, dict):
            raise ValueError("no object")
        rows.append([_json_text(found.get(name)) for name in columns])
    except (ValueError, RecursionError):
        block.reject(line, UNPARSABLE)
    else:
        seen.update(dict.fromkeys(found))


def _json_text(value: Any) -> str | None:
    """A JSON value as text. Raises: ValueError for text that is not Unicode."""
    if value is None:
        return None
    kind = type(value)
    if kind is float and value.is_integer() and abs(value) < 2**53:
        return str(int(value))  # as a column of floats is spelled
    if kind is int or kind is float:
        return repr(value)
    text = value if kind is str else json.dumps(value)
    if not text.isascii():
        text.encode()  # a lone surrogate is no character
    return text


def _table(rows: list[list[str | None]], columns: list[str]) -> pa.Table:
    return pa.table(
        [pa.array(values, pa.string()) for values in zip(*rows, strict=True)], names=columns
    )
