"""Streamed events and facts, as they came."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from include.features.declarations import AttributeLookup
from include.features.online.limits import may_be_kept
from include.features.online.records import key_of
from include.features.online.tables import EVENT, EVENT_KEY, FACT
from include.storage.canonical import ATTRIBUTES, EVENTS
from include.storage.entities import ENTITY_COLUMNS
from include.storage.postgres import Connection
from include.tenants.namespace import TenantRef

_ROWS_PER_STATEMENT: Final = 20_000
#: More entities than this are not worth naming: all their facts are read.
_NAMED: Final = 20_000
NO_EVENTS: Final = pa.schema([EVENTS.field(name) for name in EVENT]).empty_table()

_INSERT_EVENTS: Final = """
    INSERT INTO online_events (tenant_id, region, source, event_id, event, user_id,
        account_id, item_id, group_id, quantity, amount, properties, event_timestamp,
        created_timestamp)
    SELECT %s, %s, * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[],
        %s::text[], %s::text[], %s::text[], %s::float8[], %s::float8[], %s::text[],
        %s::timestamptz[], %s::timestamptz[])
    ON CONFLICT DO NOTHING RETURNING source, event_id
"""
_SELECT_EVENTS: Final = """
    SELECT source, event_id, event, user_id, account_id, item_id, group_id, quantity, amount,
        properties, event_timestamp, created_timestamp
    FROM online_events WHERE tenant_id = %s AND region = %s
"""
_INSERT_FACTS: Final = """
    INSERT INTO online_facts (tenant_id, source, event_id, entity, entity_id, name, value,
        valid_from, created_timestamp)
    SELECT %s, * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
        %s::text[], %s::timestamptz[], %s::timestamptz[])
    ON CONFLICT DO NOTHING
"""
_FORGET_EVENTS: Final = """
    DELETE FROM online_events WHERE tenant_id = %s AND region = %s AND
    (GREATEST(created_timestamp, event_timestamp) <= %s OR (source, event_id) IN
        (SELECT * FROM unnest(%s::text[], %s::text[])))
"""
_FORGET_FACTS: Final = "DELETE FROM online_facts WHERE tenant_id = %s AND created_timestamp <= %s"
_SELECT_FACTS: Final = """
    SELECT source, event_id, entity, entity_id, name, value, valid_from, created_timestamp
    FROM online_facts WHERE tenant_id = %s AND entity = %s AND name = %s
"""


def insert_events(connection: Connection, tenant: TenantRef, events: pa.Table) -> set[str]:
    """Keep streamed events that are not there yet; returns their keys."""
    new: set[str] = set()
    for part in _parts(events):
        columns = [part[name].to_pylist() for name in EVENT]
        found = connection.execute(_INSERT_EVENTS, [tenant.id, tenant.region, *columns])
        new |= {key_of((row["source"], row["event_id"])) for row in found}
    return new


def streamed_events(connection: Connection, tenant: TenantRef) -> pa.Table:
    """Every streamed event that is kept."""
    rows = connection.execute(_SELECT_EVENTS, [tenant.id, tenant.region]).fetchall()
    return pa.Table.from_pylist(rows, NO_EVENTS.schema)


def forget_events(
    connection: Connection, tenant: TenantRef, events: pa.Table, until: datetime
) -> None:
    """Keep these streamed events, and all that are over and known by `until`, no longer."""
    ids = [events[name].to_pylist() for name in EVENT_KEY]
    connection.execute(_FORGET_EVENTS, [tenant.id, tenant.region, until, *ids])


def forget_facts(connection: Connection, tenant: TenantRef, until: datetime) -> None:
    """Drop the facts that were created by `until`."""
    connection.execute(_FORGET_FACTS, [tenant.id, until])


def insert_facts(connection: Connection, tenant: TenantRef, facts: pa.Table) -> None:
    """Keep facts that are not there yet."""
    for part in _parts(facts):
        columns = [part[name].to_pylist() for name in FACT]
        connection.execute(_INSERT_FACTS, [tenant.id, *columns])


def facts_of(
    connection: Connection,
    tenant: TenantRef,
    lookups: Sequence[AttributeLookup],
    events: pa.Table,
) -> pa.Table:
    """The facts that the events can look up."""
    rows: list[dict[str, Any]] = []
    for lookup in lookups:
        values = pc.unique(events[ENTITY_COLUMNS[lookup.entity_kind]]).to_pylist()
        ids = [one for one in values if may_be_kept(one)]
        query = _SELECT_FACTS
        arguments: list[Any] = [tenant.id, lookup.entity_kind, lookup.name]
        if len(ids) <= _NAMED:
            query, arguments = f"{query} AND entity_id = ANY(%s)", [*arguments, ids]
        rows += connection.execute(query, arguments).fetchall()
    return pa.Table.from_pylist(rows, pa.schema([ATTRIBUTES.field(name) for name in FACT]))


def _parts(table: pa.Table) -> list[pa.Table]:
    return [
        table.slice(start, _ROWS_PER_STATEMENT)
        for start in range(0, len(table), _ROWS_PER_STATEMENT)
    ]
