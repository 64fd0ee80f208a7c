"""Rows of a source → the canonical shape, each either accepted or set aside with one reason."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from include.ingestion.columns import (
    UNPRINTABLE,
    Spelling,
    joined,
    json_objects,
    numbers,
    texts,
)
from include.ingestion.instants import instants
from include.ingestion.rows import Refused, Rows
from include.ingestion.wanted import Wanted
from include.storage.canonical import ATTRIBUTES, EVENTS, TIMESTAMP
from include.tenants.config import Arrival, EventMapping, Source, TenantConfig

#: A row that arrived before it happened by no more than this has met two clocks, not an error.
CLOCK_SKEW: Final = timedelta(minutes=5)
_LONGEST_ID: Final = 256
_LONGEST_EVENT: Final = 200
_LONGEST_PROPERTIES: Final = 8_192
#: Digits with separators between them, as numbers are written somewhere.
_SEPARATED: Final = r"^\s*[+-]?[0-9]+([., '_\x{a0}\x{202f}][0-9]+)+\s*$"
#: How programs and people spell that there is no value.
_WORD_FOR_NONE: Final = r"(?i)^\s*(n/?a|#n/a|nan|null|none|nil|\\n|-+|\?|missing|unknown)\s*$"
_ENTITIES: Final = ("user_id", "account_id", "item_id")


@dataclass(frozen=True)
class Mapped:
    """What became of a batch."""

    accepted: pa.Table  #: the canonical columns
    refused: Refused
    #: Rows of `accepted` that one row of the source comes to.
    per_row: int = 1


def columns_read(source: Source) -> Wanted:
    """The source columns that the mapping needs; properties and attributes may be lacking."""
    required: list[str | None] = [*source.where, source.connector.cursor_column]
    optional: list[str] = []
    mapping = source.events
    if mapping is not None:
        required += [mapping.event_column, *mapping.event_id, mapping.event_timestamp]
        required += [mapping.user_id, mapping.account_id, mapping.item_id, mapping.group_id]
        required += [mapping.quantity, mapping.amount, mapping.arrival.column]
        optional += mapping.properties.values()
    facts = source.attributes
    if facts is not None:
        required += [facts.entity_id, facts.arrival.column]
        required.append(facts.valid_from if isinstance(facts.valid_from, str) else None)
        optional += facts.names.values()
    needed = tuple(dict.fromkeys(name for name in required if name is not None))
    return Wanted(needed, tuple(dict.fromkeys(name for name in optional if name not in needed)))


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


def map_rows(rows: Rows, tenant: TenantConfig, source: Source) -> Mapped:
    """Map a batch; a row of attributes becomes one fact for each of their names."""
    rows = Rows(rows.table.combine_chunks(), rows.numbers)
    if source.events is not None:
        return _events(rows, tenant, source, source.events)
    return _attributes(rows, tenant, source)


def _events(rows: Rows, tenant: TenantConfig, source: Source, mapping: EventMapping) -> Mapped:
    count = len(rows)
    spelling, form = _spelling(source), source.connector.timestamp_format
    happened = instants(_column(rows, mapping.event_timestamp), mapping.timezone, form)
    created = _created(rows, source, mapping.arrival, happened, mapping.timezone)
    ids = {name: _optional(rows, getattr(mapping, name)) for name in (*_ENTITIES, "group_id")}
    measures = {name: getattr(mapping, name) for name in ("quantity", "amount")}
    values = {
        n: numbers(_column(rows, c), spelling) if c else _nulls(count, pa.float64())
        for n, c in measures.items()
    }
    event = (
        texts(_column(rows, mapping.event_column))
        if mapping.event_column
        else pa.repeat(mapping.event, count)
    )
    event_id = joined([texts(_column(rows, name)) for name in mapping.event_id])
    properties = (
        json_objects({n: _spelled(rows, c, spelling) for n, c in mapping.properties.items()})
        if mapping.properties
        else _nulls(count, pa.string())
    )
    checks = [
        (pc.is_null(happened), f"{mapping.event_timestamp}: {_no_instant(form)}"),
        *_arrival_checks(created, happened, form),
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
            check
            for name, column in measures.items()
            if column
            for check in _number_checks(rows, column, values[name])
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


def _attributes(rows: Rows, tenant: TenantConfig, source: Source) -> Mapped:
    mapping, count = source.attributes, len(rows)
    assert mapping is not None  # a source maps either events or attributes
    spelling, form = _spelling(source), source.connector.timestamp_format
    entity_id = texts(_column(rows, mapping.entity_id))
    if isinstance(mapping.valid_from, date):
        midnight = _midnight(mapping.valid_from, mapping.timezone)
        valid_from = pa.repeat(pa.scalar(midnight, TIMESTAMP), count)
    else:
        valid_from = instants(_column(rows, mapping.valid_from), mapping.timezone, form)
    constant = constant_arrival(tenant, source)
    if constant is not None:
        created = pa.repeat(pa.scalar(constant, TIMESTAMP), count)
    else:
        created = _created(rows, source, mapping.arrival, valid_from, mapping.timezone)
    values = {
        name: texts(_spelled(rows, column, spelling)) for name, column in mapping.names.items()
    }
    checks = [
        (pc.is_null(entity_id), f"{mapping.entity_id}: the entity's id is missing"),
        (
            _bad_text(entity_id, _LONGEST_ID),
            f"{mapping.entity_id}: over {_LONGEST_ID} characters or unprintable",
        ),
        (pc.is_null(valid_from), f"valid_from: {_no_instant(form)}"),
        (pc.is_null(created), f"arrival: {_no_instant(form)}"),
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
    accepted = pa.concat_tables([fact.accepted for fact in facts])
    return Mapped(accepted, facts[0].refused, len(facts))


def _split(
    rows: Rows,
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
    return Mapped(accepted, Refused(rows, reason, created).filter(bad))


def _created(
    rows: Rows, source: Source, arrival: Arrival, happened: pa.Array, timezone: str
) -> pa.Array:
    """When each row became known: the connector's cursor, else the declared arrival."""
    column = source.connector.cursor_column or arrival.column
    if column is not None:
        return instants(_column(rows, column), timezone, source.connector.timestamp_format)
    return pc.add(happened, pa.scalar(arrival.delay, pa.duration("us")))


def _arrival_checks(created: pa.Array, happened: pa.Array, form: str) -> list[tuple[pa.Array, str]]:
    skewed = pc.add(created, pa.scalar(CLOCK_SKEW, pa.duration("us")))
    return [
        (pc.is_null(created), f"arrival: {_no_instant(form)}"),
        (
            pc.fill_null(pc.less(skewed, happened), False),
            f"it arrived more than {CLOCK_SKEW.seconds // 60} minutes before it happened",
        ),
    ]


def _number_checks(rows: Rows, column: str, values: pa.Array) -> list[tuple[pa.Array, str]]:
    """What is no number, by what would help: another spelling, a word for none, an expression."""
    bad = pc.and_(pc.is_null(values), _given(rows, column))
    if not pc.any(bad).as_py():
        return []
    text = texts(_column(rows, column))
    separated = pc.fill_null(pc.match_substring_regex(text, _SEPARATED), False)
    word = pc.fill_null(pc.match_substring_regex(text, _WORD_FOR_NONE), False)
    return [
        (
            pc.and_(bad, separated),
            f"{column}: no number; say how numbers are written with the connector's `decimal` and "
            "`thousands`",
        ),
        (
            pc.and_(bad, word),
            f"{column}: no number; list what stands for none in the connector's `null_values`",
        ),
        (bad, f"{column}: no finite number"),
    ]


def _no_instant(form: str) -> str:
    return f"no instant between 1800 and 2199 by `timestamp_format: {form}`"


def _spelling(source: Source) -> Spelling:
    return Spelling(source.connector.decimal, source.connector.thousands)


def _spelled(rows: Rows, name: str, spelling: Spelling) -> pa.Array:
    """A column of values that may be numbers, these spelled plainly."""
    column = _column(rows, name)
    return spelling.plain(column) if pa.types.is_string(column.type) else column


def _column(rows: Rows, name: str) -> pa.Array:
    chunked = rows.table[name]
    return chunked.combine_chunks() if isinstance(chunked, pa.ChunkedArray) else chunked


def _optional(rows: Rows, name: str | None) -> pa.Array:
    return texts(_column(rows, name)) if name else _nulls(len(rows), pa.string())


def _nulls(count: int, kind: pa.DataType) -> pa.Array:
    return pa.nulls(count, kind)


def _given(rows: Rows, name: str) -> pa.Array:
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
