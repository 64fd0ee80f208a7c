"""Streamed events and facts in Postgres, and canonical tables as the store takes them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.errors import IsolationError
from include.features.columns import JOIN_KEYS
from include.features.declarations import AttributeLookup
from include.features.engine import usable
from include.features.online.limits import check_keys, check_texts, may_be_kept
from include.features.online.records import key_of
from include.storage.canonical import ATTRIBUTES, ENTITY_COLUMNS, EVENTS
from include.storage.postgres import Connection
from include.tenants.namespace import TenantRef, is_global

_EVENT: Final = tuple(name for name in EVENTS.names if name != "month")
_FACT: Final = tuple(name for name in ATTRIBUTES.names if name not in ("tenant_id", "month"))
_TEXTS_OF_EVENT: Final = tuple(n for n in _EVENT if EVENTS.field(n).type == pa.string())
_TEXTS_OF_FACT: Final = tuple(n for n in _FACT if ATTRIBUTES.field(n).type == pa.string())
_ROWS_PER_STATEMENT: Final = 20_000
#: More entities than this are not worth naming: all their facts are read.
_NAMED: Final = 20_000

_INSERT_EVENTS: Final = """
    INSERT INTO online_events (tenant_id, region, owner, source, event_id, event, user_id,
        account_id, item_id, group_id, quantity, amount, properties, event_timestamp,
        created_timestamp)
    SELECT %s, %s, * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
        %s::text[], %s::text[], %s::text[], %s::float8[], %s::float8[], %s::text[],
        %s::timestamptz[], %s::timestamptz[])
    ON CONFLICT DO NOTHING RETURNING owner, source, event_id
"""
_SELECT_EVENTS: Final = """
    SELECT owner AS tenant_id, source, event_id, event, user_id, account_id, item_id, group_id,
        quantity, amount, properties, event_timestamp, created_timestamp
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
    (GREATEST(created_timestamp, event_timestamp) <= %s OR (owner, source, event_id) IN
        (SELECT * FROM unnest(%s::text[], %s::text[], %s::text[])))
"""
_FORGET_OWNERS: Final = """
    DELETE FROM online_events WHERE tenant_id = %s AND region = %s AND owner <> ALL(%s::text[])
    RETURNING owner, source, event_id
"""
_FORGET_FACTS: Final = "DELETE FROM online_facts WHERE tenant_id = %s AND created_timestamp <= %s"
_SELECT_FACTS: Final = """
    SELECT source, event_id, entity, entity_id, name, value, valid_from, created_timestamp
    FROM online_facts WHERE tenant_id = %s AND entity = %s AND name = %s
"""


def canonical_events(tenant: TenantRef, events: pa.Table | None) -> pa.Table:
    """Events as the store takes them: whose they are, all columns, usable instants, each once.

    Raises:
        IsolationError: an event is another tenant's.
    """
    table = _canonical(events, EVENTS, _EVENT, "event_timestamp", tenant)
    return _first(table, ("tenant_id", "source", "event_id"))


def canonical_facts(tenant: TenantRef, attributes: pa.Table | None) -> pa.Table:
    """Facts as the store takes them; see `canonical_events`."""
    names = ("tenant_id", *_FACT)
    table = _canonical(attributes, ATTRIBUTES, names, "valid_from", tenant).select(_FACT)
    return _first(table, ("entity", "entity_id", "name", "source", "event_id"))


def check_events(events: pa.Table) -> None:
    """Refuse streamed events that Postgres cannot keep; raises `QualityError`."""
    check_texts(events, "event", _TEXTS_OF_EVENT)
    check_keys(events, "event", ("tenant_id", "source", "event_id", *JOIN_KEYS))


def check_entities(events: pa.Table) -> None:
    """Refuse delivered events whose entities Postgres cannot keep; raises `QualityError`."""
    check_keys(events, "event", JOIN_KEYS)


def check_facts(facts: pa.Table) -> None:
    """Refuse facts that Postgres cannot keep; raises `QualityError`."""
    check_texts(facts, "fact", _TEXTS_OF_FACT)
    check_keys(facts, "fact", ("entity", "entity_id", "name", "source", "event_id"))


def known(table: pa.Table, after: datetime | None, until: datetime | None) -> pa.Table:
    """Rows created in `(after, until]`; None has no bound."""
    created = table["created_timestamp"]
    if after is not None:
        table = table.filter(pc.greater(created, pa.scalar(after, created.type)))
        created = table["created_timestamp"]
    if until is not None:
        table = table.filter(pc.less_equal(created, pa.scalar(until, created.type)))
    return table


def event_keys(events: pa.Table) -> list[str]:
    """The events' keys in Postgres."""
    columns = [events[name].to_pylist() for name in ("tenant_id", "source", "event_id")]
    return [key_of(parts) for parts in zip(*columns, strict=True)]


def among(events: pa.Table, keys: Collection[str], *, keep: bool = True) -> pa.Table:
    """The events whose key is among `keys`, or with `keep` false the others."""
    if not keys:
        return events.slice(0, 0) if keep else events
    return events.filter(pa.array([(k in keys) == keep for k in event_keys(events)], pa.bool_()))


def delivered(events: pa.Table, keys: Collection[str], streamed: pa.Table) -> set[str]:
    """Those of the streamed events' keys that are among `events`."""
    likely = events.filter(pc.is_in(events["event_id"], value_set=streamed["event_id"]))
    return set(event_keys(likely)).intersection(keys)


def insert_events(connection: Connection, tenant: TenantRef, events: pa.Table) -> set[str]:
    """Keep streamed events that are not there yet; returns their keys."""
    new: set[str] = set()
    for part in _parts(events):
        columns = [part[name].to_pylist() for name in _EVENT]
        found = connection.execute(_INSERT_EVENTS, [tenant.id, tenant.region, *columns])
        new |= {key_of((r["owner"], r["source"], r["event_id"])) for r in found}
    return new


def streamed_events(connection: Connection, tenant: TenantRef) -> pa.Table:
    """Every streamed event that is kept."""
    rows = connection.execute(_SELECT_EVENTS, [tenant.id, tenant.region]).fetchall()
    return pa.Table.from_pylist(rows, pa.schema([EVENTS.field(name) for name in _EVENT]))


def forget_events(
    connection: Connection, tenant: TenantRef, events: pa.Table, until: datetime
) -> None:
    """Keep these streamed events, and all that are over and known by `until`, no longer."""
    ids = [events[name].to_pylist() for name in ("tenant_id", "source", "event_id")]
    connection.execute(_FORGET_EVENTS, [tenant.id, tenant.region, until, *ids])


def forget_other_owners(
    connection: Connection, tenant: TenantRef, owners: Sequence[str]
) -> set[str]:
    """Drop the streamed events of everybody but `owners`; returns their keys."""
    found = connection.execute(_FORGET_OWNERS, [tenant.id, tenant.region, list(owners)])
    return {key_of((row["owner"], row["source"], row["event_id"])) for row in found}


def forget_facts(connection: Connection, tenant: TenantRef, until: datetime) -> None:
    """Drop the facts that were created by `until`."""
    connection.execute(_FORGET_FACTS, [tenant.id, until])


def insert_facts(connection: Connection, tenant: TenantRef, facts: pa.Table) -> None:
    """Keep facts that are not there yet."""
    for part in _parts(facts):
        columns = [part[name].to_pylist() for name in _FACT]
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
    return pa.Table.from_pylist(rows, pa.schema([ATTRIBUTES.field(name) for name in _FACT]))


def looking_up(events: pa.Table, facts: pa.Table) -> pa.Table:
    """The events that one of the facts may be about."""
    about = np.zeros(len(events), dtype=bool)
    for kind, column in ENTITY_COLUMNS.items():
        ids = facts.filter(pc.equal(facts["entity"], kind))["entity_id"]
        about |= pc.is_in(events[column], value_set=ids, skip_nulls=True).to_numpy()
    return events.filter(pa.array(about))


def _canonical(
    table: pa.Table | None, schema: pa.Schema, names: Sequence[str], instant: str, tenant: TenantRef
) -> pa.Table:
    if table is None:
        table = schema.empty_table()
    columns = []
    for name in names:
        field = schema.field(name)
        if name in table.column_names:
            columns.append(table[name].cast(field.type))
        elif name == "tenant_id":
            columns.append(pa.repeat(pa.scalar(tenant.id, field.type), len(table)))
        else:
            columns.append(pa.nulls(len(table), field.type))
    found = pa.table(columns, schema=pa.schema([schema.field(name) for name in names]))
    owners = pc.unique(found["tenant_id"]).to_pylist()
    if not is_global(tenant.id) and owners not in ([], [tenant.id]):
        raise IsolationError(f"rows of {', '.join(map(str, owners[:3]))} are not {tenant.id}'s")
    return usable(found, instant)


def _first(table: pa.Table, keys: tuple[str, ...]) -> pa.Table:
    """Each row once, as it first arrived."""
    if pc.count_distinct(table["event_id"]).as_py() == len(table):
        return table
    created, row = table["created_timestamp"], pa.array(np.arange(len(table)))
    numbered = table.select(keys).append_column("created", created).append_column("row", row)
    ordered = numbered.sort_by([("created", "ascending"), ("row", "ascending")])
    rank = pa.array(np.arange(len(table)))
    first = ordered.append_column("rank", rank).group_by(list(keys)).aggregate([("rank", "min")])
    if len(first) == len(table):
        return table
    kept = np.sort(ordered["row"].to_numpy()[first["rank_min"].to_numpy()])
    return table.take(pa.array(kept))


def _parts(table: pa.Table) -> list[pa.Table]:
    return [
        table.slice(start, _ROWS_PER_STATEMENT)
        for start in range(0, len(table), _ROWS_PER_STATEMENT)
    ]
