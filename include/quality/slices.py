"""One source's slice, row by row: judged, then split into rows accepted and rows set aside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from include.errors import IntegrityError
from include.handoffs import Interval
from include.quality import results, rows, suites
from include.quality.great_expectations_adapter import Evaluator
from include.quality.results import Result, SetAside
from include.quality.suites import Expectation, Outcome

SHOWN: Final = 20  #: rows set aside that the report shows of each source


@dataclass(frozen=True)
class Slice:
    """One source's slice, judged row by row."""

    source: str
    kind: str  #: `events` or `attributes`
    interval: Interval
    landed: ds.Dataset
    repeated: Mapping[str, datetime]  #: see `landing.repeated_ids`
    rows: int = 0
    set_aside: int = 0
    results: tuple[Result, ...] = ()
    shown: tuple[SetAside, ...] = ()  #: the first rows set aside

    @property
    def suite(self) -> str:
        """Name of the suite in results and report."""
        return f"{self.kind}.{self.source}"

    @property
    def row_checks(self) -> tuple[Expectation, ...]:
        """Checks of every row."""
        if self.kind == "events":
            return suites.event_row_checks()
        return suites.attribute_row_checks()

    def judged(self) -> Iterator[tuple[pa.Table, pa.Table]]:
        """Batches as they landed, each with the same rows as checks read them."""
        occurrences = rows.Occurrences(self.repeated)
        for batch in rows.batches(self.landed):
            yield batch, rows.prepared(batch, occurrences)


def judge(slice_: Slice, evaluator: Evaluator) -> Slice:
    """Evaluate the row checks batch by batch, and add up."""
    checks = slice_.row_checks
    quarantining = suites.quarantining(checks)
    totals = [Outcome()] * len(checks)
    count = bad = 0
    shown: list[SetAside] = []
    for batch, prepared in slice_.judged():
        outcomes = evaluator.evaluate(prepared.to_pandas(), checks)
        for one, outcome in zip(checks, outcomes, strict=True):
            _agree(slice_, one, outcome, prepared)
        totals = [total + outcome for total, outcome in zip(totals, outcomes, strict=True)]
        readable = [
            one
            for one, outcome in zip(checks, outcomes, strict=True)
            if one in quarantining and not outcome.error
        ]
        mask = rows.set_aside(readable, prepared)
        if len(shown) < SHOWN:
            shown += _rows_set_aside(batch, prepared, mask, readable, count)
            del shown[SHOWN:]
        bad += int(pc.sum(mask).as_py() or 0)
        count += batch.num_rows
    found = tuple(
        Result.of(slice_.suite, one, total, {})
        for one, total in zip(checks, totals, strict=True)
        if count  # of no rows, nothing was evaluated
    )
    return replace(slice_, rows=count, set_aside=bad, results=found, shown=tuple(shown))


def _agree(slice_: Slice, one: Expectation, outcome: Outcome, prepared: pa.Table) -> None:
    """Refuse to set rows aside by a reading of a check that Great Expectations does not share."""
    if one.severity != "quarantine" or outcome.error:
        return
    ours = int(pc.sum(rows.unexpected(one, prepared)).as_py() or 0)
    if ours != outcome.unexpected_count:
        raise IntegrityError(
            f"check {one.name} of {slice_.suite}: {outcome.unexpected_count} rows are unexpected "
            f"to Great Expectations, {ours} to include/quality/rows.py; correct `unexpected` there"
        )


def accepted(slice_: Slice) -> Iterator[pa.RecordBatch]:
    quarantining = suites.quarantining(slice_.row_checks)
    for batch, prepared in slice_.judged():
        good = pc.invert(rows.set_aside(quarantining, prepared))
        yield from batch.filter(good).to_batches()


def set_aside(slice_: Slice) -> Iterator[SetAside]:
    if not slice_.set_aside:
        return
    quarantining = suites.quarantining(slice_.row_checks)
    count = 0
    for batch, prepared in slice_.judged():
        mask = rows.set_aside(quarantining, prepared)
        yield from _rows_set_aside(batch, prepared, mask, quarantining, count)
        count += batch.num_rows


def _rows_set_aside(
    batch: pa.Table,
    prepared: pa.Table,
    mask: pa.ChunkedArray,
    quarantining: Sequence[Expectation],
    offset: int,
) -> list[SetAside]:
    numbers = rows.positions(mask)
    if not numbers:
        return []
    why = rows.reasons(quarantining, prepared.take(numbers))
    content = results.readable_rows(batch.take(numbers))
    return [
        SetAside(offset + number, reason, row)
        for number, reason, row in zip(numbers, why, content, strict=True)
    ]
