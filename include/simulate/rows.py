"""What happened as rows, as a tenant would export them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from include.simulate.seeds import Array, Index, scrambled
from include.storage.canonical import TIMESTAMP

Positions = NDArray[np.int64]

#: Of a column of an exported table that becomes a property.
PROPERTY: Final = "property_"
#: Position of a row among all of its tenant, which faults draw by; no source has it.
UID: Final = "uid"

#: An exported table's columns, the properties' excepted.
EXPORTED: Final = pa.schema(
    [
        ("event_id", pa.string()),
        ("event", pa.string()),
        ("user_id", pa.string()),
        ("account_id", pa.string()),
        ("item_id", pa.string()),
        ("group_id", pa.string()),
        ("quantity", pa.float64()),
        ("amount", pa.float64()),
        ("happened_at", TIMESTAMP),
        ("received_at", TIMESTAMP),
        (UID, pa.uint64()),
    ]
)
#: What is true of single events: a flag, its chance, and by which pattern.
OUTCOMES: Final = pa.schema(
    [
        ("event_id", pa.string()),
        ("outcome", pa.bool_()),
        ("probability", pa.float64()),
        ("pattern", pa.string()),
    ]
)


@dataclass(frozen=True)
class EventRows:
    """Events of one name, column by column."""

    event: str
    index: Index  #: tells rows of this name apart within the tenant
    user: Positions
    at: NDArray[np.int64]
    day: Positions
    item: Positions | None = None  #: the item's number, not its position
    account: Positions | None = None
    group: Index | None = None
    quantity: Array | None = None
    amount: Array | None = None
    properties: Mapping[str, pa.Array | Array] = field(default_factory=dict)
    knows: NDArray[np.bool_] | None = None  #: what a leak would tell
    outcome: NDArray[np.bool_] | None = None  #: what is true of each event
    probability: Array | None = None
    pattern: pa.Array | None = None

    def where(self, kept: NDArray[np.bool_]) -> EventRows:
        """Some of the rows."""
        chosen = pa.array(kept)
        arrays: dict[str, Any] = {
            name: value[kept] for name, value in vars(self).items() if isinstance(value, np.ndarray)
        }
        if self.pattern is not None:
            arrays["pattern"] = self.pattern.filter(chosen)
        properties = {
            name: value[kept] if isinstance(value, np.ndarray) else value.filter(chosen)
            for name, value in self.properties.items()
        }
        return replace(self, **arrays, properties=properties)

    @property
    def event_ids(self) -> pa.Array:
        """The events' ids: initials of the name and a number."""
        return _spelled(_initials(self.event), self.index)


def exported(parts: Sequence[EventRows]) -> pa.Table:
    """The rows as an exported table."""
    tables = [_export(rows) for rows in parts if len(rows.index)]
    return pa.concat_tables([EXPORTED.empty_table(), *tables], promote_options="default")


def in_order(table: pa.Table) -> pa.Table:
    """An exported table in the order of arrival."""
    return table.sort_by([("received_at", "ascending"), ("event_id", "ascending")])


def outcomes(parts: Sequence[EventRows]) -> pa.Table:
    """What is true of single events, by event id."""
    tables = [OUTCOMES.empty_table()]
    for rows in parts:
        if rows.outcome is None:
            continue
        count = len(rows.index)
        columns = [
            rows.event_ids,
            pa.array(rows.outcome),
            pa.nulls(count, pa.float64()) if rows.probability is None else rows.probability,
            pa.nulls(count, pa.string()) if rows.pattern is None else rows.pattern,
        ]
        tables.append(pa.table(columns, schema=OUTCOMES))
    return pa.concat_tables(tables).sort_by("event_id")


def user_ids(numbers: Positions) -> pa.Array:
    """Users' ids by their numbers."""
    return _ids("u", numbers, 6)


def item_ids(numbers: Positions) -> pa.Array:
    """Items' ids by their numbers."""
    return _ids("i", numbers, 5)


def account_ids(numbers: Positions) -> pa.Array:
    """Accounts' ids by their numbers; below 0 is none."""
    return _ids("a", numbers, 5)


def _export(rows: EventRows) -> pa.Table:
    count = len(rows.index)
    texts, number = pa.nulls(count, pa.string()), pa.nulls(count, pa.float64())
    at = pa.array(rows.at).cast(TIMESTAMP)
    event = np.frombuffer(_initials(rows.event).ljust(8).encode()[:8], dtype=np.uint64)
    with np.errstate(over="ignore"):
        uid = rows.index ^ (event * np.uint64(0x9E3779B97F4A7C15))
    columns = {
        "event_id": rows.event_ids,
        "event": pa.repeat(rows.event, count),
        "user_id": user_ids(rows.user),
        "account_id": texts if rows.account is None else account_ids(rows.account),
        "item_id": texts if rows.item is None else item_ids(rows.item),
        "group_id": texts if rows.group is None else _spelled("g", rows.group),
        "quantity": number if rows.quantity is None else pa.array(rows.quantity, from_pandas=True),
        "amount": number if rows.amount is None else pa.array(rows.amount, from_pandas=True),
        "happened_at": at,
        "received_at": at,
        UID: pa.array(uid),
    }
    for name, value in rows.properties.items():
        columns[PROPERTY + name] = pa.array(value) if isinstance(value, np.ndarray) else value
    return pa.table(columns)


def _ids(letter: str, numbers: Positions, width: int) -> pa.Array:
    distinct, places = np.unique(numbers, return_inverse=True)
    spelled = [None if n < 0 else f"{letter}{n:0{width}d}" for n in distinct.tolist()]
    return pa.array(spelled, pa.string()).take(pa.array(places))


def _spelled(letters: str, index: Index) -> pa.Array:
    number = pa.array(scrambled(index)).cast(pa.string())
    return pc.binary_join_element_wise(letters, number, "")


def _initials(event: str) -> str:
    return "".join(word[0] for word in event.split()).lower()
