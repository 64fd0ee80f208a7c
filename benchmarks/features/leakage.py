"""Generated cases on every engine: does anything leak, is the spine kept, do the engines agree?

A case is one user with events and facts of its own and one spine row (`cases`). Every engine
computes 71 features of each, three times: as generated; without the rows that `as_of` cannot know;
and with those rows altered and more of them added. A case leaks if any feature differs between the
three. The engines' answers are compared with the reference's: counts and order statistics to the
bit, sums to 1e-9, relatively. The online store materializes in steps up to a while before `as_of`,
late rows in between, and is told of everything else as it arrives.

    python -m benchmarks.features.leakage [--cases 10000] [--json FILE]
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Final

import pyarrow as pa

from benchmarks.features.cases import (
    SERVICE,
    SUMMED,
    ZONE,
    Cases,
    Row,
    event_table,
    fact_table,
    generate,
)
from benchmarks.features.rounds import Report, limit_threads, options
from include.features import in_memory, vectorized
from include.features.engine import Engine
from include.features.spine import Spine

REFERENCE: Final = "in_memory"
#: From batches of cases to one table, rows in the order of the batches' spines.
Compute = Callable[[Sequence[Cases]], pa.Table]


def main(arguments: Sequence[str] | None = None) -> int:
    """Count over every engine."""
    parser = options(__doc__, cases=10_000)
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=list(ENGINES))
    wanted = parser.parse_args(arguments)
    limit_threads(wanted.threads)
    batches = generate(wanted.cases, wanted.seed)
    hidden = [one.knowable() for one in batches]
    altered = [one.tampered() for one in batches]
    rows = sum(len(one.events) for one in batches)
    unknowable = rows - sum(len(one.events) for one in hidden)
    report = Report(f"leakage: {wanted.cases:,} cases per engine, seed {wanted.seed}")
    report.note("events", rows)
    report.note("of these unknowable at as_of", unknowable)
    report.note("features", len(SERVICE.columns))
    expected = of_module(in_memory)(batches)
    for name in wanted.engines:
        with ExitStack() as stack:
            compute = ENGINES[name](stack)
            started = time.perf_counter()
            given, without, tampered = (compute(one) for one in (batches, hidden, altered))
            seconds = time.perf_counter() - started
        kept = kept_in_order(given, batches)
        leaks = set(differing(given, without)) | set(differing(given, tampered))
        report.judge(f"{name}, cases a row unknown at as_of influenced", len(leaks), "<= 0")
        report.judge(f"{name}, share of the spine kept in order", kept / wanted.cases, ">= 1")
        apart = differing(given, expected)
        report.judge(f"{name}, cases that differ from {REFERENCE}", len(apart), "<= 0")
        for row, column in list(apart.items())[:5]:
            values = (table[column][row].as_py() for table in (given, expected))
            print("    {} row {}: {} is {!r}, expected {!r}".format(name, row, column, *values))
        report.note(f"{name}, seconds for three times all cases", round(seconds, 1))
    return report.finish(wanted.json)


def of_module(engine: Engine) -> Compute:
    """An engine that answers all cases in one call."""

    def compute(batches: Sequence[Cases]) -> pa.Table:
        spine = pa.concat_tables([one.spine() for one in batches])
        events = event_table([row for one in batches for row in one.events])
        facts = fact_table(list(_once(row for one in batches for row in one.facts)))
        return engine.compute(SERVICE, Spine(spine), events, facts, ZONE)

    return compute


def _spark(stack: ExitStack) -> Compute:
    from include.features import spark

    session = spark.local_session()
    stack.callback(session.stop)
    return of_module(spark)


ENGINES: Final[dict[str, Callable[[ExitStack], Compute]]] = {
    REFERENCE: lambda _: of_module(in_memory),
    "vectorized": lambda _: of_module(vectorized),
    "spark": _spark,
}


def kept_in_order(table: pa.Table, batches: Sequence[Cases]) -> int:
    """How many spine rows stand where they were asked for."""
    spine = pa.concat_tables([one.spine() for one in batches])
    if len(table) != len(spine):
        return 0
    asked, given = spine.to_pylist(), table.select(spine.column_names).to_pylist()
    return sum(a == b for a, b in zip(asked, given, strict=True))


def differing(left: pa.Table, right: pa.Table) -> dict[int, str]:
    """Row → the first feature in which the tables differ by more than they may."""
    found: dict[int, str] = {}
    for name in SERVICE.columns:
        a, b = left[name].combine_chunks(), right[name].combine_chunks()
        if a.type == b.type and a.equals(b):
            continue
        for row, values in enumerate(zip(a.to_pylist(), b.to_pylist(), strict=True)):
            if not _equal(*values, exactly=name not in SUMMED):
                found.setdefault(row, name)
    return found


def _equal(a: Any, b: Any, *, exactly: bool) -> bool:
    if type(a) is not type(b):
        return False
    if a == b:
        return True
    return not exactly and isinstance(a, float) and math.isclose(a, b, rel_tol=1e-9)


def _once(facts: Iterator[Row]) -> Iterator[Row]:
    """Facts of items are in every batch."""
    seen: set[str] = set()
    for fact in facts:
        if fact["event_id"] not in seen:
            seen.add(fact["event_id"])
            yield fact


if __name__ == "__main__":
    sys.exit(main())
