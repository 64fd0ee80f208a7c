"""Rows of a source → the canonical shape, each either accepted or set aside with one reason."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from include.ingestion.columns import UNPRINTABLE, instants, joined, json_objects, numbers, texts
from include.storage.canonical import ATTRIBUTES, EVENTS, TIMESTAMP
from include.tenants.config import Arrival, EventMapping, Source, TenantConfig

#: Column with a row's position in what was read, beside the source's own columns.
ROW: Final = "__row"
#: A row that arrived before it happened by no more than this has met two clocks, not an error.
CLOCK_SKEW: Final = timedelta(minutes=5)
_LONGEST_ID: Final = 256
_LONGEST_EVENT: Final = 200
_LONGEST_PROPERTIES: Final = 8_192
_ENTITIES: Final = ("user_id", "account_id", "item_id")


@dataclass(frozen=True)
class Mapped:
    """What became of a batch."""

    accepted: pa.Table  #: the canonical columns
    rejected: pa.Table  #: the source's columns, `ROW`, `reason` and `created_timestamp`


def columns_read(source: Source) -> list[str]:
    """The source columns that the mapping needs."""
    found: list[str | None] = [*source.where, source.connector.cursor_column]
    mapping = source.events
    if mapping is not None:
        found += [mapping.event_column, *mapping.event_id, mapping.event_timestamp]
        found += [mapping.user_id, mapping.account_id, mapping.item_id, mapping.group_id]
        found += [mapping.quantity, mapping.amount, *mapping.properties.values()]
        found.append(mapping.arrival.column)
    facts = source.attributes
    if facts is not None:
        found += [facts.entity_id, *facts.names.values(), facts.arrival.column]
        found.append(facts.valid_from if isinstance(facts.valid_from, str) else None)
    return list(dict.fromkeys(name for name in found if name is not None))


def constant_arrival(tenant: TenantConfig, source: Source) -> datetime | None:
    """When all rows of the source became known, where the mapping fixes that for all alike.

    Facts that were valid before the history begins arrive with its first load.
    """
    facts = source.attributes
    if facts is None or facts.arrival.column or source.connector.cursor_column:
        return None
    if not isinstance(facts.valid_from, date):
        return None
    return max(
        _midnight(facts.valid_from, facts.timezone) + facts.arrival.delay, tenant.history_start
    )


def map_rows(rows: pa.Table, tenant: TenantConfig, source: Source) -> Mapped:
    """Map a batch; a row of attributes becomes one fact for each of their names."""
    rows = rows.combine_chunks()
    if source.events is not None:
        return _events(rows, tenant, source, source.events)
    return _attributes(rows, tenant, source)


def _events(rows: pa.Table, tenant: TenantConfig, source: Source, mapping: EventMapping) -> Mapped:
    count = len(rows)
    happened = instants(_column(rows, mapping.event_timestamp), mapping.timezone)
    created = _created(rows, source, mapping.arrival, happened, mapping.timezone)
    ids = {name: _optional(rows, getattr(mapping, name)) for name in (*_ENTITIES, "group_id")}
    measures = {name: getattr(mapping, name) for name in ("quantity", "amount")}
    values = {
        n: numbers(_column(rows, c)) if c else _nulls(count, pa.float64())
        for n, c in measures.items()
    }
    event = (
        texts(_column(rows, mapping.event_column))
        if mapping.event_column
        else pa.repeat(mapping.event, count)
    )
    event_id = joined([texts(_column(rows, name)) for name in mapping.event_id])
    properties = (
        json_objects({n: _column(rows, c) for n, c in mapping.properties.items()})
        if mapping.properties
        else _nulls(count, pa.string())
    )
    checks = [
        (pc.is_null(happened), f"{mapping.event_timestamp}: no instant between 1970 and 2199"),
        *_arrival_checks(created, happened),
        (pc.is_null(event_id), f"{', '.join(mapping.event_id)}: part of the event id is missing"),
        (pc.is_null(event), "the event's name is missing"),
        (
            _bad_text(event, _LONGEST_EVENT),
            f"the event's name is over {_LONGEST_EVENT} characters or unprintable",
        ),
        (_all_null([ids[name] for name in _ENTITIES]), "no user, account or item id"),
        *(
            (_bad_text(found, _LONGEST_ID), f"{name}: over {_LONGEST_ID} characters or unprintable")
            for name, found in ids.items()
        ),
        *(
            (pc.and_(pc.is_null(values[name]), _given(rows, column)), f"{column}: no finite number")
            for name, column in measures.items()
            if column
        ),
        (
            pc.fill_null(pc.greater(pc.utf8_length(properties), _LONGEST_PROPERTIES), False),
            f"properties are over {_LONGEST_PROPERTIES} characters",
        ),
    ]
    columns = {
        "event_id": _bounded(event_id),
        "event": event,
        **ids,
        **values,
        "properties": properties,
        # What two clocks disagree about cannot have happened after it was known.
        "event_timestamp": pc.if_else(pc.less(created, happened), created, happened),
        "created_timestamp": created,
    }
    return _split(rows, tenant, source, columns, checks, created, EVENTS)


def _attributes(rows: pa.Table, tenant: TenantConfig, source: Source) -> Mapped:
    mapping, count = source.attributes, len(rows)
    assert mapping is not None  # a source maps either events or attributes
    entity_id = texts(_column(rows, mapping.entity_id))
    if isinstance(mapping.valid_from, date):
        midnight = _midnight(mapping.valid_from, mapping.timezone)
        valid_from = pa.repeat(pa.scalar(midnight, TIMESTAMP), count)
    else:
        valid_from = instants(_column(rows, mapping.valid_from), mapping.timezone)
    constant = constant_arrival(tenant, source)
    if constant is not None:
        created = pa.repeat(pa.scalar(constant, TIMESTAMP), count)
    else:
        created = _created(rows, source, mapping.arrival, valid_from, mapping.timezone)
    values = {name: texts(_column(rows, column)) for name, column in mapping.names.items()}
    checks = [
        (pc.is_null(entity_id), f"{mapping.entity_id}: the entity's id is missing"),
        (
            _bad_text(entity_id, _LONGEST_ID),
            f"{mapping.entity_id}: over {_LONGEST_ID} characters or unprintable",
        ),
        (pc.is_null(valid_from), "valid_from: no instant between 1970 and 2199"),
        (pc.is_null(created), "arrival: no instant between 1970 and 2199"),
        *(
            (
                pc.fill_null(pc.greater(pc.utf8_length(values[name]), _LONGEST_PROPERTIES), False),
                f"{column}: over {_LONGEST_PROPERTIES} characters",
            )
            for name, column in mapping.names.items()
        ),
    ]
    stamp = pc.strftime(valid_from, format="%Y-%m-%dT%H:%M:%S")
    entity = pa.repeat(mapping.entity, count)
    facts = []
    for name, value in values.items():
        # The value is part of a fact's identity: a correction is not a repeat.
        parts = [entity, entity_id, pa.repeat(name, count), stamp, pc.fill_null(value, "")]
        columns = {
            "event_id": _bounded(joined(parts)),
            "entity": entity,
            "entity_id": entity_id,
            "name": pa.repeat(name, count),
            "value": value,
            "valid_from": valid_from,
            "created_timestamp": created,
        }
        facts.append(_split(rows, tenant, source, columns, checks, created, ATTRIBUTES))
    # All facts of a row stand or fall together.
    return Mapped(pa.concat_tables([one.accepted for one in facts]), facts[0].rejected)


def _split(
    rows: pa.Table,
    tenant: TenantConfig,
    source: Source,
    columns: dict[str, pa.Array],
    checks: list[tuple[pa.Array, str]],
    created: pa.Array,
    schema: pa.Schema,
) -> Mapped:
    """Rows that no check caught, in canonical columns; the others with the first reason."""
    reason = pa.nulls(len(rows), pa.string())
    for failed, why in reversed(checks):
        reason = pc.if_else(failed, pa.scalar(why), reason)
    good = pc.is_null(reason)
    table = pa.table(
        {
            "tenant_id": pa.repeat(tenant.id, len(rows)),
            "source": pa.repeat(source.name, len(rows)),
            **columns,
            "month": pc.strftime(created, format="%Y-%m"),
        }
    ).select(schema.names)
    accepted = table.filter(good).cast(schema)
    bad = pc.invert(good)
    rejected = rows.append_column("reason", reason).append_column("created_timestamp", created)
    return Mapped(accepted, rejected.filter(bad))


def _created(
    rows: pa.Table, source: Source, arrival: Arrival, happened: pa.Array, timezone: str
) -> pa.Array:
    """When each row became known: the connector's cursor, else the declared arrival."""
    column = source.connector.cursor_column or arrival.column
    if column is not None:
        return instants(_column(rows, column), timezone)
    return pc.add(happened, pa.scalar(arrival.delay, pa.duration("us")))


def _arrival_checks(created: pa.Array, happened: pa.Array) -> list[tuple[pa.Array, str]]:
    skewed = pc.add(created, pa.scalar(CLOCK_SKEW, pa.duration("us")))
    return [
        (pc.is_null(created), "arrival: no instant between 1970 and 2199"),
        (
            pc.fill_null(pc.less(skewed, happened), False),
            f"it arrived more than {CLOCK_SKEW.seconds // 60} minutes before it happened",
        ),
    ]


def _column(rows: pa.Table, name: str) -> pa.Array:
    chunked = rows[name]
    return chunked.combine_chunks() if isinstance(chunked, pa.ChunkedArray) else chunked


def _optional(rows: pa.Table, name: str | None) -> pa.Array:
    return texts(_column(rows, name)) if name else _nulls(len(rows), pa.string())


def _nulls(count: int, kind: pa.DataType) -> pa.Array:
    return pa.nulls(count, kind)


def _given(rows: pa.Table, name: str) -> pa.Array:
    """Whether the source says anything at all in this column."""
    column = _column(rows, name)
    if pa.types.is_floating(column.type):
        return pc.is_valid(column)
    return pc.is_valid(texts(column)) if pa.types.is_string(column.type) else pc.is_valid(column)


def _all_null(columns: list[pa.Array]) -> pa.Array:
    return pc.is_null(pc.coalesce(*columns))


def _bad_text(column: pa.Array, longest: int) -> pa.Array:
    long = pc.greater(pc.utf8_length(column), longest)
    odd = pc.match_substring_regex(column, UNPRINTABLE)
    return pc.fill_null(pc.or_(long, odd), False)


def _bounded(ids: pa.Array) -> pa.Array:
    """Long or unprintable ids as their digest, behind a mark that `joined` never produces."""
    odd = _bad_text(ids, _LONGEST_ID)
    if not pc.any(odd).as_py():
        return ids
    return pa.array(
        [
            rf"\#{hashlib.sha256(value.encode()).hexdigest()}" if is_odd else value
            for value, is_odd in zip(ids.to_pylist(), odd.to_pylist(), strict=True)
        ],
        pa.string(),
    )


def _midnight(day: date, timezone: str) -> datetime:
    return datetime.combine(day, time(), ZoneInfo(timezone)).astimezone(UTC)
