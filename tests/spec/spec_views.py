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
    minimum_tenants: int = 0,
) -> FeatureView:
    """The view `v`; with `minimum_tenants` it is shared."""
    stream = EventStream(names, where, lookups) if aggregations or inputs else None
    return FeatureView(
        "v",
        entity,
        stream,
        tuple(aggregations),
        derived,
        inputs,
        features,
        scope="shared" if minimum_tenants else "tenant",
        minimum_tenants=minimum_tenants or 3,
    )
