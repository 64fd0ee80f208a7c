"""Canonical tables as the store takes them, and selections of their rows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.errors import IsolationError
from include.features.columns import JOIN_KEYS
from include.features.engine import usable
from include.features.online.limits import check_keys, check_texts
from include.features.online.records import key_of
from include.storage.canonical import ATTRIBUTES, EVENTS
from include.storage.entities import ENTITY_COLUMNS
from include.tenants.namespace import TenantRef

#: Columns of events and of facts that are kept.
EVENT: Final = tuple(name for name in EVENTS.names if name not in ("tenant_id", "month"))
FACT: Final = tuple(name for name in ATTRIBUTES.names if name not in ("tenant_id", "month"))
#: What tells events, and facts, of one tenant apart.
EVENT_KEY: Final = ("source", "event_id")
FACT_KEY: Final = ("entity", "entity_id", "name", "source", "event_id")
_TEXTS_OF_EVENT: Final = tuple(n for n in EVENT if EVENTS.field(n).type == pa.string())
_TEXTS_OF_FACT: Final = tuple(n for n in FACT if ATTRIBUTES.field(n).type == pa.string())


def streamed_rows(
    tenant: TenantRef, events: pa.Table | None, attributes: pa.Table | None
) -> tuple[pa.Table, pa.Table]:
    """Events and facts that stream in, canonical and each once.

    Raises:
        IsolationError: a row is another tenant's.
        QualityError: a row cannot be kept.
    """
    new, facts = _canonical_events(tenant, events), _canonical_facts(tenant, attributes)
    check_texts(new, "event", _TEXTS_OF_EVENT)
    check_keys(new, "event", (*EVENT_KEY, *JOIN_KEYS))
    return new, facts


def delivered_rows(
    tenant: TenantRef, events: pa.Table | None, attributes: pa.Table | None
) -> tuple[pa.Table, pa.Table]:
    """Likewise what the lake delivers: of its events the entities alone become keys."""
    new, facts = _canonical_events(tenant, events), _canonical_facts(tenant, attributes)
    check_keys(new, "event", JOIN_KEYS)
    return new, facts


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
    """One text per event that stands for it: see `key_of`."""
    columns = [events[name].to_pylist() for name in EVENT_KEY]
    return [key_of(parts) for parts in zip(*columns, strict=True)]


def among(events: pa.Table, keys: Collection[str], *, keep: bool = True) -> pa.Table:
    """The events whose key is among `keys`, or with `keep` false the others."""
    if not keys:
        return events.slice(0, 0) if keep else events
    return events.filter(pa.array([(k in keys) == keep for k in event_keys(events)], pa.bool_()))


def delivered(events: pa.Table, keys: Collection[str], streamed: pa.Table) -> set[str]:
    """The keys of streamed events that are among `events`, too."""
    likely = events.filter(pc.is_in(events["event_id"], value_set=streamed["event_id"]))
    return set(event_keys(likely)).intersection(keys)


def looking_up(events: pa.Table, facts: pa.Table) -> pa.Table:
    """The events that one of the facts may be about."""
    about = np.zeros(len(events), dtype=bool)
    for kind, column in ENTITY_COLUMNS.items():
        ids = facts.filter(pc.equal(facts["entity"], kind))["entity_id"]
        about |= pc.is_in(events[column], value_set=ids, skip_nulls=True).to_numpy()
    return events.filter(pa.array(about))


def _canonical_events(tenant: TenantRef, events: pa.Table | None) -> pa.Table:
    return _first(_canonical(events, EVENTS, EVENT, "event_timestamp", tenant), EVENT_KEY)


def _canonical_facts(tenant: TenantRef, attributes: pa.Table | None) -> pa.Table:
    facts = _first(_canonical(attributes, ATTRIBUTES, FACT, "valid_from", tenant), FACT_KEY)
    check_texts(facts, "fact", _TEXTS_OF_FACT)
    check_keys(facts, "fact", FACT_KEY)
    return facts


def _canonical(
    table: pa.Table | None, schema: pa.Schema, names: Sequence[str], instant: str, tenant: TenantRef
) -> pa.Table:
    if table is None:
        table = schema.empty_table()
    if "tenant_id" in table.column_names:
        others = [
            tenant_id
            for tenant_id in pc.unique(table["tenant_id"]).to_pylist()
            if tenant_id != tenant.id
        ]
        if others:
            raise IsolationError(f"rows of {', '.join(map(str, others[:3]))} are not {tenant.id}'s")
    columns = []
    for name in names:
        field = schema.field(name)
        if name in table.column_names:
            columns.append(table[name].cast(field.type))
        else:
            columns.append(pa.nulls(len(table), field.type))
    canonical = pa.table(columns, schema=pa.schema([schema.field(name) for name in names]))
    return usable(canonical, instant)


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
