"""A hash chain over what a ledger says, as values: no database in here.

Every entry carries the digest of the one before it, so whoever knows one digest knows all that came
before: an entry that was changed, left out, moved or put between no longer fits. The newest entries
can still be cut off, and whoever may write the table can compute a whole new chain. Both are found
where the length and the digest of the last entry were kept elsewhere: a checkpoint.

An entry about a ledger's row holds the row's columns, short ones as they are and long ones as
digests. The rows themselves are compared with the newest entry about each.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

#: A row's columns as Postgres writes them as text.
Row = Mapping[str, str | None]
#: Written into every digest: another way to make them gets another number.
_FORMAT: Final = 1
_LONGEST: Final = 64  #: characters of a value that stands in an entry as it is
_DIGEST: Final = "sha256:"
#: Entries that say that a ledger's rows were erased, which are then no longer expected.
ERASED: Final = "erased"


@dataclass(frozen=True)
class Ledger:
    """A table whose rows are entered into the chain as they are written."""

    action: str  #: of the entries about it
    table: str
    key: tuple[str, ...]  #: columns besides the tenant
    changing: frozenset[str] = frozenset()  #: columns that may change along a row's life


#: What `enter` can write about, and nothing else can.
LEDGERS: Final = (
    Ledger("promotion", "promotions", ("use_case", "as_of", "trigger")),
    Ledger("experiment", "experiments", ("use_case", "number", "event")),
    Ledger(
        "retrain",
        "retrain_ledger",
        ("use_case", "as_of"),
        frozenset(
            {
                *("state", "dag_run_id", "triggered_at"),
                *("outcome", "outcome_details", "finished_at", "effect", "effect_details"),
            }
        ),
    ),
)
#: Actions with a meaning of their own, which no operator's action can be called.
RESERVED: Final = frozenset({*(ledger.action for ledger in LEDGERS), ERASED})


@dataclass(frozen=True)
class AuditEntry:
    """One thing that happened to one owner."""

    owner: str  #: a tenant's id, or the platform's
    number: int  #: from 1, without a gap
    recorded_at: datetime
    actor: str  #: `system`, or the user
    action: str
    details: str  #: JSON; of a ledger's row, its columns
    previous: str  #: digest of the entry before; empty in the first
    digest: str = ""

    @property
    def told(self) -> dict[str, Any]:
        """The details; empty where an intruder left something else."""
        try:
            found = json.loads(self.details)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True)
class Head:
    """How far a chain was at some moment, kept where the chain's owner does not write."""

    length: int
    digest: str  #: of the last entry; empty of an empty chain


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was written."""

    owner: str
    entry: int  #: its number; 0 where the finding is about no entry
    what: str
    expected: str
    found: str

    def __str__(self) -> str:
        place = f"entry {self.entry}: " if self.entry else ""
        return f"{self.owner}: {place}{self.what}; expected {self.expected}, found {self.found}"


def following(
    last: Head, owner: str, *, recorded_at: datetime, actor: str, action: str, details: str
) -> AuditEntry:
    """The next entry of a chain that has come as far as `last`."""
    entry = AuditEntry(owner, last.length + 1, recorded_at, actor, action, details, last.digest)
    return replace(entry, digest=digest_of(entry))


def digest_of(entry: AuditEntry) -> str:
    """SHA-256 over everything the entry says, and with it over every entry before."""
    content = {**asdict(entry), "recorded_at": entry.recorded_at.astimezone(UTC).isoformat()}
    del content["digest"]
    return hashlib.sha256(canonical([_FORMAT, content]).encode()).hexdigest()


def canonical(value: Any) -> str:
    """The one JSON text of a value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def columns(row: Row) -> dict[str, str | None]:
    """What an entry says of a row: each column, where that is long its digest."""
    return {name: _shortened(value) for name, value in row.items() if name != "tenant_id"}


def head_of(entries: Sequence[AuditEntry]) -> Head:
    """How far a chain has come."""
    return Head(entries[-1].number, entries[-1].digest) if entries else Head(0, "")


def broken_links(owner: str, entries: Sequence[AuditEntry]) -> Iterator[Finding]:
    """Entries that were changed, left out, moved or put between.

    Args:
        entries: all there are, by number.
    """
    before = Head(0, "")
    for entry in entries:
        if entry.number != before.length + 1:
            yield Finding(
                owner, entry.number, "entries are missing before it", f"number {before.length + 1}",
                f"number {entry.number}",
            )  # fmt: skip
        elif entry.previous != before.digest:
            yield Finding(
                owner, entry.number, "it does not follow the entry before",
                f"previous {before.digest or 'none'}", f"previous {entry.previous or 'none'}",
            )  # fmt: skip
        made = digest_of(entry)
        if entry.owner != owner:
            yield Finding(owner, entry.number, "it is another owner's", owner, entry.owner)
        if entry.digest != made:
            yield Finding(
                owner, entry.number, "it was changed", f"digest {entry.digest}", f"digest {made}"
            )
        before = Head(entry.number, entry.digest)


def broken_promises(
    owner: str, entries: Sequence[AuditEntry], heads: Iterable[tuple[str, Head]]
) -> Iterator[Finding]:
    """Chains that were cut, or written anew, since a checkpoint.

    Args:
        heads: with the name of the checkpoint that holds each.
    """
    by_number = {entry.number: entry for entry in entries}
    for name, head in heads:
        if not head.length:
            continue
        there = by_number.get(head.length)
        if there is None:
            yield Finding(
                owner, 0, f"the chain was cut since {name}", f"at least {head.length} entries",
                f"{len(entries)}",
            )  # fmt: skip
        elif there.digest != head.digest:
            yield Finding(
                owner, head.length, f"the chain was written anew since {name}",
                f"digest {head.digest}", f"digest {there.digest}",
            )  # fmt: skip


def changed_rows(
    owner: str, entries: Sequence[AuditEntry], rows: Mapping[str, Sequence[Row]]
) -> Iterator[Finding]:
    """Rows that are not what was entered of them, that were never entered, or that are gone.

    Args:
        rows: table → all rows of the owner.
    """
    for ledger in LEDGERS:
        entered: dict[tuple[str | None, ...], AuditEntry] = {}
        for entry in entries:
            if entry.action == ERASED and ledger.table in entry.told.get("tables", ()):
                entered.clear()
            if entry.action != ledger.action:
                continue
            key = _key(ledger, entry.told)
            if key in entered:
                yield from _rewritten(ledger, entered[key], entry)
            entered[key] = entry
        for row in rows.get(ledger.table, ()):
            there = columns(row)
            about = entered.pop(_key(ledger, there), None)
            if about is None:
                name = _name(ledger, there)
                yield Finding(owner, 0, f"{name} was never entered", "an entry about it", "none")
                continue
            for column, value in about.told.items():
                if column not in there or there[column] != value:
                    yield Finding(
                        owner, about.number, f"{column} of {_name(ledger, there)} was changed",
                        _shown(value), _shown(there.get(column)),
                    )  # fmt: skip
        for entry in entered.values():
            name = _name(ledger, entry.told)
            yield Finding(owner, entry.number, f"{name} is gone", "the row", "none")


def _rewritten(ledger: Ledger, before: AuditEntry, after: AuditEntry) -> Iterator[Finding]:
    """What an entry says differently of a row, and no later entry may."""
    first, second = before.told, after.told
    name = _name(ledger, first)
    if not ledger.changing:
        yield Finding(
            after.owner, after.number, f"{name} was entered again", f"entry {before.number} alone",
            "two entries",
        )  # fmt: skip
        return
    for column in sorted(first.keys() - ledger.changing):
        if second.get(column) != first[column]:
            yield Finding(
                after.owner, after.number, f"{column} of {name} was entered differently",
                _shown(first[column]), _shown(second.get(column)),
            )  # fmt: skip


def _key(ledger: Ledger, there: Mapping[str, str | None]) -> tuple[str | None, ...]:
    return tuple(there.get(column) for column in ledger.key)


def _name(ledger: Ledger, there: Mapping[str, str | None]) -> str:
    return f"the {ledger.action} {'/'.join(str(part) for part in _key(ledger, there))}"


def _shortened(value: str | None) -> str | None:
    if value is None or len(value) <= _LONGEST:
        return value
    return _DIGEST + hashlib.sha256(value.encode()).hexdigest()


def _shown(value: str | None) -> str:
    return "null" if value is None else repr(value)
