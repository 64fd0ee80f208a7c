"""The reference engine: plain Python that follows the meaning word by word, fast for nobody."""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from operator import itemgetter
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from include.features.columns import Column, parse_properties, read_number, read_text
from include.features.conditions import Condition
from include.features.declarations import (
    ALL_HISTORY,
    Aggregation,
    AttributeLookup,
    EventStream,
)
from include.features.engine import (
    checked_attributes,
    checked_events,
    finished,
    tenant_zone,
)
from include.features.expressions import (
    Constant,
    Difference,
    Expression,
    Feature,
    Log1p,
    OnlyIf,
    Ratio,
)
from include.features.returns import NO_RETURN, RETURNS
from include.features.spine import AS_OF, Spine
from include.features.views import FeatureService, FeatureView
from include.storage.canonical import REPLACED
from include.storage.entities import ENTITY_COLUMNS

Value = int | float | str | None
Facts = dict[tuple[str, str], list[dict[str, Any]]]
_TYPES = {"integer": pa.int64(), "number": pa.float64(), "text": pa.string()}
_DAY = timedelta(days=1)


@dataclass
class _Event:
    """One event, with whatever a declaration may read from it."""

    row: dict[str, Any]
    local: datetime
    facts: Facts
    properties: dict[str, object] = field(default_factory=dict)

    @property
    def at(self) -> datetime:
        at: datetime = self.row["event_timestamp"]
        return at

    def known(self, as_of: datetime) -> bool:
        """Whether the event counts: it was known, and not replaced by a correction yet."""
        replaced = self.row.get(REPLACED)
        known: bool = self.row["created_timestamp"] <= as_of
        return known and (replaced is None or as_of < replaced)

    def read(self, column: Column, reading: str) -> float | str | None:
        value = self._raw(column)
        return read_number(value) if reading == "number" else read_text(value)

    def _raw(self, column: Column) -> object:
        if column.origin == "property":
            return self.properties.get(column.field)
        if column.origin == "attribute":
            return self._fact(column)
        if column.name == "local_hour":
            return self.local.hour
        if column.name == "local_weekday":
            return self.local.weekday()
        value: object = self.row[column.field]
        return value

    def _fact(self, column: Column) -> object:
        entity_id = self.row[f"{column.entity}_id"]
        facts = self.facts.get((column.entity, entity_id), [])
        return _valid(facts, column.field, self.at, self.row["created_timestamp"])


def compute(
    service: FeatureService,
    spine: Spine,
    events: pa.Table,
    attributes: pa.Table,
    timezone: str,
) -> pa.Table:
    """See `Engine.compute`."""
    spine.check_serves(service)
    facts: Facts = defaultdict(list)
    for fact in checked_attributes(service, attributes).to_pylist():
        facts[fact["entity"], fact["entity_id"]].append(fact)
    own = _events(checked_events(service, events), facts, tenant_zone(timezone))
    rows = spine.table.to_pylist()
    columns: dict[str, list[Value]] = {name: [] for name in service.columns}
    for view in service.views:
        by_entity = _by_entity(view, own)
        for row in rows:
            key = tuple(row[name] for name in view.entity.join_keys)
            for name, value in _row(view, by_entity.get(key, []), row, facts).items():
                columns[name].append(value)
    arrays = {name: pa.array(columns[name], _TYPES[kind]) for name, kind in service.columns.items()}
    return finished(service, spine, arrays)


def _events(table: pa.Table, facts: Facts, zone: ZoneInfo) -> list[_Event]:
    rows = table.to_pylist()
    rows.sort(key=itemgetter("event_timestamp", "event_id", "source"))
    return [
        _Event(
            row,
            row["event_timestamp"].astimezone(zone),
            facts,
            parse_properties(row.get("properties")),
        )
        for row in rows
    ]


def _by_entity(view: FeatureView, events: list[_Event]) -> dict[tuple[str, ...], list[_Event]]:
    by_entity: dict[tuple[str, ...], list[_Event]] = defaultdict(list)
    for event in events if view.stream else ():
        key = tuple(event.row[name] for name in view.entity.join_keys)
        if None not in key and view.stream and _in_stream(view.stream, event):
            by_entity[key].append(event)
    return by_entity


def _valid(facts: list[dict[str, Any]], name: str, at: datetime, known_at: datetime) -> object:
    """The attribute's value at an instant, as known at another."""
    usable = [
        fact
        for fact in facts
        if fact["name"] == name
        and fact["valid_from"] <= at
        and fact["created_timestamp"] <= known_at
    ]
    order = ("valid_from", "created_timestamp", "event_id", "source")
    latest = max(usable, key=lambda fact: tuple(fact[name] for name in order), default=None)
    return latest["value"] if latest else None


def _in_stream(stream: EventStream, event: _Event) -> bool:
    return event.row["event"] in stream.events and all(_holds(c, event) for c in stream.where)


def _holds(condition: Condition, event: _Event) -> bool:
    value: Any = event.read(condition.source, condition.reading)
    if value is None:
        return condition.operator in ("missing", "not_below")
    operands: Any = condition.values
    match condition.operator:
        case "missing":
            return False
        case "present":
            return True
        case "one_of":
            return value in operands
        case "none_of":
            return value not in operands
        case "at_least" | "not_below":
            return bool(value >= operands[0])
        case "below":
            return bool(value < operands[0])
        case "between":
            return bool(operands[0] <= value < operands[1])


def _row(
    view: FeatureView, events: list[_Event], row: dict[str, Any], facts: Facts
) -> dict[str, Value]:
    as_of = row[AS_OF]
    past = [e for e in events if e.at < as_of and e.known(as_of)]
    values: dict[str, Value] = {}
    for aggregation in (*view.aggregations, *view.inputs):
        meant = [e for e in past if all(_holds(c, e) for c in aggregation.where)]
        for window in aggregation.windows:
            values[aggregation.feature(window)] = _aggregated(aggregation, window, meant, as_of)
    for lookup in view.attributes:
        values[lookup.feature] = _attribute(lookup, row, facts)
    for derived in view.derived:
        values[derived.name] = _evaluate(derived.expression, values)
    return {column: values[column.removeprefix(view.column(""))] for column in view.columns}


def _attribute(lookup: AttributeLookup, row: dict[str, Any], facts: Facts) -> Value:
    entity_id = row[ENTITY_COLUMNS[lookup.entity_kind]]
    known = facts.get((lookup.entity_kind, entity_id), [])
    value = _valid(known, lookup.name, row[AS_OF], row[AS_OF])
    return read_text(value) if lookup.reading == "text" else read_number(value)


def _within(events: list[_Event], window: timedelta, as_of: datetime) -> list[_Event]:
    return [e for e in events if window == ALL_HISTORY or as_of - e.at <= window]


def _aggregated(
    aggregation: Aggregation, window: timedelta, events: list[_Event], as_of: datetime
) -> Value:
    """The aggregation's feature over one window."""
    seen = _within(events, window, as_of)
    if aggregation.function == "net_count":
        return _net_count(aggregation, seen)
    if aggregation.function == "trend":
        both = _within(events, 2 * window, as_of)
        return _trend(aggregation, seen, both, as_of)
    return _aggregate(aggregation, seen, as_of)


def _net_count(aggregation: Aggregation, events: list[_Event]) -> float:
    stand = [e for e in events if all(_holds(c, e) for c in NO_RETURN)]
    back = [[e for e in events if all(_holds(c, e) for c in part)] for part in RETURNS]
    return float(_counted(aggregation, stand) - sum(_counted(aggregation, some) for some in back))


def _counted(aggregation: Aggregation, events: list[_Event]) -> int:
    """Events, or the different values that they have."""
    column = aggregation.source
    if column is None:
        return len(events)
    return len({value for e in events if (value := e.read(column, "text")) is not None})


def _trend(
    aggregation: Aggregation, seen: list[_Event], both: list[_Event], as_of: datetime
) -> float | None:
    counted = Aggregation("sum", aggregation.value) if aggregation.value else Aggregation("count")
    now, total = (_aggregate(counted, events, as_of) for events in (seen, both))
    if not isinstance(now, int | float) or not isinstance(total, int | float) or not total:
        return None
    return _finite(lambda pair: (pair[0] - (pair[1] - pair[0])) / pair[1], (now, total))


def _aggregate(aggregation: Aggregation, events: list[_Event], as_of: datetime) -> Value:
    match aggregation.function:
        case "count":
            return len(events)
        case "days_active":
            return len({event.local.date() for event in events})
        case "time_since_last":
            return (as_of - events[-1].at) / _DAY if events else None
        case "time_since_first":
            return (as_of - events[0].at) / _DAY if events else None
    column, reading = aggregation.source, aggregation.reading
    if column is None or reading is None:  # pragma: no cover - refused by Aggregation
        raise TypeError(f"{aggregation.function} without a value")
    values: list[Any] = [v for e in events if (v := e.read(column, reading)) is not None]
    if aggregation.function in ("sum", "distinct_count"):
        return _finite(_sum, values) if aggregation.function == "sum" else len(set(values))
    if not values:
        return None
    match aggregation.function:
        case "mean":
            return _finite(_mean, values)
        case "min":
            return float(min(values))
        case "max":
            return float(max(values))
        case "std":
            return _finite(_std, values) if len(values) > 1 else None
        case "first":
            return values[0]  # type: ignore[no-any-return]
        case "last":
            return values[-1]  # type: ignore[no-any-return]
        case _:
            return _entropy(values)


def _sum(values: Sequence[float]) -> float:
    """The float nearest to the exact sum."""
    try:
        return math.fsum(values)
    except OverflowError:  # on the way, and perhaps not in the end
        return float(sum(map(Fraction, values)))


def _mean(values: Sequence[float]) -> float:
    return _sum(values) / len(values)


def _std(values: Sequence[float]) -> float:
    """In fractions, rounded once; too large where the mean is."""
    _sum(values)
    return statistics.stdev(values)


def _entropy(values: Sequence[str]) -> float:
    shares = [count / len(values) for count in Counter(values).values()]
    return math.fsum(-share * math.log(share) for share in shares) + 0.0


def _evaluate(expression: Expression, values: dict[str, Value]) -> float | None:
    match expression:
        case Constant(value):
            return value
        case Feature(name):
            known = values[name]
            return None if known is None else float(known)
        case OnlyIf(operand, support, minimum):
            enough = _evaluate(support, values)
            return _evaluate(operand, values) if enough is not None and enough >= minimum else None
        case Log1p(operand):
            inner = _evaluate(operand, values)
            return math.log1p(inner) if inner is not None and inner > -1 else None
        case Ratio(left, right) | Difference(left, right):
            a, b = _evaluate(left, values), _evaluate(right, values)
            if a is None or b is None:
                return None
            if isinstance(expression, Difference):
                return _finite(lambda pair: pair[0] - pair[1], (a, b))
            return _finite(lambda pair: pair[0] / pair[1], (a, b)) if b else None


def _finite(function: Callable[[Sequence[float]], float], values: Sequence[float]) -> float | None:
    """The result, or None where it is too large for a float."""
    try:
        result = function(values)
    except OverflowError:
        return None
    return result if math.isfinite(result) else None
