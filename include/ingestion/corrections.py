"""Corrections: rows whose event id was read before, with other values.

A source of facts has none: a fact's value is part of its id. Of events, the tenant's file says
what becomes of them: `corrections: refuse` keeps the first arrival and sets the others aside,
`corrections: apply` takes each as a version of the event, known from its own arrival on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import pyarrow as pa

from include.handoffs import Interval
from include.ingestion.rows import Refused, Rows
from include.ingestion.slices import Slice
from include.storage.canonical import EVENTS
from include.tenants.config import Source

#: Column with a row's position in what was read.
POSITION: Final = "position"
#: What an event says; two rows of one event id that differ in none of it are one row, read twice.
VALUES: Final = tuple(
    name
    for name in EVENTS.names
    if name not in ("tenant_id", "source", "event_id", "created_timestamp", "month")
)
#: A part of an event id, as `columns.joined` writes it.
_PART: Final = re.compile(r"(?:[^\\|]|\\.)+", re.DOTALL)


@dataclass(frozen=True)
class CorrectionRule:
    """What becomes of the rows of one id."""

    values: tuple[str, ...] = ()  #: columns that are compared; without any, all rows say the same
    versions: bool = False  #: whether a changed row is a version of the event
    chained: bool = False  #: whether the table has versions, perhaps of a time when that was so
    holes: tuple[Interval, ...] = ()  #: times of arrival that were not read yet

    @property
    def said(self) -> str:
        """What a row says, in SQL."""
        columns = ", ".join(f'"{name}"' for name in self.values)
        return f"row({columns})" if columns else "0"

    @property
    def hole(self) -> str:
        """Whether something between `known_before` and `created_timestamp` was not read, in SQL.

        What comes in there later may differ from both, so that a repeat may turn out to be none.
        """
        between = [
            f"(known_before < '{hole.end.isoformat()}'::TIMESTAMPTZ "
            f"AND created_timestamp >= '{hole.start.isoformat()}'::TIMESTAMPTZ)"
            for hole in self.holes
        ]
        return " OR ".join(between) or "false"


def rule_of(
    source: Source, interval: Interval, recorded: Iterable[Slice], versioned: Container[str]
) -> CorrectionRule:
    """The rule of a source, when the interval is read after the recorded slices.

    Args:
        versioned: sources of whose events the table has versions.
    """
    if source.events is None:
        return CorrectionRule()
    read = [one.interval for one in recorded if one.source == source.name]
    versions = source.corrections == "apply"
    chained = versions or source.name in versioned
    return CorrectionRule(VALUES, versions, chained, _between([*read, interval]) if chained else ())


def _between(read: Sequence[Interval]) -> tuple[Interval, ...]:
    """The times between the first and the last interval that none of them covers."""
    holes, reached = [], None
    for one in sorted(read, key=lambda one: (one.start, one.end)):
        if reached is not None and one.start > reached:
            holes.append(Interval(reached, one.start))
        reached = one.end if reached is None else max(reached, one.end)
    return tuple(holes)


def reason(source: Source) -> str:
    """Why a changed row of the source is set aside; quotes no value."""
    mapping = source.events
    assert mapping is not None  # facts are never set aside as changed
    ids = ", ".join(mapping.event_id)
    cursor = source.known_from
    if source.corrections == "apply":
        return (
            f"{ids}: this event id was read before, with other values at the same {cursor}; the "
            "first row stays"
        )
    if cursor is None:
        return (
            f"{ids}: this event id was read before, with other values; the first row stays. Let "
            "`event_id` name all columns that tell rows apart"
        )
    return (
        f"{ids}: this event id was read before, with other values; the first row stays. "
        f"`corrections: apply` takes such rows as corrections, known from {cursor} on"
    )


def as_read(events: pa.Table, source: Source) -> Refused:
    """Canonical events by the source's own columns, as the quarantine stores them.

    Args:
        events: at least one, with `POSITION`.

    Returns:
        The columns that the mapping reads, as texts.
    """
    mapping = source.events
    assert mapping is not None  # facts are never set aside as changed
    rows = events.to_pylist()
    ids, measures = ("user_id", "account_id", "item_id", "group_id"), ("quantity", "amount")
    columns = {name: getattr(mapping, name) for name in ("event_timestamp", *ids, *measures)}
    columns |= {"event": mapping.event_column, "created_timestamp": source.known_from}
    told: list[dict[str, Any]] = []
    for row in rows:
        parts = _parts(row["event_id"], len(mapping.event_id))
        properties = _members(row["properties"])
        read = dict(zip(mapping.event_id, parts, strict=True))
        read |= {column: properties.get(name) for name, column in mapping.properties.items()}
        read |= {column: row[name] for name, column in columns.items() if column}
        told.append({column: _text(value) for column, value in read.items()})
    table = pa.table({name: pa.array([row[name] for row in told], pa.string()) for name in told[0]})
    reasons = pa.array([reason(source)] * len(rows), pa.string())
    numbers, created = (events[name].combine_chunks() for name in (POSITION, "created_timestamp"))
    return Refused(Rows(table, numbers), reasons, created)


def _parts(event_id: str, count: int) -> list[str | None]:
    """The columns' texts; of an id that is a digest, the digest."""
    parts = [re.sub(r"\\(.)", r"\1", part, flags=re.DOTALL) for part in _PART.findall(event_id)]
    return list(parts) if len(parts) == count else [event_id, *[None] * (count - 1)]


def _members(properties: str | None) -> dict[str, Any]:
    members: dict[str, Any] = json.loads(properties) if properties else {}
    return members


def _text(value: Any) -> str | None:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, (dict, list)):
        return json.dumps(value)
    return None if value is None else str(value)
