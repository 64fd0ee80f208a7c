"""The canonical shape: the two tables every tenant's sources are mapped to."""

from __future__ import annotations

import hashlib
from typing import Final

import pyarrow as pa

TIMESTAMP: Final = pa.timestamp("us", tz="UTC")

#: What happened. `month` is the partition, the month of `created_timestamp` as `YYYY-MM`.
EVENTS: Final = pa.schema(
    [
        pa.field("tenant_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("event", pa.string(), nullable=False),
        pa.field("user_id", pa.string()),
        pa.field("account_id", pa.string()),
        pa.field("item_id", pa.string()),
        pa.field("group_id", pa.string()),
        pa.field("quantity", pa.float64()),
        pa.field("amount", pa.float64()),
        pa.field("properties", pa.string()),  # a JSON object, or null
        pa.field("event_timestamp", TIMESTAMP, nullable=False),
        pa.field("created_timestamp", TIMESTAMP, nullable=False),
        pa.field("month", pa.string(), nullable=False),
    ]
)

#: Facts about users, accounts and items that change slowly.
ATTRIBUTES: Final = pa.schema(
    [
        pa.field("tenant_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("event_id", pa.string(), nullable=False),  # identity of the fact
        pa.field("entity", pa.string(), nullable=False),  # user, account or item
        pa.field("entity_id", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("value", pa.string()),
        pa.field("valid_from", TIMESTAMP, nullable=False),
        pa.field("created_timestamp", TIMESTAMP, nullable=False),
        pa.field("month", pa.string(), nullable=False),
    ]
)

#: Column of reads of `events`, and of no table: when the next version of the event became known.
#: Null of an event that was not corrected, and of an event's last version.
REPLACED: Final = "replaced_timestamp"

SCHEMAS: Final = {
    "landing_events": EVENTS,
    "landing_attributes": ATTRIBUTES,
    "events": EVENTS,
    "attributes": ATTRIBUTES,
}


def schema_fingerprint(schema: pa.Schema) -> str:
    """Sixteen hex digits that change exactly when a column's name, type or nullability does."""
    text = "\n".join(f"{f.name}:{f.type}:{f.nullable}" for f in schema)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
