"""Simulated tenants in memory: canonical tables, as ingestion would map what they export."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from include.simulate.catalogue import Catalogue
from include.simulate.facts import KNOWN_SINCE, facts, leaked_facts
from include.simulate.population import Population
from include.simulate.rows import EXPORTED, PROPERTY, in_order
from include.simulate.simulation import PART, open_tenant
from include.simulate.truth import Truth
from include.simulate.world import World
from include.storage.canonical import ATTRIBUTES, EVENTS

SOURCE: Final = "events"


@dataclass(frozen=True)
class Simulated:
    """One tenant's data, and what is true of it."""

    events: pa.Table  #: canonical `EVENTS`, in the order of their arrival, repeats included
    attributes: pa.Table  #: canonical `ATTRIBUTES`
    truth: Truth


def simulate_tenant(world: World, tenant: str, users: int = PART) -> Simulated:
    """One tenant's data in memory; it does not depend on the world's other tenants."""
    opened = open_tenant(world, tenant)
    parts = list(opened.parts(users))
    exported = [part.exported for part in parts]
    table = in_order(pa.concat_tables(exported, promote_options="default"))
    outcomes = pa.concat_tables([part.outcomes for part in parts]).sort_by("event_id")
    return Simulated(
        canonical(table.combine_chunks(), tenant),
        attributes(opened.population, opened.items),
        replace(opened.truth, outcomes=outcomes),
    )


def canonical(table: pa.Table, tenant: str) -> pa.Table:
    """An exported table in the canonical shape, as ingestion would map it."""
    names = _properties(table)
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


def attributes(population: Population, items: Catalogue) -> pa.Table:
    """The facts in the canonical shape, as ingestion would map them."""
    tables = [ATTRIBUTES.empty_table()]
    for entity, table in [*facts(population, items).items(), *leaked_facts(population)]:
        for name in table.column_names[2:]:
            tables.append(_canonical(population, entity, name, table))
    order = [("created_timestamp", "ascending"), ("event_id", "ascending")]
    return pa.concat_tables(tables).sort_by(order).combine_chunks()


def _canonical(population: Population, entity: str, name: str, table: pa.Table) -> pa.Table:
    ids, since, value = table[f"{entity}_id"], table[KNOWN_SINCE], table[name].cast(pa.string())
    count = len(table)
    stamp = pc.strftime(since, format="%Y-%m-%dT%H:%M:%S")
    columns = {
        "tenant_id": pa.repeat(population.plan.id, count),
        "source": pa.repeat(f"{entity}s", count),
        "event_id": pc.binary_join_element_wise(
            entity, ids, name, stamp, pc.fill_null(value, ""), "|"
        ),
        "entity": pa.repeat(entity, count),
        "entity_id": ids,
        "name": pa.repeat(name, count),
        "value": value,
        "valid_from": since,
        "created_timestamp": since,
        "month": pc.strftime(since, format="%Y-%m"),
    }
    return pa.table([columns[field] for field in ATTRIBUTES.names], schema=ATTRIBUTES)


def _properties(table: pa.Table) -> list[str]:
    """Names of the properties that an exported table has columns for."""
    return [n.removeprefix(PROPERTY) for n in table.column_names if n.startswith(PROPERTY)]


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
