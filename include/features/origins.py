"""Which of a tenant's own columns, facts and events every feature is made of.

Features of one origin stand or fall together: where a column is not what it seems, every sum, mean
and share of it is wrong. What all features of a stream read anyway, its instants and keys, is an
origin of its own, `TIMING`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from include.features.columns import Column, parse_column
from include.features.conditions import Condition
from include.features.declarations import Aggregation
from include.features.expressions import features_of
from include.features.requests import RequestColumns, column_of
from include.features.returns import SIGNS
from include.features.views import FeatureService, FeatureView

#: That an event happened, when, and to whom.
TIMING: Final = "event_timestamp"
#: Before the name of an event of which alone a feature is made.
EVENT: Final = "event "


def origins(
    service: FeatureService, request: RequestColumns | None = None
) -> dict[str, frozenset[str]]:
    """Feature column → its origins; none is empty.

    An origin is a column as a declaration writes it (`amount`, `properties.discount`,
    `item.category`), `event NAME` where only events of that name count, or `TIMING`.

    Args:
        request: of a use case whose rows are events: the columns that it adds come first.
    """
    read_by = {name: read for view in service.views for name, read in _of_view(view)}
    if request is None:
        return read_by
    own = {column_of(name): frozenset({name}) for name in request.numbers if _is_own(name)}
    own |= {column_of(n): frozenset({TIMING}) for n in request.numbers if not _is_own(n)}
    own |= {column_of(f"new_{name}"): frozenset({name}) for name in request.new}
    for derived in request.derived:
        named = frozenset().union(
            *((own | read_by)[name] for name in features_of(derived.expression))
        )
        own[column_of(derived.name)] = named
    return own | read_by


def counted(service: FeatureService) -> dict[str, frozenset[str]]:
    """Feature column → `event NAME` of every event that it looks at, narrowed or not.

    Where an event is not what it seems, so is whatever counts it among others.
    """
    return {
        name: frozenset(f"{EVENT}{event}" for event in view.stream.events)
        for view in service.views
        if view.stream is not None
        for name in view.outputs
    }


def _of_view(view: FeatureView) -> Iterator[tuple[str, frozenset[str]]]:
    made_of: dict[str, frozenset[str]] = {
        name: _of_aggregation(aggregation) for aggregation, name in _primitives(view)
    }
    made_of |= {lookup.feature: frozenset({lookup.column}) for lookup in view.attributes}
    for column, expression in view.outputs.items():
        read = frozenset().union(*(made_of[name] for name in features_of(expression)))
        yield column, (read - {TIMING}) or frozenset({TIMING})


def _primitives(view: FeatureView) -> Iterator[tuple[Aggregation, str]]:
    for aggregation, window in view.computed():
        yield aggregation, aggregation.feature(window)


def _of_aggregation(part: Aggregation) -> frozenset[str]:
    named = [] if part.source is None or not _is_own(part.source.name) else [part.source.name]
    for condition in part.where:
        named += _of_condition(condition)
    return frozenset(named) or frozenset({TIMING})


def _of_condition(condition: Condition) -> list[str]:
    if condition in SIGNS:  # whether it happened, or took something back
        return []
    column: Column = condition.source
    if column.name == "event":
        return [f"{EVENT}{value}" for value in condition.values if condition.operator == "one_of"]
    return [column.name] if _is_own(column.name) else []


def _is_own(name: str) -> bool:
    """Whether the column says something beyond that, when and to whom it happened."""
    column = parse_column(name, "origins")
    return column.origin in ("property", "attribute") or name in ("amount", "quantity")


def by_origin(origins_by_column: Mapping[str, frozenset[str]]) -> dict[str, tuple[str, ...]]:
    """Origin → the columns that read it, in the order of the columns."""
    sides: dict[str, list[str]] = {}
    for column, named in origins_by_column.items():
        for name in sorted(named):
            sides.setdefault(name, []).append(column)
    return {name: tuple(columns) for name, columns in sides.items()}
