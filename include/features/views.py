"""Feature views and services: what is computed together, and the fingerprint of its meaning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

from include.errors import ConfigError, UnknownNameError
from include.features.columns import Column
from include.features.declarations import (
    ALL_HISTORY,
    Aggregation,
    AttributeLookup,
    Derived,
    Entity,
    EventStream,
    Kind,
    check_duration,
    check_name,
    check_tuple,
    window_name,
)
from include.features.expressions import (
    Expression,
    Feature,
    check_size,
    features_of,
    replaced,
)
from include.features.expressions import meaning as expression_meaning
from include.features.fingerprints import aggregation_meaning, digest, unordered, versioned
from include.storage.entities import ENTITY_COLUMNS


@dataclass(frozen=True)
class FeatureView:
    """Features of one entity: aggregations of an event stream, and attributes."""

    name: str
    entity: Entity
    stream: EventStream | None = None  #: None where all features are attributes
    aggregations: tuple[Aggregation, ...] = ()
    derived: tuple[Derived, ...] = ()
    inputs: tuple[Aggregation, ...] = ()  #: read by `derived` alone; they give no columns
    attributes: tuple[AttributeLookup, ...] = ()
    #: How old the online store's materialization may be when it answers; None: not served online.
    ttl: timedelta | None = None
    owner: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = f"FeatureView {self.name!r}"
        check_name(self.name, "FeatureView")
        self._check_parts(where)
        if not self.aggregations and not self.derived and not self.attributes:
            raise ConfigError(f"{where} declares no feature")
        if self.ttl is not None:
            check_duration(self.ttl, f"{where}: ttl")
        self._check_stream(where)
        self._check_attributes(where)
        self._check_names(where)
        _ = self._primitives

    def computed(self) -> Iterator[tuple[Aggregation, timedelta]]:
        """Every distinct primitive that engines compute, by name `aggregation.feature(window)`."""
        yield from ((a, a.windows[0]) for a in self._primitives.values())

    @cached_property
    def outputs(self) -> dict[str, Expression]:
        """Output column → what it is in terms of primitives and attributes."""
        named = {a.feature(w): a.expression(w) for a, w in self._declared()}
        named |= {lookup.feature: Feature(lookup.feature) for lookup in self.attributes}
        columns = {self.column(n): named[n] for n in self._plain}
        for derived in self.derived:
            named[derived.name] = replaced(derived.expression, named)
            columns[self.column(derived.name)] = named[derived.name]
        return columns

    def column(self, feature: str) -> str:
        """The output column of a feature: `spend__sum_amount_30d`."""
        return f"{self.name}__{feature}"

    @cached_property
    def columns(self) -> dict[str, Kind]:
        """Output columns in declared order, with what they hold."""
        plain = {self.column(name): kind for name, kind in self._plain.items()}
        return plain | {self.column(d.name): "number" for d in self.derived}

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change exactly when the features' meaning does."""
        return digest(self.meaning())

    def meaning(self) -> list[object]:
        """Everything that decides the values of the view's features, and nothing else."""
        used = {name for derived in self.derived for name in features_of(derived.expression)}
        aggregations = [aggregation_meaning(a, w) for a in self.aggregations for w in a.windows]
        inputs = [
            aggregation_meaning(a, w)
            for a in self.inputs
            for w in a.windows
            if a.feature(w) in used
        ]
        events = sorted(set(self.stream.events)) if self.stream else []
        where = self.stream.where if self.stream else ()
        parts: list[object] = [
            self.name,
            sorted(self.entity.join_keys),
            events,
            unordered(part for condition in where for part in condition.meaning()),
            aggregations,
            unordered(inputs),
            [[derived.name, expression_meaning(derived.expression)] for derived in self.derived],
        ]
        if self.attributes:
            told = ([a.entity_kind, a.name, a.reading] for a in self.attributes)
            parts.append(["attributes", *told])
        return versioned(parts)

    @property
    def longest_window(self) -> timedelta:
        """The furthest a finite window looks back; zero where none does."""
        finite = ((a, w) for a, w in self._declared() if w != ALL_HISTORY)
        reach = (2 * window if a.function == "trend" else window for a, window in finite)
        return max(reach, default=timedelta(0))

    @cached_property
    def _primitives(self) -> dict[str, Aggregation]:
        primitives: dict[str, Aggregation] = {}
        for aggregation, window in self._declared():
            for part in aggregation.primitives(window):
                name = part.feature(part.windows[0])
                if primitives.setdefault(name, part) != part:
                    raise ConfigError(
                        f"FeatureView {self.name!r} needs two different aggregations called "
                        f"{name!r}; give one of them another label"
                    )
        for lookup in self.attributes:
            if lookup.feature in primitives:
                raise ConfigError(
                    f"FeatureView {self.name!r} has an attribute called {lookup.feature!r}, as an "
                    "aggregation is called that one of its features is made of; read the "
                    "attribute in a view of its own"
                )
        return primitives

    @cached_property
    def _plain(self) -> dict[str, Kind]:
        """The declared features that are not derived."""
        kinds = {a.feature(w): a.kind for a in self.aggregations for w in a.windows}
        return kinds | {lookup.feature: lookup.kind for lookup in self.attributes}

    def _declared(self) -> Iterator[tuple[Aggregation, timedelta]]:
        for aggregation in (*self.aggregations, *self.inputs):
            for window in aggregation.windows:
                yield aggregation, window

    def _check_parts(self, where: str) -> None:
        parts: tuple[tuple[str, object, type], ...] = (
            ("aggregations", self.aggregations, Aggregation),
            ("derived", self.derived, Derived),
            ("inputs", self.inputs, Aggregation),
            ("attributes", self.attributes, AttributeLookup),
            ("tags", self.tags, str),
        )
        for name, values, of in parts:
            check_tuple(values, of, f"{where}: {name}")
        single: tuple[tuple[str, object, tuple[type, ...]], ...] = (
            ("entity", self.entity, (Entity,)),
            ("stream", self.stream, (EventStream, type(None))),
            ("owner", self.owner, (str,)),
            ("description", self.description, (str,)),
        )
        for name, value, kinds in single:
            if not isinstance(value, kinds):
                raise ConfigError(f"{where}: {name} is of type {kinds[0].__name__}, got {value!r}")

    def _check_stream(self, where: str) -> None:
        if self.stream is None:
            if self.aggregations or self.inputs:
                raise ConfigError(f"{where} aggregates events and needs a stream")
            return
        if not self.aggregations and not self.inputs:
            raise ConfigError(f"{where} aggregates nothing of its stream; leave the stream out")
        for column in columns_read(self):
            self.stream.check_column(column, where)
        kept = self.stream.retention
        for aggregation, window in self._declared():
            reach = 2 * window if aggregation.function == "trend" else window
            if kept is not None and window != ALL_HISTORY and reach > kept:
                raise ConfigError(
                    f"{where}: {aggregation.feature(window)!r} looks back {window_name(reach)}, "
                    f"and its stream keeps {window_name(kept)}"
                )

    def _check_attributes(self, where: str) -> None:
        for lookup in self.attributes:
            key = ENTITY_COLUMNS[lookup.entity_kind]
            if key not in self.entity.join_keys:
                raise ConfigError(
                    f"{where} reads the attribute {lookup.column!r}, and its entity "
                    f"{self.entity.name!r} has no {key}; it has "
                    f"{', '.join(self.entity.join_keys) or 'no join key'}"
                )

    def _check_names(self, where: str) -> None:
        kinds: dict[str, Kind] = {lookup.feature: lookup.kind for lookup in self.attributes}
        names = [lookup.feature for lookup in self.attributes]
        for aggregation, window in self._declared():
            kinds[aggregation.feature(window)] = aggregation.kind
            names.append(aggregation.feature(window))
        names += [derived.name for derived in self.derived]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ConfigError(f"{where} declares twice: {', '.join(repeated)}")
        expanded: dict[str, Expression] = {name: Feature(name) for name in kinds}
        for derived in self.derived:
            place = f"Derived {derived.name!r} of {where}"
            for name in features_of(derived.expression):
                if name not in kinds:
                    raise UnknownNameError("feature", name, kinds, place)
                if kinds[name] == "text":
                    raise ConfigError(f"{place} cannot calculate with the text {name!r}")
            kinds[derived.name] = "number"  # for those declared after it
            expanded[derived.name] = replaced(derived.expression, expanded)
            check_size(expanded[derived.name], place)


@dataclass(frozen=True)
class FeatureService:
    """The features one model reads. Views whose join keys the spine has join by themselves."""

    name: str
    views: tuple[FeatureView, ...]

    def __post_init__(self) -> None:
        check_name(self.name, "FeatureService")
        check_tuple(self.views, FeatureView, f"FeatureService {self.name!r}: views")
        names = [view.name for view in self.views]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ConfigError(f"FeatureService {self.name!r} has two views {', '.join(repeated)}")
        if not names:
            raise ConfigError(f"FeatureService {self.name!r} has no feature view")

    @cached_property
    def columns(self) -> dict[str, Kind]:
        """Feature columns in declared order, with what they hold."""
        return {name: kind for view in self.views for name, kind in view.columns.items()}

    @property
    def join_keys(self) -> tuple[str, ...]:
        """The join keys a spine must have, in order of first use."""
        return tuple(dict.fromkeys(key for view in self.views for key in view.entity.join_keys))

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change exactly when the features' meaning or order does."""
        return digest([view.meaning() for view in self.views])


def columns_read(view: FeatureView) -> tuple[Column, ...]:
    """Every event column that the view's conditions and values read."""
    if view.stream is None:
        return ()
    columns = [condition.source for condition in view.stream.where]
    for aggregation in (*view.aggregations, *view.inputs):
        for part in aggregation.primitives(aggregation.windows[0]):
            columns += [condition.source for condition in part.where]
            if part.source is not None:
                columns.append(part.source)
    return tuple(columns)
