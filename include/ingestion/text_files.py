"""CSV and JSON lines as tables of text; a bad line costs itself and nothing else."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.csv as pc_csv

from include.errors import SourceError
from include.ingestion.lines import UNPARSABLE, Block, blocks
from include.ingestion.plain import as_text, at_path, split_path
from include.ingestion.rows import Unread
from include.ingestion.wanted import Presence

_BATCH_ROWS: Final = 65_536


def read_csv(
    file: BinaryIO, name: str, presence: Presence, most_columns: int
) -> Iterator[pa.Table | Unread]:
    """Tables of text columns, empty text as null; the first line names the columns."""
    names: list[str] | None = None
    here: list[str] = []
    for block in blocks(file, quoted=True):
        content = block.content
        if names is None and content.strip():
            line, _, content = content.lstrip(b"\r\n").partition(b"\n")
            names = _header(line.decode(), name, most_columns)
            here = list(presence.note(names, name))
            _require_once(here, names, name)
        if names is not None and content.strip():
            yield from _parsed(content, names, here, block)
        yield from unparsed(block.bad)


def read_jsonl(
    files: Iterable[tuple[str, BinaryIO]], presence: Presence, most_columns: int
) -> Iterator[pa.Table | Unread]:
    """Tables of text columns; a key that no object of a file has is a column that it lacks."""
    columns = list(presence.wanted.names)
    for name, file in files:
        seen: dict[str, None] = {}
        for block in blocks(file, quoted=False):
            rows: list[list[str | None]] = []
            for line in block.content.split(b"\n"):
                if line.strip():
                    _read_object(line, columns, rows, seen, block)
            if len(seen) > most_columns:
                seen = dict.fromkeys(key for key in columns if key in seen)
            for start in range(0, len(rows), _BATCH_ROWS):
                yield _table(rows[start : start + _BATCH_ROWS], columns)
            yield from unparsed(block.bad)
        if seen:
            presence.note(sorted(seen), name)


def unparsed(bad: Sequence[tuple[str, str]]) -> Iterator[Unread]:
    """Records taken out, with their reasons; nothing when there are none."""
    if bad:
        yield Unread.of(bad)


def _header(line: str, path: str, most: int) -> list[str]:
    names = next(csv.reader([line.rstrip("\r")]), [])
    if len(names) > most:
        raise SourceError(f"{path}: has {len(names):,} columns; `columns` allows {most:,}")
    return names


def _require_once(columns: list[str], names: list[str], path: str) -> None:
    twice = sorted({name for name in columns if names.count(name) > 1})
    if twice:
        raise SourceError(f"{path}: column {', '.join(map(repr, twice))} stands there twice")


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
        members = json.loads(line)
        if not isinstance(members, dict):
            raise ValueError("no object")
        values = [_member(members, name, seen) for name in columns]
        rows.append([_json_text(value) for value in values])
    except (ValueError, RecursionError):
        block.reject(line, UNPARSABLE)
    else:
        seen.update(dict.fromkeys(members))


def _member(members: dict[str, Any], name: str, seen: dict[str, None]) -> Any:
    """The value of a name, which may be a dotted path; a path that leads somewhere is seen."""
    if name in members or "." not in name:
        return members.get(name)
    where = split_path(name, tuple(members))
    value = at_path(members[where[0]], where[1]) if where else None
    if value is not None:
        seen[name] = None
    return value


def _json_text(value: Any) -> str | None:
    """A JSON value as text. Raises: ValueError for text that is not Unicode."""
    text = as_text(value)
    if text is not None and not text.isascii():
        text.encode()  # a lone surrogate is no character
    return text


def _table(rows: list[list[str | None]], columns: list[str]) -> pa.Table:
    return pa.table(
        [pa.array(values, pa.string()) for values in zip(*rows, strict=True)], names=columns
    )
