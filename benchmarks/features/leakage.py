"""Generated cases on every engine: does anything leak, is the spine kept, do the engines agree?

A case is one user with events and facts of its own and one spine row (`cases`). Every engine
computes 71 features of each, three times: as generated; without the rows that `as_of` cannot know;
and with those rows altered and more of them added. A case leaks if any feature differs between the
three. The engines' answers are compared with the reference's: counts and order statistics to the
bit, all else to 1e-9, relatively. The online store materializes in two steps, the second up to
`as_of` or a while before it, and is told of rows between the steps and after them; it has all rows
at hand in each step, also those that are not known yet.

    python -m benchmarks.features.leakage [--cases 10000] [--json FILE]
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import timedelta
from itertools import count
from typing import Any, Final

import pyarrow as pa

from benchmarks.features.cases import (
    EXACT,
    SERVICE,
    ZONE,
    Cases,
    Row,
    event_table,
    fact_table,
    generate,
)
from benchmarks.features.rounds import Report, limit_threads, options
from benchmarks.features.server import running_postgres
from include.features import in_memory, vectorized
from include.features.engine import Engine
from include.features.spine import Spine
from include.stores.postgres.online import PostgresOnlineStore
from include.tenants.namespace import TenantRef

REFERENCE: Final = "in_memory"
#: How long before `as_of` the online store materializes, twice; one pair per instant in turn.
STEPS: Final = (
    (timedelta(days=40), timedelta(hours=1)),
    (timedelta(days=400), timedelta(0)),
    (timedelta(days=3), timedelta(microseconds=1)),
    (timedelta(days=399), timedelta(days=398)),
)
_USERS_PER_READ: Final = 100
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
        for column, row in list({column: row for row, column in apart.items()}.items())[:5]:
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


def _online(stack: ExitStack) -> Compute:
    stack.enter_context(running_postgres())
    numbers = count()

    def compute(batches: Sequence[Cases]) -> pa.Table:
        found = []
        for place, one in enumerate(batches):
            tenant = TenantRef(f"cases-{next(numbers)}", "local", "pool")
            found.append(_read_online(tenant, one, *STEPS[place % len(STEPS)]))
        return pa.concat_tables(found)

    return compute


def _read_online(tenant: TenantRef, cases: Cases, *steps: timedelta) -> pa.Table:
    store = PostgresOnlineStore()
    events = event_table([row | {"tenant_id": tenant.id} for row in cases.events])
    facts = fact_table([row | {"tenant_id": tenant.id} for row in cases.facts])
    for age in steps:
        store.materialize(tenant, SERVICE.views, ZONE, cases.as_of - age, events, facts)
        store.append(tenant, events.slice(0, len(events) // 2), facts.slice(0, len(facts) // 2))
    store.append(tenant, events, facts)
    reader = store.reader(tenant, SERVICE)
    parts = []
    for start in range(0, len(cases.users), _USERS_PER_READ):
        users = cases.users[start : start + _USERS_PER_READ]
        answer = reader.read({"user_id": users}, cases.as_of)
        if answer.stale:
            raise RuntimeError(f"the online store did not answer: {answer.stale}")
        parts.append(answer.table)
    return pa.concat_tables(parts)


ENGINES: Final[dict[str, Callable[[ExitStack], Compute]]] = {
    REFERENCE: lambda _: of_module(in_memory),
    "vectorized": lambda _: of_module(vectorized),
    "spark": _spark,
    "online": _online,
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
            if not _equal(*values, exactly=name in EXACT):
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
