"""What runs in the Python workers of Spark's executors: one bucket of entities at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from include.features import vectorized
from include.features.asof import Facts, microseconds
from include.features.engine import checked_attributes
from include.features.key_codes import KeyCodes
from include.features.spine import AS_OF, Spine
from include.features.views import FeatureService
from include.storage.canonical import ATTRIBUTES
from include.storage.entities import ENTITY_COLUMNS

#: From a bucket's two tables to the rows of the first with more columns.
Kernel = Callable[[pa.Table, pa.Table], pa.Table]

EVENT_INSTANTS: Final = ("event_timestamp", "created_timestamp")
SPINE_INSTANTS: Final = (AS_OF, AS_OF)
_TYPES: Final = {"integer": pa.int64(), "number": pa.float64(), "text": pa.string()}


@dataclass(frozen=True)
class Carried:
    """An attribute whose value a row of events or of the spine carries with it."""

    entity: str
    name: str
    column: str  #: where the row has it: Spark's names know no case, attributes' names do

    @property
    def key(self) -> str:
        """The column that says whose attribute it is."""
        return ENTITY_COLUMNS[self.entity]


def look_up(
    service: FeatureService, carried: Sequence[Carried], instants: tuple[str, str]
) -> Kernel:
    """Append attributes to rows; the second table has the facts about the same entities.

    Args:
        carried: what to append, all of one entity kind.
        instants: the columns that say at which instant a value is valid, and at which known.
    """

    def kernel(rows: pa.Table, facts: pa.Table) -> pa.Table:
        rows = _in_utc(rows)
        facts = checked_attributes(service, facts)
        entities = KeyCodes([rows[carried[0].key]], rows.num_rows)
        at, known_at = (microseconds(rows[name]) for name in instants)
        for lookup in carried:
            named = facts.filter(pc.equal(facts["name"], lookup.name))
            history = Facts(
                entities.of([named["entity_id"]], len(named)),
                microseconds(named["valid_from"]),
                microseconds(named["created_timestamp"]),
                named.select(["event_id", "source"]),
            )
            place = history.latest(entities.codes, at, known_at)
            values = named["value"].take(pa.array(place, mask=place < 0))
            rows = rows.append_column(lookup.column, values)
        return rows

    return kernel


def features(
    service: FeatureService,
    of_spine: Sequence[Carried],
    of_events: Sequence[Carried],
    timezone: str,
) -> Kernel:
    """Append the service's features to spine rows; the second table has their entities' events.

    All views of the service have the same join keys.
    """

    def kernel(spine: pa.Table, events: pa.Table) -> pa.Table:
        spine = _in_utc(spine)
        if not spine.num_rows:
            computed = pa.table({n: pa.array([], _TYPES[k]) for n, k in service.columns.items()})
        else:
            computed = vectorized.compute(
                service,
                Spine(_spine(spine, service.join_keys)),
                events,
                pa.concat_tables(
                    [
                        _facts(spine, of_spine, SPINE_INSTANTS),
                        _facts(events, of_events, EVENT_INSTANTS),
                    ]
                ),
                timezone,
            )
        for name in service.columns:
            spine = spine.append_column(name, computed[name])
        return spine

    return kernel


def _in_utc(rows: pa.Table) -> pa.Table:
    """The same instants in the zone in which Spark wants them back; it gives them in another."""
    types = [
        pa.timestamp(field.type.unit, "UTC")
        if pa.types.is_timestamp(field.type) and field.type.tz
        else field.type
        for field in rows.schema
    ]
    fields = [field.with_type(kind) for field, kind in zip(rows.schema, types, strict=True)]
    return rows.cast(pa.schema(fields))


def _spine(rows: pa.Table, join_keys: tuple[str, ...]) -> pa.Table:
    keys = {name: rows[name] for name in join_keys}
    return pa.table(keys | {AS_OF: rows[AS_OF]})


def _facts(rows: pa.Table, carried: Sequence[Carried], instants: tuple[str, str]) -> pa.Table:
    """What rows carry, as facts that became valid and known at the rows' own instants.

    No other fact made so can be the one that such a row looks up: it is the latest at its instants,
    and one that became valid and known at the same instants has the same value.
    """
    schema = pa.schema([f for f in ATTRIBUTES if f.name not in ("tenant_id", "month")])
    parts = [schema.empty_table()]
    for lookup in carried:
        count = rows.num_rows
        facts = {
            "source": pa.array([""] * count),
            "event_id": pa.array(range(count)).cast(pa.string()),
            "entity": pa.array([lookup.entity] * count),
            "entity_id": rows[lookup.key],
            "name": pa.array([lookup.name] * count),
            "value": rows[lookup.column],
            "valid_from": rows[instants[0]],
            "created_timestamp": rows[instants[1]],
        }
        table = pa.table(facts)
        parts.append(table.filter(pc.is_valid(table["entity_id"])).cast(schema))
    return pa.concat_tables(parts)
