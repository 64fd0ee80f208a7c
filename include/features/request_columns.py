"""Fills the columns of a `Request`: from the events that are scored, and those before them."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from include.errors import ConfigError
from include.features.asof import microseconds
from include.features.columns import parse_column
from include.features.engine import tenant_zone
from include.features.expressions import features_of
from include.features.outputs import calculate
from include.features.requests import ENTITY, PREFIX, RequestColumns, column_of
from include.features.spine import AS_OF
from include.features.time_order import Integers, Timeline
from include.features.vectorized.columns import EventColumns
from include.storage.canonical import ATTRIBUTES, TIMESTAMP
from include.storage.versions import counting

Floats = npt.NDArray[np.float64]


def with_request(
    request: RequestColumns,
    table: pa.Table,
    events: pa.Table,
    timezone: str,
    known_at: datetime | None = None,
) -> pa.Table:
    """A table of features with the request's columns before `as_of`, in the same order.

    Args:
        table: join keys with `group_id`, `as_of` (of the event), features.
        events: one tenant's, with the columns `request.reads` and those of any spine, by arrival.
        known_at: of corrected events, the version known then is scored; by default the first, as
            a later one may know the outcome.

    Raises:
        ConfigError: a row is no event of the stream.
    """
    plain = EventColumns(events, ATTRIBUTES.empty_table(), tenant_zone(timezone))
    ours = np.flatnonzero(plain.in_stream(request.stream))
    events = events.take(pa.array(ours))
    columns = EventColumns(events, ATTRIBUTES.empty_table(), tenant_zone(timezone))
    rows = _rows(events, table, known_at)
    made: dict[str, Floats] = {}
    for name in request.numbers:
        made[column_of(name)] = columns.numbers(parse_column(name, "Request"))[rows]
    for name in request.new:
        made[column_of(f"new_{name}")] = _new(columns, request.by, name)[rows]
    read = {name for derived in request.derived for name in features_of(derived.expression)}
    known: dict[str, Floats] = {name: _floats(table[name]) for name in read - made.keys()} | made
    with np.errstate(all="ignore"):
        for derived in request.derived:
            made[f"{PREFIX}{derived.name}"] = calculate(derived.expression, known)
    for name, values in made.items():
        array = pa.array(values, mask=np.isnan(values))
        table = table.add_column(table.column_names.index(AS_OF), name, array)
    return table


def _rows(events: pa.Table, table: pa.Table, known_at: datetime | None) -> npt.NDArray[np.int64]:
    """Where the table's rows stand among the events; of several, the first by id."""
    frame = pd.DataFrame(
        {
            ENTITY: events[ENTITY].to_pandas(),
            "at": microseconds(events["event_timestamp"]),
            "event_id": events["event_id"].to_pandas(),
        }
    )
    if known_at is not None:
        frame = frame[counting(events, known_at).to_pandas()]
    frame = frame.dropna(subset=[ENTITY]).sort_values("event_id", kind="stable")
    frame = frame.drop_duplicates([ENTITY, "at"])
    wanted = pd.MultiIndex.from_arrays(
        [table[ENTITY].to_pandas(), microseconds(table[AS_OF].cast(TIMESTAMP))]
    )
    place = pd.MultiIndex.from_frame(frame[[ENTITY, "at"]]).get_indexer(wanted)
    if (place < 0).any():
        raise ConfigError(
            f"{int((place < 0).sum())} rows to score are no event of the stream; build spine and "
            "features from the same version of the events"
        )
    return frame.index.to_numpy()[place]


def _new(columns: EventColumns, by: str, name: str) -> Floats:
    """Per event 1, 0 or NaN: whether nothing known before it had its text."""
    texts = columns.texts(parse_column(name, "Request")).codes
    owners = columns.texts(parse_column(by, "Request")).codes
    pairs = owners * (int(texts.max(initial=0)) + 1) + texts
    #: An event is known to a later one from its own instant on, that excluded, or once it arrived.
    since = np.maximum(columns.at + 1, columns.created)
    group = np.unique(pairs, return_inverse=True)[1]
    known = _begun(group, since, columns.at)
    if columns.replaced is not None:
        known -= _begun(group, np.maximum(since, columns.replaced), columns.at)
    return np.where((texts < 0) | (owners < 0), np.nan, (known == 0).astype(np.float64))


def _begun(group: Integers, since: Integers, at: Integers) -> Integers:
    """Per row, of how many rows of its group the time begins by the row's instant."""
    timeline = Timeline(since, len(group))
    keys = np.sort(timeline.keys(group, since))
    before = np.searchsorted(keys, timeline.places(group, np.full_like(at, np.iinfo(np.int64).min)))
    return np.searchsorted(keys, timeline.places(group, at + 1)) - before


def _floats(column: pa.ChunkedArray) -> Floats:
    values: Floats = column.cast(pa.float64()).to_numpy()
    return values
