"""Feature views and services: what is computed together, and the fingerprint of its meaning."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from typing import Final, Literal

from include.errors import ConfigError, UnknownNameError
from include.features.columns import Column
from include.features.declarations import (
    Aggregation,
    Derived,
    Entity,
    EventStream,
    check_name,
)
from include.features.expressions import features_of, meaning

#: Raised when an engine's reading of the same declaration changes.
_LANGUAGE: Final = 1


@dataclass(frozen=True)
class FeatureView:
    """Features of one entity over one event stream.

    `inputs` are aggregations that only the derived features read; they give no columns.
    """

    name: str
    entity: Entity
    stream: EventStream
    aggregations: tuple[Aggregation, ...] = ()
    derived: tuple[Derived, ...] = ()
    inputs: tuple[Aggregation, ...] = ()
    owner: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = f"FeatureView {self.name!r}"
        check_name(self.name, "FeatureView")
        if not self.aggregations and not self.derived:
            raise ConfigError(f"{where} declares no feature")
        for column in _aggregated_columns(self):
            self.stream.check_column(column, where)
        kinds = {a.feature(w): a.kind for a, w in self.computed()}
        names = [a.feature(w) for a, w in self.computed()] + [d.name for d in self.derived]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ConfigError(f"{where} declares twice: {', '.join(repeated)}")
        for derived in self.derived:
            place = f"Derived {derived.name!r} of {where}"
            for name in features_of(derived.expression):
                if name not in kinds:
                    raise UnknownNameError("feature", name, kinds, place)
                if kinds[name] == "text":
                    raise ConfigError(f"{place} cannot calculate with the text {name!r}")

    def computed(self) -> Iterator[tuple[Aggregation, timedelta]]:
        """Every (aggregation, window) to compute, inputs last."""
        for aggregation in (*self.aggregations, *self.inputs):
            for window in aggregation.windows:
                yield aggregation, window

    def column(self, feature: str) -> str:
        """The output column of a feature: `spend__sum_amount_30d`."""
        return f"{self.name}__{feature}"

    @cached_property
    def columns(self) -> dict[str, Literal["integer", "number", "text"]]:
        """Output columns in declared order, with what they hold."""
        plain = {self.column(a.feature(w)): a.kind for a in self.aggregations for w in a.windows}
        return plain | {self.column(d.name): "number" for d in self.derived}

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change exactly when the features' meaning does."""
        return _digest(_view_meaning(self))


@dataclass(frozen=True)
class FeatureService:
    """The features one model reads. Views whose join keys the spine has join by themselves."""

    name: str
    views: tuple[FeatureView, ...]

    def __post_init__(self) -> None:
        check_name(self.name, "FeatureService")
        names = [view.name for view in self.views]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ConfigError(f"FeatureService {self.name!r} has two views {', '.join(repeated)}")
        if not names:
            raise ConfigError(f"FeatureService {self.name!r} has no feature view")

    @cached_property
    def columns(self) -> dict[str, Literal["integer", "number", "text"]]:
        """Feature columns in declared order, with what they hold."""
        return {name: kind for view in self.views for name, kind in view.columns.items()}

    @property
    def join_keys(self) -> tuple[str, ...]:
        """The join keys a spine must have, in order of first use."""
        return tuple(dict.fromkeys(key for view in self.views for key in view.entity.join_keys))

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hex digits that change exactly when the features' meaning or order does."""
        return _digest([_view_meaning(view) for view in self.views])


def columns_read(view: FeatureView) -> tuple[Column, ...]:
    """Every column that the view's conditions and values read."""
    conditions = (*view.stream.where, *(c for a, _ in view.computed() for c in a.where))
    return (*(c.source for c in conditions), *_aggregated_columns(view))


def _aggregated_columns(view: FeatureView) -> list[Column]:
    columns = []
    for aggregation in (*view.aggregations, *view.inputs):
        columns += [condition.source for condition in aggregation.where]
        if aggregation.source is not None:
            columns.append(aggregation.source)
    return columns


def _view_meaning(view: FeatureView) -> list[object]:
    used = {name for derived in view.derived for name in features_of(derived.expression)}
    aggregations = [_aggregation_meaning(a, w) for a in view.aggregations for w in a.windows]
    inputs = [
        _aggregation_meaning(a, w) for a in view.inputs for w in a.windows if a.feature(w) in used
    ]
    stream = view.stream
    return [
        _LANGUAGE,
        view.name,
        sorted(view.entity.join_keys),
        sorted(set(stream.events)),
        _unordered(part for condition in stream.where for part in condition.meaning()),
        aggregations,
        _unordered(inputs),
        [[derived.name, meaning(derived.expression)] for derived in view.derived],
    ]


def _aggregation_meaning(aggregation: Aggregation, window: timedelta) -> list[object]:
    return [
        aggregation.feature(window),
        aggregation.function,
        aggregation.value,
        window // timedelta(seconds=1),
        _unordered(part for condition in aggregation.where for part in condition.meaning()),
    ]


def _unordered(items: Iterator[list[object]] | list[list[object]]) -> list[str]:
    return sorted({json.dumps(item) for item in items})


def _digest(value: list[object]) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
