"""How far back a feature looks, and whether it grows with history: told by its declaration.

A feature over a window has the same distribution in every stationary tenant whose history is at
least as long as the window; in a younger one the window is still filling. One over all history
never settles entirely: its window is as long as history is. Of these, what counts or dates all of
history grows with it for ever, while the ratio of two that grow does not. So each expression has a
degree, the power of the length of history that it is proportional to where nothing else changes:
ratios subtract degrees, sums take the larger one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from include.features.columns import Column
from include.features.declarations import ALL_HISTORY, Aggregation, window_name
from include.features.expressions import (
    Constant,
    Difference,
    Expression,
    Feature,
    Log1p,
    OnlyIf,
    Ratio,
    features_of,
)
from include.features.requests import PREFIX, RequestColumns, column_of
from include.features.views import FeatureService, FeatureView
from include.tenants.config import TenantConfig

#: Functions that are proportional to the length of what they look at.
_EXTENSIVE: Final = ("count", "sum", "distinct_count", "days_active", "time_since_first")
#: At the instant itself: nothing of the past is read.
NOTHING: Final = timedelta(0)


@dataclass(frozen=True)
class Reach:
    """What of the past a feature's value depends on."""

    window: timedelta  #: how far back; `ALL_HISTORY` where there is no bound
    events: tuple[str, ...] = ()  #: names of the events that it reads
    attributes: tuple[str, ...] = ()  #: that these look up, e.g. `item.category`
    #: Power of the length of history that it is proportional to where nothing else changes.
    degree: int = 0

    def also(self, other: Reach) -> Reach:
        """What depends on either; the degree stays this one's."""
        return replace(
            self,
            window=max(self.window, other.window),
            events=tuple(dict.fromkeys((*self.events, *other.events))),
            attributes=tuple(dict.fromkeys((*self.attributes, *other.attributes))),
        )


def reaches(service: FeatureService) -> dict[str, Reach]:
    """The reach of every feature column of the service, in the service's order."""
    return {name: reach for view in service.views for name, reach in of_view(view).items()}


def of_view(view: FeatureView) -> dict[str, Reach]:
    """The reach of every output column of a view."""
    known = {lookup.feature: Reach(NOTHING) for lookup in view.attributes}
    for aggregation, window in view.computed():
        known[aggregation.feature(window)] = _of_aggregation(view, aggregation, window)
    return {name: _combined(expression, known) for name, expression in view.outputs.items()}


def of_request(request: RequestColumns, features: Mapping[str, Reach]) -> dict[str, Reach]:
    """The reach of the columns of a request. Whether a text is new depends on all of history.

    Args:
        features: of the service that the derived columns read.
    """
    names = request.stream.events
    known = {column_of(name): Reach(NOTHING, names) for name in request.numbers}
    known |= {column_of(f"new_{name}"): Reach(ALL_HISTORY, names) for name in request.new}
    reaches = dict(known)
    for derived in request.derived:
        reaches[f"{PREFIX}{derived.name}"] = _combined(derived.expression, {**features, **known})
    return reaches


def retention_problems(tenant: TenantConfig, service: FeatureService) -> list[str]:
    """One line per view that looks back further than the tenant's events reach."""
    kept = tenant.retention.events
    return [
        f"tenant {tenant.id}: view {view.name!r} of service {service.name!r} looks back "
        f"{window_name(view.longest_window)}, and `retention.events` keeps events for "
        f"{window_name(kept) if not kept.microseconds else kept}; keep them longer, shorten the "
        "window, or leave out the use case"
        for view in service.views
        if view.longest_window > kept
    ]


def furthest(reaches: Iterable[Reach]) -> Reach:
    """What depends on all of them, of degree 0."""
    furthest_yet = Reach(NOTHING)
    for reach in reaches:
        furthest_yet = furthest_yet.also(reach)
    return furthest_yet


def _of_aggregation(view: FeatureView, aggregation: Aggregation, window: timedelta) -> Reach:
    assert view.stream is not None  # refused by FeatureView
    read: list[Column] = [condition.source for condition in view.stream.where]
    read += [condition.source for condition in aggregation.where]
    read += [aggregation.source] if aggregation.source else []
    return Reach(
        window,
        view.stream.events,
        tuple(dict.fromkeys(column.name for column in read if column.origin == "attribute")),
        int(window == ALL_HISTORY and aggregation.function in _EXTENSIVE),
    )


def _combined(expression: Expression, known: Mapping[str, Reach]) -> Reach:
    read = furthest(known[name] for name in features_of(expression))
    return replace(read, degree=_degree(expression, known))


def _degree(expression: Expression, known: Mapping[str, Reach]) -> int:
    match expression:
        case Feature(name):
            return known[name].degree
        case Constant():
            return 0
        case Ratio(numerator, denominator):
            return _degree(numerator, known) - _degree(denominator, known)
        case Difference(left, right):
            return max(_degree(left, known), _degree(right, known))
        case Log1p(operand) | OnlyIf(operand, _, _):
            return _degree(operand, known)
