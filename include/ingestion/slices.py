"""Slices: what each source delivered in each interval, and the rows that were set aside of it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from include.handoffs import Interval
from include.tenants.namespace import TenantRef

#: Number of the line that says how many rows were only counted.
NOT_KEPT: Final = -1


@dataclass(frozen=True)
class Slice:
    """What one source delivered in one interval."""

    source: str
    interval: Interval
    rows: int
    late: int  #: rows that happened before the interval
    duplicates: int
    table_version: int  #: of the landing table
    quarantined: int = 0  #: rows set aside, kept or only counted
    undated: int = 0  #: those of them that have no instant of arrival
    read: int = 0  #: rows of the source that were read for it
    outside: int = 0  #: those of them that other slices have, or none ever will
    #: The interval of the run that read it before its own; None where it is the run's own.
    along_with: Interval | None = None

    @property
    def taken(self) -> int:
        """Rows of the source that were taken in: of attributes, each comes to several of `rows`."""
        return self.read - self.quarantined - self.outside


@dataclass(frozen=True)
class Remaining:
    """How many rows of a slice remain, after others turned out to follow an earlier arrival."""

    interval: Interval
    rows: int
    late: int
    #: Those of the others that say something else; the rest repeat it. Their numbers do not count.
    changed: Counted = field(default_factory=lambda: Counted())

    def numbered(self, last: int) -> list[SetAside]:
        """The changed rows, numbered behind the last that the slice had set aside before."""
        rows = enumerate(self.changed.rows, last + 1)
        return [replace(row, number=number) for number, row in rows]


@dataclass(frozen=True, slots=True)
class SetAside:
    """One row that was set aside."""

    number: int  #: position in the source, or `NOT_KEPT`
    reason: str
    row: str  #: JSON with sorted keys

    @property
    def digest(self) -> str:
        """Equal for equal rows, wherever in the source they stand."""
        return hashlib.sha256(self.row.encode()).hexdigest()


@dataclass
class Counted:
    """Rows set aside, the first of them in full, all of them counted by their reasons."""

    rows: list[SetAside] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    size: int = 0  #: characters of `rows`

    @property
    def count(self) -> int:
        """All of them."""
        return self.reasons.total()


@dataclass(frozen=True)
class Rejected:
    """The rows of one slice that were set aside.

    A row without a usable instant of arrival is undated: it belongs to no interval, and turns up
    whenever its source is read. It counts for the interval that met it first.
    """

    dated: Counted = field(default_factory=Counted)
    undated: Counted = field(default_factory=Counted)

    def first_met(self, elsewhere: int) -> int:
        """How many undated rows are the slice's own, where others have so many of the source's."""
        return max(0, self.undated.count - elsewhere)

    def counted_in(self, delivered: Slice, elsewhere: int) -> Slice:
        """The slice with what is set aside of it, where others have so many undated rows."""
        undated = self.first_met(elsewhere)
        return replace(
            delivered,
            quarantined=self.dated.count + undated,
            undated=undated,
            outside=delivered.outside + self.undated.count - undated,
        )

    def stored(self, undated: int, known: Container[str]) -> list[SetAside]:
        """The rows to store, and a line that says how many more there were.

        Args:
            undated: as `first_met` gives it.
            known: digests of rows that other slices of the source have stored.
        """
        new = [row for row in self.undated.rows if row.digest not in known][:undated]
        rows = [*self.dated.rows, *new]
        if more := self.dated.count + undated - len(rows):
            reasons = dict(sorted((self.dated.reasons + self.undated.reasons).items()))
            summary = json.dumps({"not_kept": more, "reasons": reasons}, sort_keys=True)
            reason = f"{more} more rows were set aside and only counted"
            rows.append(SetAside(NOT_KEPT, reason, summary))
        return rows


class Slices(Protocol):
    """The port to what was read of every tenant's sources."""

    def record(self, tenant: TenantRef, delivered: Slice, rejected: Rejected) -> Slice:
        """Put a slice on record with its rejected rows, in place of what was there of it.

        Returns:
            The slice with how many rows it has set aside, and how many of them are undated. Undated
            rows that another slice counts are outside of this one.
        """

    def recount(self, tenant: TenantRef, source: str, remaining: Sequence[Remaining]) -> None:
        """Let slices of a source count what remains; the rows they lost become duplicates.

        Those that are changed are set aside. A slice that has lost them before stays as it is.
        """

    def rename(self, tenant: TenantRef, former: str, name: str) -> None:
        """Let slices of a source bear another name; of two of one interval its own stays.

        The rows that ingestion has set aside of them go along.
        """

    def recorded(self, tenant: TenantRef) -> list[Slice]:
        """Every slice, by source and interval."""

    def set_aside(self, tenant: TenantRef, source: str) -> list[SetAside]:
        """The stored rows of a source, by interval and number."""
