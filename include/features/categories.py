"""The categories a share tells apart: learnt from the training window, then part of the meaning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import pyarrow as pa

from include.errors import ConfigError
from include.features.declarations import Aggregation
from include.features.engine import checked_attributes, checked_events, tenant_zone
from include.features.vectorized.columns import EventColumns
from include.features.views import FeatureService, FeatureView

#: View and share, as `view__share_item_category_top5`, → its categories, the most frequent first.
Categories: TypeAlias = Mapping[str, tuple[str, ...]]


def learn(
    service: FeatureService,
    events: pa.Table,
    attributes: pa.Table,
    timezone: str,
    *,
    start: datetime | None,
    end: datetime,
) -> dict[str, tuple[str, ...]]:
    """The `top` most frequent values of every share's stream in the training window.

    Counts the stream's events in `[start, end)` that were known at `end`; equally frequent values
    are taken in alphabetical order. A `start` of None is the beginning of the data.
    """
    columns = EventColumns(
        checked_events(service, events),
        checked_attributes(service, attributes),
        tenant_zone(timezone),
    )
    until = _microseconds(end)
    within = (columns.at < until) & (columns.created <= until)
    if start is not None:
        within &= columns.at >= _microseconds(start)
    learnt = {}
    for view in service.views:
        for share in _shares(view):
            assert view.stream is not None  # FeatureView refuses an aggregation without
            assert share.source is not None
            texts = columns.texts(share.source)
            seen = within & columns.in_stream(view.stream) & columns.holds(share.where)
            counts = Counter(texts.codes[seen & (texts.codes >= 0)].tolist())
            named = [(-count, str(texts.dictionary[code])) for code, count in counts.items()]
            learnt[_key(view, share)] = tuple(value for _, value in sorted(named)[: share.top])
    return learnt


def bind(service: FeatureService, categories: Categories) -> FeatureService:
    """The service with every share's categories filled in; its fingerprint then covers them.

    Raises:
        ConfigError: a share has none in `categories`.
    """
    return replace(service, views=tuple(_bound(view, categories) for view in service.views))


def _bound(view: FeatureView, categories: Categories) -> FeatureView:
    def filled(aggregation: Aggregation) -> Aggregation:
        if aggregation.function != "share" or aggregation.categories is not None:
            return aggregation
        key = _key(view, aggregation)
        if key not in categories:
            raise ConfigError(
                f"no categories were learnt for {key!r}; learnt: {', '.join(categories) or 'none'}"
            )
        return replace(aggregation, categories=categories[key])

    return replace(
        view,
        aggregations=tuple(filled(a) for a in view.aggregations),
        inputs=tuple(filled(a) for a in view.inputs),
    )


def _shares(view: FeatureView) -> list[Aggregation]:
    """Those whose categories are still to be learnt."""
    every = (*view.aggregations, *view.inputs)
    return [a for a in every if a.function == "share" and a.categories is None]


def _key(view: FeatureView, share: Aggregation) -> str:
    return view.column(share.learnt_as)


def _microseconds(instant: datetime) -> int:
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
