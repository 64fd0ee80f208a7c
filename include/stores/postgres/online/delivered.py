"""Which events the lake delivered in the last days: a streamed copy that lags is known by them.

An event that became known within `REMEMBERED` before the watermark is either on the list or new,
however long ago it happened and whatever its copy says of when it became known. Only a copy that
lags behind the lake's by more than that, and says that it became known later, counts as another
event.
"""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import blake2b
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from include.features.online.store import REMEMBERED
from include.features.online.tables import event_keys
from include.storage.canonical import TIMESTAMP
from include.storage.postgres import Connection
from include.tenants.namespace import TenantRef

_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_ROWS_PER_STATEMENT: Final = 20_000
_INSERT: Final = """
    INSERT INTO online_delivered (tenant_id, region, digest, known_at)
    SELECT %s, %s, * FROM unnest(%b::bytea[], %s::timestamptz[])
    ON CONFLICT DO NOTHING
"""
_SELECT: Final = """
    SELECT digest FROM online_delivered
    WHERE tenant_id = %s AND region = %s AND digest = ANY(%b::bytea[])
"""
_FORGET: Final = """
    DELETE FROM online_delivered WHERE tenant_id = %s AND region = %s AND known_at <= %s
"""
_FORGET_ALL: Final = "DELETE FROM online_delivered WHERE tenant_id = %s AND region = %s"


def remember(connection: Connection, tenant: TenantRef, events: pa.Table, until: datetime) -> None:
    """Put recent delivered events on the list, and take those off that are too old for it."""
    connection.execute(_FORGET, [tenant.id, tenant.region, _from(until)])
    recent = _known_after(events, _from(until))
    for start in range(0, len(recent), _ROWS_PER_STATEMENT):
        part = recent.slice(start, _ROWS_PER_STATEMENT)
        columns = [_digests(part), _known_at(part).to_pylist()]
        connection.execute(_INSERT, [tenant.id, tenant.region, *columns])


def undelivered(connection: Connection, tenant: TenantRef, events: pa.Table) -> pa.Table:
    """The streamed events that are not on the list of what the lake has delivered."""
    digests = _digests(events)
    found = connection.cursor(binary=True).execute(_SELECT, [tenant.id, tenant.region, digests])
    known = {bytes(row["digest"]) for row in found}
    return events.filter(pa.array([one not in known for one in digests], pa.bool_()))


def forget_all(connection: Connection, tenant: TenantRef) -> None:
    """Empty the list."""
    connection.execute(_FORGET_ALL, [tenant.id, tenant.region])


def _from(watermark: datetime) -> datetime:
    return watermark - min(REMEMBERED, watermark - _FIRST)


def _known_after(events: pa.Table, after: datetime) -> pa.Table:
    return events.filter(pc.greater(_known_at(events), pa.scalar(after, TIMESTAMP)))


def _known_at(events: pa.Table) -> pa.ChunkedArray:
    """When each counted first: some clocks know of events before they happen."""
    created, happened = events["created_timestamp"], events["event_timestamp"]
    return pc.if_else(pc.greater(created, happened), created, happened)


def _digests(events: pa.Table) -> list[bytes]:
    """Sixteen bytes that stand for an event's source and id."""
    keys = event_keys(events)
    return [blake2b(key.encode(), digest_size=16).digest() for key in keys]
