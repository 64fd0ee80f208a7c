"""What a declaration means, as data that is equal exactly when the meaning is, and its digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from include.features.declarations import Aggregation
from include.features.expressions import features_of
from include.features.expressions import meaning as expression_meaning

if TYPE_CHECKING:
    from include.features.views import FeatureView

#: Raised when an engine's reading of the same declaration changes.
_LANGUAGE: Final = 1


def digest(meaning: list[object]) -> str:
    """Sixteen hex digits."""
    return hashlib.sha256(json.dumps(meaning).encode()).hexdigest()[:16]


def view_meaning(view: FeatureView) -> list[object]:
    """Everything that decides the values of the view's features, and nothing else."""
    used = {name for derived in view.derived for name in features_of(derived.expression)}
    aggregations = [_aggregation_meaning(a, w) for a in view.aggregations for w in a.windows]
    inputs = [
        _aggregation_meaning(a, w)
        for a in view.inputs
        for w in a.windows
        if used.intersection(a.features(w))
    ]
    events = sorted(set(view.stream.events)) if view.stream else []
    where = view.stream.where if view.stream else ()
    parts: list[object] = [
        _LANGUAGE,
        view.name,
        sorted(view.entity.join_keys),
        events,
        _unordered(part for condition in where for part in condition.meaning()),
        aggregations,
        _unordered(inputs),
        [[derived.name, expression_meaning(derived.expression)] for derived in view.derived],
    ]
    if view.attributes:
        parts.append(["attributes", *([a.entity_kind, a.name, a.reading] for a in view.attributes)])
    if view.scope == "shared":
        parts.append(["shared", view.minimum_tenants, "of those with a value"])
    return parts


def _aggregation_meaning(aggregation: Aggregation, window: timedelta) -> list[object]:
    parts: list[object] = [
        aggregation.feature(window),
        aggregation.function,
        aggregation.value,
        window // timedelta(seconds=1),
        _unordered(part for condition in aggregation.where for part in condition.meaning()),
    ]
    if aggregation.function == "share":
        parts += [aggregation.top, aggregation.categories]
    if aggregation.read_as is not None:
        parts.append(["read as", aggregation.read_as])
    return parts


def _unordered(items: Iterable[list[object]]) -> list[str]:
    return sorted({json.dumps(item) for item in items})
