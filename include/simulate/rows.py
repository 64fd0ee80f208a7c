"""What happened as rows: as a tenant would export them, and in the canonical shape."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from include.simulate.faults import Fault, Leak
from include.simulate.seeds import Array, Draws, Index, scrambled
from include.storage.canonical import EVENTS, TIMESTAMP

Positions = NDArray[np.int64]

SOURCE: Final = "events"
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
class Rows:
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

    def where(self, kept: NDArray[np.bool_]) -> Rows:
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


def leaked(rows: Rows, faults: tuple[Fault, ...], main: str, draws: Draws) -> Rows:
    """The rows with what leaks tell, where they are of the main event."""
    if rows.event != main or rows.knows is None:
        return rows
    found = dict(rows.properties)
    for leak in (fault for fault in faults if isinstance(fault, Leak)):
        honest = draws.named("leak", leak.name).uniform(rows.index) < leak.share
        told = np.where(honest, rows.knows, ~rows.knows).astype(np.float64)
        told[rows.day < leak.at] = np.nan
        found[leak.name] = pa.array(told, from_pandas=True)
    return replace(rows, properties=found)


def exported(parts: Sequence[Rows]) -> pa.Table:
    """The rows as an exported table."""
    tables = [_export(rows) for rows in parts if len(rows.index)]
    return pa.concat_tables([EXPORTED.empty_table(), *tables], promote_options="default")


def in_order(table: pa.Table) -> pa.Table:
    """An exported table in the order of arrival."""
    return table.sort_by([("received_at", "ascending"), ("event_id", "ascending")])


def outcomes(parts: Sequence[Rows]) -> pa.Table:
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


def canonical(table: pa.Table, tenant: str) -> pa.Table:
    """An exported table in the canonical shape, as ingestion would map it."""
    names = property_names(table)
    created = table["received_at"]
    columns = {
        "tenant_id": pa.repeat(tenant, len(table)),
        "source": pa.repeat(SOURCE, len(table)),
        **{name: table[name] for name in EXPORTED.names[:8]},
        "properties": _json(table, names),
        "event_timestamp": table["happened_at"],
        "created_timestamp": created,
        "month": pc.strftime(created, format="%Y-%m"),
    }
    return pa.table([columns[name] for name in EVENTS.names], schema=EVENTS)


def property_names(table: pa.Table) -> list[str]:
    """Names of the properties that an exported table has columns for."""
    return [n.removeprefix(PROPERTY) for n in table.column_names if n.startswith(PROPERTY)]


def user_ids(numbers: Positions) -> pa.Array:
    """Users' ids by their numbers."""
    return _ids("u", numbers, 6)


def item_ids(numbers: Positions) -> pa.Array:
    """Items' ids by their numbers."""
    return _ids("i", numbers, 5)


def account_ids(numbers: Positions) -> pa.Array:
    """Accounts' ids by their numbers; below 0 is none."""
    return _ids("a", numbers, 5)


def _export(rows: Rows) -> pa.Table:
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
        "quantity": number if rows.quantity is None else pa.array(rows.quantity),
        "amount": number if rows.amount is None else pa.array(rows.amount),
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


def _json(table: pa.Table, names: list[str]) -> pa.Array:
    """One JSON object per row of the properties that have a value, null where none has."""
    inner = pa.repeat("", len(table))
    for name in names:
        column = table[PROPERTY + name].combine_chunks()
        value = _json_values(column)
        member = pc.binary_join_element_wise(f", {json.dumps(name)}: ", value, "")
        inner = pc.binary_join_element_wise(inner, pc.fill_null(member, ""), "")
    wrapped = pc.binary_join_element_wise("{", pc.utf8_slice_codeunits(inner, 2), "}", "")
    return pc.if_else(pc.equal(inner, ""), pa.scalar(None, pa.string()), wrapped)


def _json_values(column: pa.Array) -> pa.Array:
    if pa.types.is_floating(column.type):
        whole = pc.equal(pc.floor(column), column)
        integers = pc.if_else(whole, column, 0.0).cast(pa.int64()).cast(pa.string())
        return pc.if_else(whole, integers, column.cast(pa.string()))
    encoded = column.dictionary_encode()
    values = [json.dumps(text) for text in encoded.dictionary.to_pylist()]
    return pa.array(values, pa.string()).take(encoded.indices)
