"""The one view that a spec is about."""

from __future__ import annotations

from collections.abc import Sequence

from include.features.conditions import Condition
from include.features.declarations import (
    USER,
    Aggregation,
    AttributeLookup,
    Derived,
    Entity,
    EventStream,
)
from include.features.views import FeatureView


def spec_view(
    aggregations: Sequence[Aggregation],
    *,
    entity: Entity = USER,
    names: tuple[str, ...] = ("Order Completed",),
    where: tuple[Condition, ...] = (),
    lookups: tuple[AttributeLookup, ...] = (),
    derived: tuple[Derived, ...] = (),
    inputs: tuple[Aggregation, ...] = (),
    features: tuple[AttributeLookup, ...] = (),
) -> FeatureView:
    """The view `v`."""
    stream = EventStream(names, where, lookups) if aggregations or inputs else None
    return FeatureView("v", entity, stream, tuple(aggregations), derived, inputs, features)
