"""Rows of a slice in bounded batches: the derived columns, and which rows a check sets aside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from include.errors import ConfigError
from include.quality.suites import (
    BETWEEN,
    IN_SET,
    LENGTH,
    NOT_BEFORE,
    NOT_NULL,
    OCCURRENCE,
    SUBJECT,
    Expectation,
)

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
        for position in positions(repeated):
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


def unexpected(check: Expectation, rows: pa.Table) -> pa.ChunkedArray:
    """True where a row does not meet a check, by the meaning Great Expectations gives it.

    A null meets every check but the one for nulls. The stage compares the count with Great
    Expectations' own and refuses to go on where the two differ.
    """
    low, high = check.kwargs.get("min_value"), check.kwargs.get("max_value")
    if check.type == NOT_NULL:
        return pc.is_null(rows[check.column])
    if check.type == BETWEEN:
        return _outside(rows[check.column], low, high)
    if check.type == LENGTH:
        return _outside(pc.utf8_length(rows[check.column]), low, high)
    if check.type == IN_SET:
        values = pa.array(check.kwargs["value_set"], rows[check.column].type)
        foreign = pc.invert(pc.is_in(rows[check.column], value_set=values))
        return pc.and_(foreign, pc.is_valid(rows[check.column]))
    if check.type == NOT_BEFORE:
        later = pc.less(rows[check.kwargs["column_A"]], rows[check.kwargs["column_B"]])
        return pc.fill_null(later, False)
    raise ConfigError(f"check {check.name}: rows cannot be set aside by {check.type}")


def reasons(checks: Sequence[Expectation], rows: pa.Table) -> list[str]:
    """For each row, the names of the checks it fails, joined by commas; empty for a good row."""
    found: list[list[str]] = [[] for _ in range(rows.num_rows)]
    for check in checks:
        for position in positions(unexpected(check, rows)):
            found[position].append(check.name)
    return [", ".join(names) for names in found]


def positions(mask: pa.ChunkedArray) -> list[int]:
    """Where the mask is true; by numpy, as `pc.indices_nonzero` crashes on a mask of no rows."""
    found: list[int] = np.flatnonzero(mask.to_numpy()).tolist()
    return found


def set_aside(checks: Sequence[Expectation], rows: pa.Table) -> pa.ChunkedArray:
    """True where a row fails at least one of the checks."""
    failed = pa.chunked_array([pa.repeat(pa.scalar(False), rows.num_rows)])
    for check in checks:
        failed = pc.or_(failed, unexpected(check, rows))
    return failed


def _outside(values: pa.ChunkedArray, low: object, high: object) -> pa.ChunkedArray:
    outside = pc.and_(pc.is_null(values), pa.scalar(False))
    for limit, beyond in ((low, pc.less), (high, pc.greater)):
        if limit is not None:
            bound = pa.scalar(limit).cast(values.type)
            outside = pc.or_(outside, pc.fill_null(beyond(values, bound), False))
    return outside
