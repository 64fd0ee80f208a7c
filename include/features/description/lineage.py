"""Where a feature comes from: feature ← aggregation ← stream ← column ← the tenant's column."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from include.features.columns import Column, parse_column
from include.features.declarations import Aggregation, EventStream
from include.features.description.wording import (
    aggregation_words,
    attribute_words,
    condition_words,
    duration_words,
    expression_words,
)
from include.features.expressions import features_of
from include.features.views import FeatureView
from include.storage.entities import ENTITY_COLUMNS
from include.tenants.config import EventMapping, Source, TenantConfig

Kind = Literal["view", "feature", "aggregation", "attribute", "stream", "column", "source"]


@dataclass(frozen=True)
class Node:
    """Something, and what it is made of."""

    kind: Kind
    text: str
    made_of: tuple[Node, ...] = ()


def lineage(view: FeatureView, tenant: TenantConfig | None = None) -> Node:
    """The view's features down to canonical columns, or down to those of the tenant's sources."""
    return _Tracer(view, tenant).view_node()


@dataclass(frozen=True)
class _Tracer:
    view: FeatureView
    tenant: TenantConfig | None

    def view_node(self) -> Node:
        view = self.view
        keys = ", ".join(view.entity.join_keys) or "the whole tenant"
        return Node("view", f"{view.name}, per {keys}", tuple(self._features()))

    def _features(self) -> Iterator[Node]:
        view, named = self.view, dict(self._named())
        for aggregation in view.aggregations:
            for window in aggregation.windows:
                name = aggregation.feature(window)
                yield Node("feature", view.column(name), (named[name],))
        for lookup in view.attributes:
            yield Node("feature", view.column(lookup.feature), (named[lookup.feature],))
        for derived in view.derived:
            text = f"{view.column(derived.name)} = {expression_words(derived.expression)}"
            used = dict.fromkeys(features_of(derived.expression))
            made_of = (Node("feature", name, (named[name],)) for name in used)
            named[derived.name] = Node("feature", text, tuple(made_of))
            yield named[derived.name]

    def _named(self) -> Iterator[tuple[str, Node]]:
        for aggregation in (*self.view.aggregations, *self.view.inputs):
            for window in aggregation.windows:
                yield aggregation.feature(window), self._aggregation(aggregation, window)
        for lookup in self.view.attributes:
            column = self._column(parse_column(lookup.column, "lineage"), at_event=False)
            yield lookup.feature, Node("attribute", attribute_words(lookup), (column,))

    def _aggregation(self, aggregation: Aggregation, window: timedelta) -> Node:
        assert self.view.stream is not None  # FeatureView refuses an aggregation without
        parts = aggregation.primitives(window)
        read = [condition.source for part in parts for condition in part.where]
        if aggregation.source is not None:
            read.insert(0, aggregation.source)
        made_of = [self._column(column) for column in dict.fromkeys(read)]
        return Node(
            "aggregation",
            aggregation_words(aggregation, window),
            (*made_of, self._stream(self.view.stream)),
        )

    def _stream(self, stream: EventStream) -> Node:
        text = " or ".join(sorted(set(stream.events)))
        if stream.where:
            text += f" where {' and '.join(condition_words(stream.where))}"
        if stream.retention is not None:
            text += f", kept {duration_words(stream.retention)}"
        if self.tenant is not None and not self._sources:
            undelivered = Node("source", f"no source of {self.tenant.id} delivers them")
            return Node("stream", text, (undelivered,))
        read = [condition.source for condition in stream.where]
        names = ("event", *self.view.entity.join_keys, "event_timestamp", "created_timestamp")
        read += [Column(name, "event", name) for name in names]
        return Node("stream", text, tuple(self._column(c) for c in dict.fromkeys(read)))

    def _column(self, column: Column, *, at_event: bool = True) -> Node:
        if column.origin == "attribute":
            when = ", valid at the event and known when it arrived" if at_event else ""
            key = Column(ENTITY_COLUMNS[column.entity], "event", ENTITY_COLUMNS[column.entity])
            by = (self._column(key),) if at_event else ()
            return Node("column", f"attribute {column.name}{when}", (*by, *self._facts(column)))
        if column.origin == "local":
            zone = self.tenant.timezone if self.tenant else "the tenant's time zone"
            instant = Column("event_timestamp", "event", "event_timestamp")
            return Node("column", f"{column.name}, in {zone}", (self._column(instant),))
        return Node("column", f"event column {column.name}", tuple(self._delivered(column)))

    # the tenant's own columns

    def _facts(self, column: Column) -> Iterator[Node]:
        if self.tenant is None:
            return
        mapped = False
        for source in self.tenant.sources:
            mapping = source.attributes
            if mapping is None or mapping.entity != column.entity:
                continue
            if column.field in mapping.names:
                mapped = True
                delivered = f"{mapping.names[column.field]} of {mapping.entity_id}"
                text = f"{source.name}: {delivered}, valid from {mapping.valid_from}"
                yield Node("source", f"{self.tenant.id}/{text}")
        if not mapped:
            yield Node("source", f"no source of {self.tenant.id} maps it, so it is null")

    @property
    def _sources(self) -> list[tuple[str, Source, EventMapping]]:
        """The tenant's sources from which the view's events may come, each by its full name."""
        if self.tenant is None:
            return []
        wanted = self.view.stream.events if self.view.stream else ()
        return [
            (f"{self.tenant.id}/{source.name}", source, mapping)
            for source in self.tenant.sources
            if (mapping := source.events) and (mapping.event is None or mapping.event in wanted)
        ]

    def _delivered(self, column: Column) -> Iterator[Node]:
        for name, source, mapping in self._sources:
            origin = _source_column(column, source, mapping) or "not mapped, so null"
            yield Node("source", f"{name}: {origin}")


def _source_column(column: Column, source: Source, mapping: EventMapping) -> str | None:
    """The column of the source, or what the mapping says instead of one."""
    if column.origin == "property":
        return mapping.properties.get(column.field)
    match column.field:
        case "event":
            return mapping.event_column or f"always {mapping.event}"
        case "event_id":
            return " and ".join(mapping.event_id)
        case "event_timestamp":
            return f"{mapping.event_timestamp}, in {mapping.timezone} where it says none"
        case "created_timestamp":
            if known := source.connector.cursor_column or mapping.arrival.column:
                return known
            delay = f" + {mapping.arrival.delay}" if mapping.arrival.delay else ""
            return f"{mapping.event_timestamp}{delay}"
    source_column: str | None = getattr(mapping, column.field)
    return source_column
