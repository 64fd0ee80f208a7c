"""Partial aggregates in Postgres: the states of batches and of single streamed events."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Final

import pyarrow as pa

from include.features.online.codec import EntityState, encode
from include.features.online.layout import Layout
from include.features.online.records import Records, entities_of, records_of
from include.features.online.tables import event_keys
from include.storage.postgres import Connection
from include.tenants.namespace import TenantRef

_ROWS_PER_STATEMENT: Final = 5_000
_INSERT: Final = """
    INSERT INTO online_partials
        (tenant_id, group_key, until, entity_key, event_key, fields, words, ends)
    SELECT %s, %s, * FROM unnest(
        %s::timestamptz[], %s::text[], %s::text[], %b::bytea[], %b::bytea[], %b::bytea[])
    ON CONFLICT (tenant_id, group_key, entity_key, until, event_key) DO UPDATE
    SET fields = excluded.fields, words = excluded.words, ends = excluded.ends
"""
_GROUPS: Final = """
    SELECT group_key, layout, watermark, batches FROM online_groups
    WHERE tenant_id = %s AND region = %s
"""
_SAVE_GROUP: Final = """
    INSERT INTO online_groups (tenant_id, group_key, region, layout, watermark, batches)
    VALUES (%s, %s, %s, %s, %s, %s)
    ON CONFLICT (tenant_id, group_key)
    DO UPDATE SET watermark = excluded.watermark, batches = excluded.batches
"""
_STREAMED: Final = """
    SELECT entity_key, event_key, until, fields, words, ends FROM online_partials
    WHERE tenant_id = %s AND group_key = %s AND event_key <> ''
"""
_FORGET_STREAMED: Final = """
    DELETE FROM online_partials WHERE tenant_id = %s AND group_key = %s AND event_key = ANY(%s)
"""
_FORGET_ALL_STREAMED: Final = """
    DELETE FROM online_partials WHERE tenant_id = %s AND group_key = %s AND event_key <> ''
"""
_FORGET_BATCHES: Final = """
    DELETE FROM online_partials WHERE tenant_id = %s AND group_key = %s AND event_key = ''
"""
_FORGET_GROUP: Final = "DELETE FROM online_groups WHERE tenant_id = %s AND group_key = %s"


@dataclass(frozen=True)
class Batch:
    """What one materialization, or several made one, has written."""

    until: datetime
    rows: int


@dataclass(frozen=True)
class Group:
    """A layout's partial aggregates of one tenant."""

    key: str
    layout: Layout
    watermark: datetime  #: everything known by then is in a batch
    batches: tuple[Batch, ...]  #: the oldest first


@dataclass(frozen=True)
class Row:
    """A state of one entity, and from when on it counts."""

    entity: str
    event: str  #: key of the streamed event; empty for a batch
    until: datetime
    state: EntityState


def groups(connection: Connection, tenant: TenantRef) -> dict[str, Group]:
    """The tenant's groups, by key."""
    found = connection.execute(_GROUPS, [tenant.id, tenant.region]).fetchall()
    return {
        row["group_key"]: Group(
            row["group_key"],
            Layout.from_json(row["layout"]),
            row["watermark"],
            tuple(Batch(datetime.fromisoformat(u), rows) for u, rows in row["batches"]),
        )
        for row in found
    }


def save_group(connection: Connection, tenant: TenantRef, group: Group) -> None:
    """Record how far a group has come."""
    layout = json.dumps(group.layout.to_json())
    batches = json.dumps([[batch.until.isoformat(), batch.rows] for batch in group.batches])
    connection.execute(
        _SAVE_GROUP, [tenant.id, group.key, tenant.region, layout, group.watermark, batches]
    )


def write(connection: Connection, tenant: TenantRef, group_key: str, rows: Iterable[Row]) -> int:
    """Add states; returns how many."""
    written, left = 0, iter(rows)
    while part := list(islice(left, _ROWS_PER_STATEMENT)):
        columns: list[Sequence[Any]] = [
            [row.until for row in part],
            [row.entity for row in part],
            [row.event for row in part],
            [row.state.fields for row in part],
            [row.state.words for row in part],
            [row.state.ends for row in part],
        ]
        connection.execute(_INSERT, [tenant.id, group_key, *columns])
        written += len(part)
    return written


def streamed(connection: Connection, tenant: TenantRef, group_key: str) -> list[Row]:
    """The states of streamed events that are in no batch yet."""
    found = connection.cursor(binary=True).execute(_STREAMED, [tenant.id, group_key])
    return [
        Row(
            row["entity_key"],
            row["event_key"],
            row["until"],
            EntityState(0, row["fields"], row["words"], row["ends"]),
        )
        for row in found
    ]


def forget_streamed(
    connection: Connection, tenant: TenantRef, group_key: str, keys: Collection[str]
) -> None:
    """Drop the states of streamed events."""
    if keys:
        connection.execute(_FORGET_STREAMED, [tenant.id, group_key, list(keys)])


def forget_all_streamed(connection: Connection, tenant: TenantRef, group_key: str) -> None:
    """Drop the states of all streamed events."""
    connection.execute(_FORGET_ALL_STREAMED, [tenant.id, group_key])


def forget_batches(connection: Connection, tenant: TenantRef, group_key: str) -> None:
    """Drop the states of all batches."""
    connection.execute(_FORGET_BATCHES, [tenant.id, group_key])


def forget_group(connection: Connection, tenant: TenantRef, group_key: str) -> None:
    """Drop a group with all its states."""
    forget_all_streamed(connection, tenant, group_key)
    forget_batches(connection, tenant, group_key)
    connection.execute(_FORGET_GROUP, [tenant.id, group_key])


def streamed_states(layout: Layout, events: pa.Table, facts: pa.Table) -> Iterator[Row]:
    """A state for each event of the layout's stream, which counts once the event is known."""
    entities = entities_of(events, layout.join_keys)
    found = records_of(layout, events, facts)
    records = found.take(entities.of_event[found.entity] >= 0)
    records = records.take(records.entity.argsort(kind="stable"))
    keys = event_keys(events)
    created = events["created_timestamp"].to_pylist()
    names = entities.keys(entities.of_event[records.entity])
    for name, state in zip(names, encode(records), strict=True):
        yield Row(name, keys[state.entity], created[state.entity], state)


def batch_states(records: Records, keys: Sequence[str], until: datetime) -> Iterator[Row]:
    """A state for each entity of a batch: a position in `keys`, by which records are sorted."""
    for state in encode(records):
        yield Row(keys[state.entity], "", until, state)
