"""Rows of a slice in bounded batches, with the derived columns that checks read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from include.quality.suites import OCCURRENCE, SUBJECT

BATCH_ROWS: Final = 100_000


@dataclass
class Occurrences:
    """Tells the first row of an `event_id` from its repeats, along one pass over a slice."""

    first: Mapping[str, datetime]  #: ids that stand there more than once → earliest arrival
    _seen: set[str] = field(default_factory=set)

    def count(self, rows: pa.Table) -> pa.Array:
        """1 for the earliest row with its id, 2 for the others; a tie goes to the first read."""
        if not self.first:
            return pa.repeat(pa.scalar(1, pa.int64()), rows.num_rows)
        repeated = pc.is_in(rows["event_id"], value_set=pa.array(list(self.first), pa.string()))
        counts = [1] * rows.num_rows
        # by numpy, as `pc.indices_nonzero` crashes on a mask of no rows
        for position in np.flatnonzero(repeated.to_numpy()).tolist():
            event_id = rows["event_id"][position].as_py()
            created = rows["created_timestamp"][position].as_py()
            if event_id in self._seen or created > self.first[event_id]:
                counts[position] = 2
            else:
                self._seen.add(event_id)
        return pa.array(counts, pa.int64())


def batches(rows: ds.Dataset, size: int = BATCH_ROWS) -> Iterator[pa.Table]:
    """The rows in a stable order, at most `size` at a time."""
    scanner = rows.scanner(batch_size=min(size, 65_536), batch_readahead=2, fragment_readahead=1)
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in scanner.to_batches():
        while batch.num_rows:
            taken = batch.slice(0, size - count)
            held.append(taken)
            count += taken.num_rows
            batch = batch.slice(taken.num_rows)
            if count == size:
                yield pa.Table.from_batches(held)
                held, count = [], 0
    if held:
        yield pa.Table.from_batches(held)


def prepared(rows: pa.Table, occurrences: Occurrences) -> pa.Table:
    """The rows with the derived columns that checks read.

    NaN becomes infinity: pandas, and with it Great Expectations, would take NaN for "no value".
    """
    for name in ("quantity", "amount"):
        if name in rows.column_names:
            numbers = rows[name]
            finite = pc.if_else(pc.is_nan(numbers), pa.scalar(float("inf")), numbers)
            rows = rows.set_column(rows.schema.get_field_index(name), name, finite)
    if "user_id" in rows.column_names:
        subject = pc.coalesce(rows["user_id"], rows["account_id"], rows["item_id"])
        rows = rows.append_column(SUBJECT, subject)
    return rows.append_column(OCCURRENCE, occurrences.count(rows))


def readable(rows: pa.Table) -> list[dict[str, Any]]:
    """Rows as JSON-ready dicts; instants as text, since they can be beyond what Python holds."""
    for position, column in enumerate(rows.schema):
        if pa.types.is_timestamp(column.type):
            text = rows[column.name].cast(pa.string())
            rows = rows.set_column(position, column.name, text)
    content: list[dict[str, Any]] = rows.to_pylist()
    return content
