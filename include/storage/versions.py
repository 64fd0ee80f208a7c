"""Versions of events: of sources whose tenant applies corrections, an event id has several rows.

A table names such sources in a property, which every version of the table keeps as it was: reading
an older version means what it meant. Of all other sources, the first arrival of an id is the event.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from include.storage.canonical import REPLACED, TIMESTAMP
from include.storage.slices import first_arrivals, without

if TYPE_CHECKING:
    from datetime import datetime

    from deltalake import DeltaTable

PROPERTY: Final = "tenantry.versionsOf"


def versioned(table: DeltaTable | None) -> tuple[str, ...]:
    """The sources of whose event ids the table has all versions."""
    told = None if table is None else table.metadata().configuration.get(PROPERTY)
    return tuple(json.loads(told)) if told else ()


def keep_versions(table: DeltaTable, source: str) -> None:
    """Let rows of one event id of a source be versions of the event, in the table from now on."""
    there_are = versioned(table)
    if source not in there_are:
        told = {PROPERTY: json.dumps(sorted((*there_are, source)))}
        table.alter.set_table_properties(told, raise_if_not_exists=False)


def with_replaced(
    rows: pa.Table, sources: tuple[str, ...], *, all_versions: bool = False
) -> pa.Table:
    """Each `(source, event_id)` once, or in all its versions; with when the next became known.

    Args:
        rows: ordered by `created_timestamp`; the order is kept.
        sources: those that have versions; of the others the first arrival stays.
        all_versions: else, of each id the last version.
    """
    if not sources:
        rows = first_arrivals(rows)
    if not sources or pc.count_distinct(rows["event_id"]).as_py() == len(rows):
        return rows.append_column(REPLACED, pa.nulls(len(rows), TIMESTAMP))
    keys = pc.binary_join_element_wise(rows["source"], rows["event_id"], "\n")
    codes = pc.dictionary_encode(keys).combine_chunks().indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    same = codes[order[1:]] == codes[order[:-1]]
    first, last = np.ones(len(rows), dtype=bool), np.ones(len(rows), dtype=bool)
    first[order[1:]], last[order[:-1]] = ~same, ~same
    following = np.full(len(rows), -1)
    following[order[:-1]] = np.where(same, order[1:], -1)
    has_versions = pc.is_in(rows["source"], value_set=pa.array(sources, pa.string())).to_numpy()
    kept = np.where(has_versions, all_versions | last, first)
    next_ = pa.array(following, mask=(following < 0) | ~has_versions)
    replaced = rows["created_timestamp"].take(next_)
    return rows.append_column(REPLACED, replaced).filter(pa.array(kept))


def corrects(rows: ds.Dataset, sources: tuple[str, ...], after: datetime, until: datetime) -> bool:
    """Whether something known at `after` was replaced in `(after, until]`, of these sources."""
    if not sources:
        return False
    keys, created = ["source", "event_id"], ds.field("created_timestamp")
    ours = ds.field("source").isin(sources)
    within = (created > pa.scalar(after)) & (created <= pa.scalar(until))
    new = rows.to_table(columns=keys, filter=ours & within)
    there = (created <= pa.scalar(after)) & ds.field("event_id").isin(pc.unique(new["event_id"]))
    return len(without(new, rows.to_table(columns=keys, filter=ours & there))) < len(new)


def counting(events: pa.Table, at: datetime) -> pa.ChunkedArray:
    """Per event whether it counts at an instant: it was known by then, and not replaced yet."""
    instant = pa.scalar(at, TIMESTAMP)
    known = pc.less_equal(events["created_timestamp"], instant)
    if REPLACED not in events.column_names or events[REPLACED].null_count == len(events):
        return known
    return pc.and_(known, pc.fill_null(pc.greater(events[REPLACED], instant), True))
