"""The fast engine: numpy on sorted events, one thread, the same bytes on every run.

Each feature of a row is reduced over that row's own events in their fixed order, so it depends
neither on the order of the input nor on the other rows or entities. Spine rows that share entity
and instant are computed once; memory is bounded by taking the rows in chunks.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import cast

import numpy as np
import pyarrow as pa

from include.features.declarations import Aggregation, EventStream
from include.features.engine import checked_attributes, checked_events, finished, tenant_zone
from include.features.outputs import Texts, Values, evaluate
from include.features.spine import Spine
from include.features.vectorized_columns import EventColumns
from include.features.vectorized_pairs import Pairs, SpineIndex, stream_history
from include.features.vectorized_reductions import Numbers, reduce
from include.features.views import FeatureService, FeatureView


def compute(
    service: FeatureService,
    spine: Spine,
    events: pa.Table,
    attributes: pa.Table,
    timezone: str,
    shared: pa.Table | None = None,
) -> pa.Table:
    """See `Engine.compute`."""
    spine.check_serves(service)
    zone = tenant_zone(timezone)
    columns = EventColumns(
        checked_events(service, events), checked_attributes(service, attributes), zone
    )
    features: dict[str, pa.Array] = {}
    groups: dict[tuple[str, ...], dict[EventStream, list[FeatureView]]] = defaultdict(dict)
    for view in service.views:
        assert view.stream is not None
        groups[view.entity.join_keys].setdefault(view.stream, []).append(view)
    for join_keys, streams in groups.items():
        index = SpineIndex(spine, join_keys)
        for stream, views in streams.items():
            computed = _aggregations(index, columns, stream, views)
            for view in views:
                features |= _view(view, computed, index, columns)
    return finished(service, spine, features)


def _aggregations(
    index: SpineIndex, columns: EventColumns, stream: EventStream, views: list[FeatureView]
) -> dict[tuple[Aggregation, timedelta], Numbers]:
    """Every distinct (aggregation, window) of the views, once per distinct spine row."""
    wanted = list(dict.fromkeys(pair for view in views for pair in view.computed()))
    history = stream_history(index, columns, stream)
    longest = max(window for _, window in wanted)
    parts: dict[tuple[Aggregation, timedelta], list[Numbers]] = {pair: [] for pair in wanted}
    for span in history.chunks(longest):
        pairs = Pairs(history, columns, span)
        for pair in wanted:
            parts[pair].append(reduce(pair[0], pairs.within(*pair)))
    return {pair: cast(Numbers, np.concatenate(arrays)) for pair, arrays in parts.items()}


def _view(
    view: FeatureView,
    computed: dict[tuple[Aggregation, timedelta], Numbers],
    index: SpineIndex,
    columns: EventColumns,
) -> dict[str, pa.Array]:
    primitives: dict[str, Values] = {}
    for aggregation, window in view.computed():
        values = computed[aggregation, window][index.row_of]
        name = aggregation.feature(window)
        if aggregation.kind == "text" and aggregation.source is not None:
            texts = columns.texts(aggregation.source)
            primitives[name] = Texts(values.astype(np.int64), texts.dictionary)
        else:
            primitives[name] = values
    return evaluate(view, primitives, len(index.row_of))
