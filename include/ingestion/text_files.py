"""CSV and JSON lines as tables of text; a bad line costs itself and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final, TypeAlias

import pyarrow as pa
import pyarrow.csv as pc_csv

from include.errors import SourceError
from include.ingestion.decoding import opened_text
from include.ingestion.headers import Header, fields_of, read_header
from include.ingestion.lines import UNPARSABLE, Block, Lines, blocks
from include.ingestion.plain import as_text, at_path, split_path
from include.ingestion.rows import BlockEnd, LeftOut, Unread
from include.ingestion.signatures import JSON, named
from include.ingestion.wanted import Presence
from include.ingestion.zone_maps import Survey, Zone
from include.tenants.connectors import FileConnector

TextPart: TypeAlias = pa.Table | Unread | LeftOut | BlockEnd

_BATCH_ROWS: Final = 65_536
FEWER: Final = "the line has fewer fields than the header"
MORE: Final = "the line has more fields than the header"


def read_csv(
    file: BinaryIO,
    name: str,
    presence: Presence,
    connector: FileConnector,
    most_columns: int,
    survey: Survey | None = None,
) -> Iterator[TextPart]:
    """Tables of text columns, empty text as null; the first line names the columns.

    Args:
        survey: says which blocks are passed over; None where all are read.
    """
    text = opened_text(file, connector.encoding)
    if (header := read_header(text, name, presence, connector, most_columns)) is None:
        return
    names: list[str] | None = None
    zones = _Zones(survey, repr((header.names, header.columns, header.dialect)))
    for block in blocks(header.rows, header.dialect, zones.passed):
        if zone := zones.of(block):
            names = names or _names_of(header, block.source)
            yield zone.left_out
        else:
            # A bad line may stand where the first record tells the names.
            known = names is not None or not block.bad
            if block.content.strip(b"\r\n"):
                names = names or _names_of(header, block.content)
                yield from _parsed(names, header, block)
            yield from unparsed(block.bad)
            yield from zones.end(block, known=known)
        zones.fields = len(names or ())


def read_jsonl(
    files: Iterable[tuple[str, BinaryIO]],
    presence: Presence,
    connector: FileConnector,
    most_columns: int,
    survey: Survey | None = None,
) -> Iterator[TextPart]:
    """Tables of text columns; a key that no object of a file has is a column that it lacks.

    Args:
        survey: says which blocks are passed over; None where all are read.
    """
    columns = list(presence.wanted.names)
    for name, file in files:
        seen: dict[str, None] = {}
        text = opened_text(file, connector.encoding)
        if (other := named(text.head)) and other != JSON:
            raise SourceError(f"{name}: the file is {other}, and no JSON lines")
        zones = _Zones(survey, text.encoding)
        for block in blocks(text.content, Lines(text.encoding), zones.passed):
            if zone := zones.of(block):
                seen.update((columns[at], None) for at in zone.columns)
                yield zone.left_out
                continue
            rows: list[list[str | None]] = []
            keys: dict[str, None] = {}
            for line in block.content.splitlines():
                if line.strip():
                    _read_object(line, columns, rows, keys, block)
            seen.update(keys)
            if len(seen) > most_columns:
                seen = dict.fromkeys(key for key in columns if key in seen)
            for start in range(0, len(rows), _BATCH_ROWS):
                yield _table(rows[start : start + _BATCH_ROWS], columns)
            yield from unparsed(block.bad)
            there = tuple(at for at, column in enumerate(columns) if column in keys)
            # Where it has none of them, whoever passes over it does not know of a missing column.
            yield from zones.end(block, there, known=bool(there))
        if seen:
            presence.note(sorted(seen), name)


@dataclass
class _Zones:
    """Which blocks of one file are passed over, as they are met."""

    survey: Survey | None
    form: str  #: how the file's blocks are read
    fields: int = 0  #: of a row; 0 while no row has told
    _key: str = ""
    _zone: Zone | None = None

    def passed(self, source: bytes) -> int | None:
        """See `lines.Passed`."""
        if self.survey is None:
            return None
        self._key = self.survey.key(f"{self.form} {self.fields}", source)
        self._zone = self.survey.outside(self._key)
        return None if self._zone is None else self._zone.left

    def of(self, block: Block) -> Zone | None:
        """What is known of a block that is passed over; None of one that is read."""
        return self._zone if block.passed else None

    def end(
        self, block: Block, columns: tuple[int, ...] = (), *, known: bool
    ) -> Iterator[BlockEnd]:
        """That a block was read, where that is of use.

        Args:
            known: whether all that the file's other blocks need of it is known where it is passed.
        """
        if self.survey is not None:
            sure = known and block.left is not None
            yield BlockEnd(self._key if sure else "", block.left or 0, columns)


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
