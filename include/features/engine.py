"""The port every feature engine implements, and what it may expect of its inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.compute as pc

from include.errors import ConfigError, IsolationError, UnknownNameError
from include.features.spine import Spine
from include.features.views import FeatureService, columns_read
from include.storage.canonical import ATTRIBUTES, EVENTS, REPLACED, TIMESTAMP
from include.storage.entities import ENTITY_COLUMNS


class Engine(Protocol):
    """Computes features; the modules `in_memory` and `vectorized` are engines."""

    def compute(
        self,
        service: FeatureService,
        spine: Spine,
        events: pa.Table,
        attributes: pa.Table,
        timezone: str,
    ) -> pa.Table:
        """One row per spine row, in its order: join keys, `as_of`, then `service.columns`.

        `events` and `attributes` are one tenant's canonical tables, of which the columns in
        `required_columns` are enough; (source, event_id) identifies a row. Of corrected events all
        versions may be given, with `replaced_timestamp`. `timezone` is the tenant's. The result's
        schema metadata holds `feature_service` and `feature_fingerprint`.

        Raises:
            ConfigError: the spine lacks a join key, or the time zone is none.
        """
        ...


@dataclass(frozen=True)
class RequiredColumns:
    """The columns of the canonical tables that a service reads; of `attributes` perhaps none."""

    events: tuple[str, ...]
    attributes: tuple[str, ...]


def required_columns(service: FeatureService) -> RequiredColumns:
    """What must be read from the lake to compute `service`, in canonical order."""
    read = [column for view in service.views for column in columns_read(view)]
    wanted = {"source", "event_id", "event", "event_timestamp", "created_timestamp"}
    wanted |= set(service.join_keys)
    wanted |= {column.field for column in read if column.origin == "event"}
    wanted |= {"properties" for column in read if column.origin == "property"}
    looked_up = [column for column in read if column.origin == "attribute"]
    wanted |= {ENTITY_COLUMNS[column.entity] for column in looked_up}
    facts = tuple(n for n in ATTRIBUTES.names if n not in ("tenant_id", "month"))
    return RequiredColumns(
        events=tuple(name for name in EVENTS.names if name in wanted),
        attributes=facts if looked_up or any(view.attributes for view in service.views) else (),
    )


def checked_events(service: FeatureService, events: pa.Table) -> pa.Table:
    """The required columns in canonical types, without the rows that have no usable instant."""
    _check_one_tenant(events)
    names = required_columns(service).events
    schema = EVENTS
    if REPLACED in events.column_names and events[REPLACED].null_count < len(events):
        names, schema = (*names, REPLACED), EVENTS.append(pa.field(REPLACED, TIMESTAMP))
    return _checked(events, names, schema, "event_timestamp")


def checked_attributes(service: FeatureService, attributes: pa.Table) -> pa.Table:
    """The required columns in canonical types, without the rows that have no usable instant."""
    _check_one_tenant(attributes)
    return _checked(attributes, required_columns(service).attributes, ATTRIBUTES, "valid_from")


def tenant_zone(timezone: str) -> ZoneInfo:
    """The tenant's time zone; raises `ConfigError` for a name that is none."""
    try:
        return ZoneInfo(timezone)
    except Exception as error:  # ZoneInfo raises four unrelated types for a bad key
        raise ConfigError(
            f"{timezone!r} is not an IANA time zone, such as Europe/Vienna or UTC"
        ) from error


def finished(service: FeatureService, spine: Spine, features: dict[str, pa.Array]) -> pa.Table:
    """The engine's answer: the spine's columns, then the features in declared order."""
    keys = dict(zip(spine.table.column_names, spine.table.columns, strict=True))
    return answer(service, keys, features)


def answer(
    service: FeatureService, keys: Mapping[str, pa.Array], features: Mapping[str, pa.Array]
) -> pa.Table:
    """What every engine returns; `keys` are the join keys and `as_of`."""
    return pa.Table.from_arrays(
        [*keys.values(), *(features[name] for name in service.columns)],
        names=[*keys, *service.columns],
        metadata={"feature_service": service.name, "feature_fingerprint": service.fingerprint},
    )


def _check_one_tenant(table: pa.Table) -> None:
    if "tenant_id" in table.column_names and pc.count_distinct(table["tenant_id"]).as_py() > 1:
        raise IsolationError("features are computed for one tenant at a time, got rows of several")


def _checked(table: pa.Table, names: tuple[str, ...], schema: pa.Schema, instant: str) -> pa.Table:
    for name in names:
        if name not in table.column_names:
            raise UnknownNameError("column", name, table.column_names, "the given table")
    fields = [pa.field(name, schema.field(name).type) for name in names]
    if not names:
        return pa.table({})
    table = table.select(names).cast(pa.schema(fields))
    return usable(table, instant)


def usable(table: pa.Table, instant: str) -> pa.Table:
    """The rows whose instants have a local time: not those at the ends of the calendar."""
    for name in (instant, "created_timestamp"):
        first, last = pc.min_max(table[name]).values()
        early, late = pc.greater_equal(_EARLIEST, first), pc.less_equal(_LATEST, last)
        if table[name].null_count or pc.or_(early, late).as_py():
            inside = pc.and_(pc.greater(table[name], _EARLIEST), pc.less(table[name], _LATEST))
            table = table.filter(inside)
    return table


_EARLIEST: Final = pa.scalar(datetime(1, 1, 3, tzinfo=UTC), TIMESTAMP)
_LATEST: Final = pa.scalar(datetime(9999, 12, 29, tzinfo=UTC), TIMESTAMP)
