"""The first line of a CSV file: the names of its columns, or one error that says what is wrong.

Nothing of the line is told but what looks like a name: it may be no header, but a customer's data.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Final

from include.errors import SourceError
from include.ingestion.decoding import Joined, Text
from include.ingestion.lines import LONGEST_RECORD, Dialect, Readable
from include.ingestion.signatures import is_binary, named
from include.ingestion.wanted import Presence
from include.redaction import MOST_NAMES
from include.tenants.connectors import FileConnector

_SEPARATORS: Final = (",", ";", "\t", "|")
#: In which a header is looked for that cannot be read as it is; the last one decodes anything.
_ENCODINGS: Final = ("utf-8", "utf-16-le", "utf-16-be", "cp1252", "latin-1")


@dataclass(frozen=True)
class Header:
    """What the first line of a file says."""

    names: tuple[str, ...]
    columns: tuple[str, ...]  #: the wanted ones that are there
    dialect: Dialect
    rows: Readable  #: what follows


def read_header(
    text: Text, name: str, presence: Presence, connector: FileConnector, most: int
) -> Header:
    """The header of a file, with what follows.

    Raises:
        SourceError: there is none, or it lacks a wanted column; says which, and what to set.
    """
    dialect = Dialect(text.encoding, connector.separator, connector.escape)
    record, rows = _first_record(text, name, dialect, presence)
    try:
        line = record.decode()
    except UnicodeDecodeError:
        raise _unread(
            f"the first line is not {text.encoding.upper()}; `encoding` of the connector says what "
            "a file is written in",
            *(text, name, dialect, presence),
        ) from None
    names = fields_of(line, dialect)
    if len(names) > 1 and all(column.startswith(" ") for column in names[1:]):
        dialect = replace(dialect, spaced=True)
        names = fields_of(line, dialect)
    if not names:
        raise _unread("the first line cannot be parsed", text, name, dialect, presence)
    if len(names) > most:
        raise SourceError(f"{name}: has {len(names):,} columns; `columns` allows {most:,}")
    if connector.unnamed and not names[0].strip():
        names[0] = connector.unnamed
    asked = set(presence.wanted.names)
    names = [column if column in asked else column.strip() for column in names]
    try:
        columns = presence.note(names, name)
    except SourceError:
        if not (hint := _hint(text, dialect, presence)):
            raise
        missing = [column for column in presence.wanted.required if column not in names]
        raise SourceError(f"{name}: no column {_listed(missing)}; {hint}") from None
    _require_once(columns, names, name)
    return Header(tuple(names), columns, dialect, rows)


def _first_record(
    text: Text, name: str, dialect: Dialect, presence: Presence
) -> tuple[bytes, Readable]:
    """The first line that is not blank, and what follows.

    Raises:
        SourceError: there is none, it is too long, or one of its quotes is not in its place.
    """
    head = b""
    while len(head) <= LONGEST_RECORD and (more := text.content.read(LONGEST_RECORD)):
        head = (head + more).lstrip(b"\r\n")
    if not head.strip():
        raise SourceError(f"{name}: is empty: it has not even a header")
    complete = head if len(head) > LONGEST_RECORD else head + b"\n"
    record = dialect.record.match(complete)
    if record is None or record.end() > LONGEST_RECORD:
        problem = (
            "a quote in the first line is not closed, or text follows a closing one"
            if b'"' in head[:LONGEST_RECORD]
            else f"the first line is over {LONGEST_RECORD:,} bytes"
        )
        raise _unread(problem, text, name, dialect, presence)
    return record[0], Joined(head[record.end() :], text.content)


def fields_of(record: str, dialect: Dialect) -> list[str]:
    """The fields of a record; none where it cannot be parsed."""
    reader = csv.reader(
        io.StringIO(record, newline=""),
        delimiter=dialect.separator,
        escapechar=dialect.escape,
        skipinitialspace=dialect.spaced,
        strict=True,
    )
    try:
        return next(reader, [])
    except csv.Error:
        return []


def _require_once(columns: Sequence[str], names: Sequence[str], path: str) -> None:
    twice = sorted({name for name in columns if names.count(name) > 1})
    if twice:
        raise SourceError(f"{path}: column {', '.join(map(repr, twice))} stands there twice")


def _unread(
    problem: str, text: Text, name: str, dialect: Dialect, presence: Presence
) -> SourceError:
    """That the first line is no header, and what else the file may be."""
    hint = _hint(text, dialect, presence)
    told = f"{name}: {problem}; no column {_listed(presence.wanted.required)}"
    return SourceError(f"{told}{hint and '; '}{hint}")


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(map(repr, columns[:MOST_NAMES]))


def _hint(text: Text, dialect: Dialect, presence: Presence) -> str:
    """What to do about a file whose first line has not the columns asked for; else empty."""
    if other := named(text.head):
        return f"the file is {other}, and no CSV"
    encodings, separators = (text.encoding, *_ENCODINGS), (dialect.separator, *_SEPARATORS)
    for encoding, separator in product(encodings, separators):
        line = _line(text.head, encoding)
        names = [one.strip() for one in fields_of(line, replace(dialect, separator=separator))]
        if set(presence.wanted.required) - set(names):
            continue
        settings = []
        if encoding != text.encoding:
            settings.append(f"`encoding: {encoding}`")
        if separator != dialect.separator:
            shown = r"\t" if separator == "\t" else separator
            settings.append(f'`separator: "{shown}"`')
        if settings:
            told = " and ".join(settings)
            return f"the file has them if it is read with {told}; set that on the connector"
    single = not codecs.lookup(text.encoding).name.startswith(("utf-16", "utf-32"))
    if single and is_binary(text.head[:512].replace(dialect.separator.encode(), b"")):
        return "the file is no text, or in an encoding of several bytes a character"
    return ""


def _line(head: bytes, encoding: str) -> str:
    """The first line, read so; empty where it does not decode."""
    lines = head.decode(encoding, "replace").lstrip("\ufeff\r\n")
    line = re.split(r"[\r\n]", lines, maxsplit=1)[0]
    return "" if "\N{REPLACEMENT CHARACTER}" in line else line
