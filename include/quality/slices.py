"""One source's slice, row by row: judged, then split into rows accepted and rows set aside.

Great Expectations alone says which rows fail a check. What it said of a batch is kept as numbers
of rows, and the batches, which come in a stable order, are split by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.dataset as ds

from include.handoffs import Interval
from include.quality import rows
from include.quality.checks import FailedRow, Result
from include.quality.great_expectations_adapter import Evaluator
from include.quality.suites import Check, Outcome

SHOWN: Final = 20  #: rows set aside that the report shows of each source


@dataclass(frozen=True)
class FailedRows:
    """The rows of one batch that fail a check that sets rows aside."""

    checks: tuple[str, ...]
    rows: npt.NDArray[np.int64]  #: numbers within the batch, ascending
    bits: npt.NDArray[np.uint64]  #: for each of these rows, bit i where it fails the i-th check

    @classmethod
    def of(cls, checks: Sequence[Check], outcomes: Sequence[Outcome], rows: int) -> FailedRows:
        """What the outcomes say of a batch of so many rows."""
        decisive = [
            (check.name, outcome)
            for check, outcome in zip(checks, outcomes, strict=True)
            if check.severity == "quarantine"
        ]
        bits = np.zeros(rows, dtype=np.uint64)
        for place, (_, outcome) in enumerate(decisive):
            bits[list(outcome.unexpected)] |= np.uint64(1 << place)
        failed = np.flatnonzero(bits)
        return cls(tuple(name for name, _ in decisive), failed, bits[failed])

    def reasons(self) -> list[str]:
        """For each row, the names of the checks that it fails, joined by commas."""
        return [
            ", ".join(name for place, name in enumerate(self.checks) if bits >> place & 1)
            for bits in self.bits.tolist()
        ]

    def first(self, count: int) -> FailedRows:
        """The same of the first rows only."""
        return replace(self, rows=self.rows[:count], bits=self.bits[:count])


@dataclass(frozen=True)
class CheckedSlice:
    """One source's slice, judged row by row."""

    source: str
    kind: str  #: `events` or `attributes`
    interval: Interval
    landed: ds.Dataset
    repeated: Mapping[str, datetime]  #: see `landing.repeated_ids`
    row_checks: tuple[Check, ...]  #: checks of every row
    rows: int = 0
    set_aside: int = 0
    results: tuple[Result, ...] = ()
    shown: tuple[FailedRow, ...] = ()  #: the first rows set aside
    failed: tuple[FailedRows, ...] = ()  #: by batch

    @property
    def suite(self) -> str:
        """Name of the suite in results and report."""
        return f"{self.kind}.{self.source}"


def judge(slice_: CheckedSlice, evaluator: Evaluator) -> CheckedSlice:
    """Evaluate the row checks batch by batch, and add up."""
    checks = slice_.row_checks
    totals = [Outcome()] * len(checks)
    occurrences = rows.Occurrences(slice_.repeated)
    failed: list[FailedRows] = []
    shown: list[FailedRow] = []
    count = 0
    for batch in rows.batches(slice_.landed):
        frame = rows.prepared(batch, occurrences).to_pandas(ignore_metadata=True)
        outcomes = evaluator.evaluate(frame, checks)
        totals = [total + outcome for total, outcome in zip(totals, outcomes, strict=True)]
        failed.append(FailedRows.of(checks, outcomes, batch.num_rows))
        shown += _rows_set_aside(batch, failed[-1].first(SHOWN - len(shown)), count)
        count += batch.num_rows
    totalled = tuple(
        one.result(slice_.suite, total, {})
        for one, total in zip(checks, totals, strict=True)
        if count  # without rows, nothing was evaluated
    )
    return replace(
        slice_,
        rows=count,
        set_aside=sum(len(one.rows) for one in failed),
        results=totalled,
        shown=tuple(shown),
        failed=tuple(failed),
    )


def accepted(slice_: CheckedSlice) -> Iterator[pa.RecordBatch]:
    """The rows of a judged slice that fail no check."""
    for batch, failed in _split(slice_):
        good = np.ones(batch.num_rows, dtype=bool)
        good[failed.rows] = False
        yield from batch.filter(pa.array(good)).to_batches()


def set_aside(slice_: CheckedSlice) -> Iterator[FailedRow]:
    """The rows of a judged slice that fail a check, each with its reason."""
    if not slice_.set_aside:
        return
    count = 0
    for batch, failed in _split(slice_):
        yield from _rows_set_aside(batch, failed, count)
        count += batch.num_rows


def _split(slice_: CheckedSlice) -> Iterator[tuple[pa.Table, FailedRows]]:
    return zip(rows.batches(slice_.landed), slice_.failed, strict=True)


def _rows_set_aside(batch: pa.Table, failed: FailedRows, offset: int) -> list[FailedRow]:
    content = rows.readable(batch.take(pa.array(failed.rows)))
    return [
        FailedRow(offset + number, reason, row)
        for number, reason, row in zip(failed.rows.tolist(), failed.reasons(), content, strict=True)
    ]
