"""Text tables as canonical events, attributes and spines: `a | b` per line, `-` is null."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pyarrow as pa

from include.storage.canonical import ATTRIBUTES, EVENTS, REPLACED, TIMESTAMP

#: The `check` fixture: `check(*aggregations, events=…, expect=…)`.
Check = Callable[..., None]
_SPINE_NAMES = {"user": "user_id", "item": "item_id", "account": "account_id", "as_of": "as_of"}


def event_table(text: str) -> pa.Table:
    """Canonical events from the columns tenant, id, event, user, account, item, basket, quantity, amount,
    properties, at, known and replaced; `event` is `Order Completed` and `known` is `at` where not
    given."""
    rows = []
    schema = EVENTS
    for number, row in enumerate(_rows(text)):
        at = instant(row["at"])
        known, replaced = row.get("known"), row.get("replaced")
        if "replaced" in row:
            schema = EVENTS.append(pa.field(REPLACED, TIMESTAMP))
        rows.append(
            {
                "tenant_id": row.get("tenant") or "acme",
                "source": row.get("source") or "shop",
                "event_id": row.get("id") or f"e{number}",
                "event": row.get("event") or "Order Completed",
                "user_id": row.get("user"),
                "account_id": row.get("account"),
                "item_id": row.get("item"),
                "group_id": row.get("basket"),
                "quantity": _number(row.get("quantity")),
                "amount": _number(row.get("amount")),
                "properties": row.get("properties"),
                "event_timestamp": at,
                "created_timestamp": instant(known) if known else at,
                "month": f"{at:%Y-%m}",
                REPLACED: instant(replaced) if replaced else None,
            }
        )
    return pa.Table.from_pylist(rows, schema=schema)


def attribute_table(text: str) -> pa.Table:
    """Canonical attributes from the columns entity, id, name, value, from and known."""
    rows = []
    for number, row in enumerate(_rows(text)):
        known = row.get("known") or row["from"]
        rows.append(
            {
                "tenant_id": "acme",
                "source": "shop",
                "event_id": f"a{number}",
                "entity": row["entity"],
                "entity_id": row["id"],
                "name": row["name"],
                "value": row["value"],
                "valid_from": instant(row["from"]),
                "created_timestamp": instant(known),
                "month": "2024-01",
            }
        )
    return pa.Table.from_pylist(rows, schema=ATTRIBUTES)


def expectations(text: str) -> tuple[pa.Table, dict[str, list[str]]]:
    """The spine of an expected table, and its feature columns as written."""
    header, *lines = _cells(text)
    columns = {name: [line[i] for line in lines] for i, name in enumerate(header)}
    spine: dict[str, pa.Array] = {}
    for name, values in columns.items():
        if name == "as_of":
            spine[name] = pa.array([instant(value) for value in values], TIMESTAMP)
        elif name in _SPINE_NAMES:
            texts = [None if value == "-" else value for value in values]
            spine[_SPINE_NAMES[name]] = pa.array(texts, pa.string())
    features = {name: values for name, values in columns.items() if name not in _SPINE_NAMES}
    return pa.table(spine), features


def instant(text: str | None) -> datetime:
    """A UTC instant from `2024-03-01` or `2024-03-01 10:00`."""
    assert text is not None, "an instant is required"
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _rows(text: str) -> list[dict[str, str | None]]:
    if not text.strip():
        return []
    header, *lines = _cells(text)
    return [
        {name: None if cell == "-" else cell for name, cell in zip(header, line, strict=True)}
        for line in lines
    ]


def _cells(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.strip()]
    return [[cell.strip() for cell in line.split("|")] for line in lines]


def _number(text: str | None) -> float | None:
    return None if text is None else float(text)
