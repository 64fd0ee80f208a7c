"""What is read of a source: rows with their positions, and records that are no rows.

What the platform adds to a row stands beside the source's columns, never among them: a source may
name its columns as it likes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa


@dataclass(frozen=True)
class Rows:
    """Rows of a source: its own columns, those that its expressions give, and nothing else."""

    table: pa.Table
    numbers: pa.Array  #: int64, the position of each in what was read
    #: Why an expression of the source could not be computed of a row; null where all could.
    faults: pa.Array | None = None

    def __len__(self) -> int:
        return len(self.numbers)

    def filter(self, mask: pa.Array) -> Rows:
        """The rows for which the mask, of booleans without nulls, is true."""
        faults = None if self.faults is None else self.faults.filter(mask)
        return Rows(self.table.filter(mask), self.numbers.filter(mask), faults)

    def first(self, count: int) -> Rows:
        """At most so many of them."""
        faults = None if self.faults is None else self.faults.slice(0, count)
        return Rows(self.table.slice(0, count), self.numbers.slice(0, count), faults)

    def after(self, count: int) -> Rows:
        """All but so many of them."""
        faults = None if self.faults is None else self.faults.slice(count)
        return Rows(self.table.slice(count), self.numbers.slice(count), faults)


@dataclass(frozen=True)
class Unread:
    """Records that could not be taken apart: a line, or what stands in place of a row."""

    records: tuple[str, ...]
    reasons: tuple[str, ...]
    numbers: pa.Array | None = None  #: int64, as of rows; `reading` gives them

    @classmethod
    def of(cls, records: Sequence[tuple[str, str]]) -> Unread:
        """Records, each with its reason."""
        texts, reasons = zip(*records, strict=True) if records else ((), ())
        return cls(texts, reasons)

    def __len__(self) -> int:
        return len(self.records)

    def first(self, count: int) -> Unread:
        """At most so many of them."""
        numbers = self.numbers.slice(0, count) if self.numbers is not None else None
        return Unread(self.records[:count], self.reasons[:count], numbers)

    def after(self, count: int) -> Unread:
        """All but so many of them."""
        numbers = self.numbers.slice(count) if self.numbers is not None else None
        return Unread(self.records[count:], self.reasons[count:], numbers)


@dataclass(frozen=True)
class LeftOut:
    """Rows of other times than the interval, which a reader counted and spared itself."""

    count: int
    records: int = 0  #: how many the numbers of what follows leave out
    #: Rows without an instant of arrival among those left out, by their reasons; not in `count`.
    undated: Mapping[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """All of them."""
        return self.count + sum(self.undated.values())


@dataclass(frozen=True)
class BlockEnd:
    """The end of a block of a text file: what was read since the last one is of it."""

    #: What the block is known by from now on; empty where it is parsed whenever it is read.
    key: str
    left: int = 0  #: bytes at its end that begin a record of the next block
    columns: tuple[int, ...] = ()  #: which of the wanted columns JSON lines have
    records: int = 0  #: rows as they stand there, and lines that are none; `reading` counts them


@dataclass(frozen=True)
class Refused:
    """Rows that are set aside, each with one reason."""

    rows: Rows
    reasons: pa.Array  #: text
    created: pa.Array  #: when each became known, UTC microseconds; null where nobody can tell

    def __len__(self) -> int:
        return len(self.rows)

    def filter(self, mask: pa.Array) -> Refused:
        """The rows for which the mask, of booleans without nulls, is true."""
        return Refused(self.rows.filter(mask), self.reasons.filter(mask), self.created.filter(mask))
