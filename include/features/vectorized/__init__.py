"""The fast engine: numpy on sorted events, the same bytes on every run.

The events of a stream are sorted once by entity and time. What a spine row sees in a window is then
a run of them, found by binary search, and every function but the entropy answers a run in a time
that hardly depends on its length: sums from exact prefix sums (`exact`), extremes and distinct
counts from tables of log n levels (`ranges`). So neither a long window nor one entity with most of
the events costs more. Only entropies, and rows that see out-of-order events with gaps, look at each
of their events (`cells.Cells.each`).

A feature's value depends on nothing but its own row's events: neither on the order of the input nor
on other rows or entities. Spine rows that share entity and instant are computed once. Entities are
taken in blocks, and many blocks by as many threads as Arrow uses.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import cache
from typing import Final, TypeAlias

import numpy as np
import pyarrow as pa

from include.features.declarations import Aggregation, EventStream
from include.features.engine import (
    checked_attributes,
    checked_events,
    finished,
    tenant_zone,
)
from include.features.outputs import Texts, Values, evaluate
from include.features.spine import Spine
from include.features.time_order import Integers
from include.features.vectorized.attributes import attribute_feature
from include.features.vectorized.columns import EventColumns
from include.features.vectorized.history import EventHistory, histories
from include.features.vectorized.reductions import Numbers, reduce
from include.features.vectorized.spine_index import SpineIndex
from include.features.views import FeatureService, FeatureView
from include.storage.entities import ENTITY_COLUMNS

#: Join keys and stream.
_Group: TypeAlias = tuple[tuple[str, ...], EventStream | None]

#: A thread more takes as much memory as a block; with fewer blocks than this it saves too little.
_BLOCKS_PER_THREAD: Final = 16


def compute(
    service: FeatureService,
    spine: Spine,
    events: pa.Table,
    attributes: pa.Table,
    timezone: str,
) -> pa.Table:
    """See `Engine.compute`."""
    spine.check_serves(service)
    zone = tenant_zone(timezone)
    facts = checked_attributes(service, attributes)
    columns = EventColumns(checked_events(service, events), facts, zone)
    index = cache(lambda join_keys: SpineIndex(spine, join_keys))
    features: dict[str, pa.Array] = {}
    for (join_keys, stream), views in _together(service).items():
        rows: SpineIndex = index(join_keys)
        aggregated = _aggregated(rows, columns, stream, views) if stream else {}
        for view in views:
            primitives = {a.feature(w): aggregated[a, w] for a, w in view.computed()}
            for lookup in view.attributes:
                alone = index((ENTITY_COLUMNS[lookup.entity_kind],))
                primitives[lookup.feature] = _at(
                    attribute_feature(alone, facts, lookup), alone.row_of[rows.spine_row]
                )
            for name, array in evaluate(view, primitives, len(rows)).items():
                features[name] = rows.spread(array)
    return finished(service, spine, features)


def _together(service: FeatureService) -> dict[_Group, list[FeatureView]]:
    """Views that read the same events of the same entities."""
    groups: dict[_Group, list[FeatureView]] = {}
    for view in service.views:
        groups.setdefault((view.entity.join_keys, view.stream), []).append(view)
    return groups


def _aggregated(
    index: SpineIndex, columns: EventColumns, stream: EventStream, views: list[FeatureView]
) -> dict[tuple[Aggregation, timedelta], Values]:
    """Every distinct (aggregation, window) of the views, per distinct spine row."""
    wanted = list(dict.fromkeys(pair for view in views for pair in view.computed()))
    ties = any(aggregation.function in ("first", "last") for aggregation, _ in wanted)
    numbers_by_pair: dict[tuple[Aggregation, timedelta], Numbers] = {}

    def answer(block: tuple[slice, Callable[[], EventHistory]]) -> None:
        rows, history = block
        for pair, numbers in reduce(history(), wanted).items():
            if pair not in numbers_by_pair:
                numbers_by_pair[pair] = np.empty(len(index), numbers.dtype)
            numbers_by_pair[pair][rows] = numbers

    first, *rest = histories(index, columns, stream, ties=ties)
    answer(first)  # which reads the columns for all
    threads = min(pa.cpu_count(), len(rest) // _BLOCKS_PER_THREAD)
    if threads > 1:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(answer, rest))  # raises what a thread raised
    else:
        for block in rest:
            answer(block)
    values: dict[tuple[Aggregation, timedelta], Values] = {}
    for pair, numbers in numbers_by_pair.items():
        values[pair] = numbers
        if pair[0].kind == "text" and pair[0].source is not None:
            codes = numbers.astype(np.int64)
            values[pair] = Texts(codes, columns.texts(pair[0].source).dictionary)
    return values


def _at(values: Values, rows: Integers) -> Values:
    if isinstance(values, Texts):
        return Texts(values.codes[rows], values.dictionary)
    return values[rows]
