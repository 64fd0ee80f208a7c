"""CSV and JSON lines as tables of text; a bad line costs itself and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.csv as pc_csv

from include.errors import SourceError
from include.ingestion.decoding import opened_text
from include.ingestion.headers import Header, fields_of, read_header
from include.ingestion.lines import UNPARSABLE, Block, Lines, blocks
from include.ingestion.plain import as_text, at_path, split_path
from include.ingestion.rows import Unread
from include.ingestion.signatures import JSON, named
from include.ingestion.wanted import Presence
from include.tenants.connectors import FileConnector

_BATCH_ROWS: Final = 65_536
FEWER: Final = "the line has fewer fields than the header"
MORE: Final = "the line has more fields than the header"


def read_csv(
    file: BinaryIO, name: str, presence: Presence, connector: FileConnector, most_columns: int
) -> Iterator[pa.Table | Unread]:
    """Tables of text columns, empty text as null; the first line names the columns."""
    text = opened_text(file, connector.encoding)
    header = read_header(text, name, presence, connector, most_columns)
    names: list[str] | None = None
    for block in blocks(header.rows, header.dialect):
        if block.content.strip(b"\r\n"):
            names = names or _names_of(header, block.content)
            yield from _parsed(names, header, block)
        yield from unparsed(block.bad)


def read_jsonl(
    files: Iterable[tuple[str, BinaryIO]],
    presence: Presence,
    connector: FileConnector,
    most_columns: int,
) -> Iterator[pa.Table | Unread]:
    """Tables of text columns; a key that no object of a file has is a column that it lacks."""
    columns = list(presence.wanted.names)
    for name, file in files:
        seen: dict[str, None] = {}
        text = opened_text(file, connector.encoding)
        if (other := named(text.head)) and other != JSON:
            raise SourceError(f"{name}: the file is {other}, and no JSON lines")
        for block in blocks(text.content, Lines(text.encoding)):
            rows: list[list[str | None]] = []
            for line in block.content.splitlines():
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


def _names_of(header: Header, content: bytes) -> list[str]:
    """The names of the fields that rows have: some writers end only the header in a separator."""
    record = header.dialect.record.match(content.lstrip(b"\r\n"))
    count = len(fields_of(record[0].decode(), header.dialect)) if record else 0
    names = list(header.names)
    return names if any(names[count:]) or not count else names[:count]


def _parsed(names: list[str], header: Header, block: Block) -> Iterator[pa.Table]:
    dialect, content = header.dialect, block.content
    if dialect.spaced:
        content = dialect.blanks.sub(rb"\1", content)

    def refuse(row: Any) -> str:
        block.reject(row.text, FEWER if row.actual_columns < row.expected_columns else MORE)
        return "skip"

    table = pc_csv.read_csv(
        pa.BufferReader(content),
        read_options=pc_csv.ReadOptions(
            column_names=names, block_size=len(content) + 1, use_threads=False
        ),
        parse_options=pc_csv.ParseOptions(
            delimiter=dialect.separator,
            escape_char=dialect.escape or False,
            newlines_in_values=True,
            invalid_row_handler=refuse,
        ),
        convert_options=pc_csv.ConvertOptions(
            include_columns=header.columns,
            column_types=dict.fromkeys(header.columns, pa.string()),
            strings_can_be_null=True,
            null_values=[""],
        ),
    )
    if len(table):
        yield table


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
        rows.append(
            [
                _json_text(
                    members[name] if name in members else _at_dotted_name(members, name, seen)
                )
                for name in columns
            ]
        )
    except (ValueError, RecursionError):
        block.reject(line, UNPARSABLE)
    else:
        seen.update(dict.fromkeys(members))


def _at_dotted_name(members: dict[str, Any], name: str, seen: dict[str, None]) -> Any:
    """What stands at a path within the object; a path that leads somewhere is seen."""
    where = split_path(name, tuple(members)) if "." in name else None
    value = at_path(members[where[0]], where[1]) if where else None
    if value is not None:
        seen[name] = None
    return value


def _json_text(value: Any) -> str | None:
    """A JSON value as text. Raises: ValueError for text that is not Unicode."""
    kind = type(value)
    if value is None or kind is int:
        return None if value is None else repr(value)
    text = value if kind is str else as_text(value)
    if text is not None and not text.isascii():
        text.encode()  # a lone surrogate is no character
    return text


def _table(rows: list[list[str | None]], columns: list[str]) -> pa.Table:
    return pa.table(
        [pa.array(values, pa.string()) for values in zip(*rows, strict=True)], names=columns
    )
