"""The kinds of connector, as a tenant's file configures them.

A kind is a subclass of `Connector`, registered in `AnyConnector`. The module of its type's name in
`include.ingestion.connectors` reads its rows; this one stays light enough to be parsed with DAGs.
"""

from __future__ import annotations

import codecs
from abc import ABC, abstractmethod
from typing import Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, Field, model_validator

from include.tenants.fields import (
    Column,
    Name,
    StrictModel,
    TimestampFormat,
    check_visible,
)

#: Keys that only say how a CSV file is written.
_CSV_ONLY: Final = ("separator", "escape", "unnamed")
#: Encodings of Python's that are those of programs and names, not of files.
_NO_FILES: Final = frozenset({"idna", "punycode", "undefined"})


def _check_encoding(value: str) -> str:
    try:
        codec = codecs.lookup(value)
        is_text = codec._is_text_encoding  # what `str.encode` itself goes by
    except LookupError:
        is_text = False
    if not is_text or codec.name in _NO_FILES or "escape" in codec.name:
        raise ValueError(
            "is no encoding of text that is known here; known are those of Python, such as utf-8, "
            "utf-16, cp1252, latin-1, shift_jis, gb18030"
        )
    return value


def _check_separator(value: str) -> str:
    value = "\t" if value == "\\t" else value
    if len(value) != 1 or not value.isascii() or value.isalnum() or value in '"\r\n\0':
        raise ValueError("must be one ASCII character, no letter, digit, double quote or line end")
    return value


_Separator = Annotated[str, Field(max_length=2), AfterValidator(_check_separator)]


class Connector(StrictModel, ABC):
    """Where the rows of a source are."""

    #: How a message begins that says what is wrong there.
    problem: ClassVar[str] = "{place!r} cannot be read"

    type: str
    #: Texts that stand for no value, besides the empty one.
    null_values: tuple[Annotated[str, Field(min_length=1, max_length=40)], ...] = Field(
        default=(), max_length=20
    )
    #: How text says an instant: `iso`, `epoch_s`, `epoch_ms`, `epoch_us`, or a pattern.
    timestamp_format: TimestampFormat = "iso"
    decimal: Literal[".", ","] = "."  #: what stands before the fraction of a number
    #: What stands between the thousands of a number; nothing unless it is said.
    thousands: Literal[",", ".", " ", "'", "_"] | None = None

    @model_validator(mode="after")
    def _separators_differ(self) -> Connector:
        if self.thousands == self.decimal:
            raise ValueError(f"`decimal` and `thousands` are both {self.decimal!r}")
        return self

    @property
    @abstractmethod
    def place(self) -> str:
        """The place as a message names it; secrets are taken out of it there."""

    @property
    def content(self) -> str:
        """What is to be found there, in a message that says that it is something else."""
        return f"{self.type} source"

    @property
    def cursor_column(self) -> str | None:
        """The column that tells when a row became known, where the connector has its own."""
        return None


class FileConnector(Connector):
    """Files on disk, in an installed package or behind any fsspec URL."""

    type: Literal["file"]  #: says that it is one
    path: Annotated[
        str, Field(max_length=1000), AfterValidator(check_visible)
    ]  #: a path, a glob, `package:DISTRIBUTION/path` or a URL
    format: Literal["csv", "jsonl", "parquet"]  #: of every file that the path stands for
    #: Of text; where a file begins with a byte order mark, that decides.
    encoding: Annotated[
        str, Field(max_length=40, pattern="^[A-Za-z0-9_-]+$"), AfterValidator(_check_encoding)
    ] = "utf-8"
    separator: _Separator = ","  #: between the fields of a CSV file
    #: Stands in a CSV file before a quote that is part of a value; unless said, another quote does.
    escape: _Separator | None = None
    unnamed: Column | None = None  #: the name of a CSV file's first column where it has none

    @model_validator(mode="after")
    def _keys_of_the_format(self) -> FileConnector:
        allowed = {"csv": {"encoding", *_CSV_ONLY}, "jsonl": {"encoding"}}.get(self.format, set())
        for key in ("encoding", *_CSV_ONLY):
            if key not in allowed and getattr(self, key) != type(self).model_fields[key].default:
                formats = "csv" if key in _CSV_ONLY else "csv or jsonl"
                raise ValueError(f"`{key}` is of format {formats}, and this is {self.format}")
        if self.escape == self.separator:
            raise ValueError(f"`escape` and `separator` are both {self.escape!r}")
        return self

    @property
    def place(self) -> str:
        """The path."""
        return self.path

    @property
    def content(self) -> str:
        """The format."""
        return self.format


class PostgresConnector(Connector):
    """A table or view in the tenant's own Postgres, reached through an Airflow connection."""

    problem: ClassVar[str] = "{place}"

    type: Literal["postgres"]  #: says that it is one
    connection: Name  #: Airflow connection id
    #: A table or view, with its schema where that is not on the path.
    table: str = Field(
        max_length=127, pattern=r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?$"
    )
    cursor: Column  #: timestamp column that tells when a row became known

    @property
    def place(self) -> str:
        """Connection and table."""
        return f"connection {self.connection!r}, table {self.table}"

    @property
    def cursor_column(self) -> str:
        """The cursor."""
        return self.cursor


#: Every kind of connector.
AnyConnector = Annotated[FileConnector | PostgresConnector, Field(discriminator="type")]
