"""What the port to checks promises, on its twin in memory and on the real Postgres."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from include.handoffs import Interval
from include.incidents import Incident, Incidents
from include.quality.checks import Checks, FailedRow, Inspection, Result, Summary, UnacceptedRows
from include.stores.memory import in_memory
from include.stores.postgres import in_postgres
from include.tenants.namespace import TenantRef
from tests.unused import unused

pytestmark = pytest.mark.integration

START = datetime(2024, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
LOSS = Incident("data_loss", "", START, "Rows are missing", {"outages": []})


@dataclass
class Kept:
    """A port under test, with the port that its incidents are read by."""

    checks: Checks
    incidents: Incidents


@pytest.fixture(params=["memory", "postgres"])
def kept(request: pytest.FixtureRequest) -> Kept:
    """Each of the two in turn."""
    if request.param == "memory":
        stores = in_memory()
    else:
        request.getfixturevalue("database")
        stores = in_postgres()
    return Kept(stores.checks, stores.incidents)


@pytest.fixture
def tenant() -> TenantRef:
    """A tenant that no other test has used."""
    return TenantRef(unused("cleo"), "eu", "pool")


def days(first: int, end: int) -> Interval:
    """Days `[first, end)` of January."""
    return Interval(START + first * DAY, START + end * DAY)


def result(**changes: Any) -> Result:
    """A check that was met, or what `changes` make of it."""
    met = Result("events.pos", "amount.sane", "quarantine", "expect_it", True, 0, 9, {})
    return replace(met, **changes)


def inspection(interval: Interval, *results: Result) -> Inspection:
    """What the results make; by default, one check was met."""
    return Inspection(interval, results or (result(),), f"reports/{interval.end:%Y-%m-%d}.html")


def row(day: float, number: int = 0, **content: Any) -> FailedRow:
    """A row that arrived on a day of January."""
    arrived = f"{START + day * DAY:%Y-%m-%d %H:%M:%S.%f}Z"
    return FailedRow(number, "amount.sane", {"created_timestamp": arrived, **content})


def test_an_inspection_is_on_record_once(kept: Kept, tenant: TenantRef) -> None:
    """Inspected again, the interval has what was found last, and nothing more."""
    week, before = days(7, 14), days(0, 7)
    first = inspection(week, result(check="b"), result(check="a"), result(suite="a"))
    kept.checks.record(tenant, first, [], [])
    kept.checks.record(tenant, inspection(before), [], [])
    again = inspection(week, result(check="a", success=False, unexpected_count=2), result())
    kept.checks.record(tenant, again, [], [])
    assert kept.checks.inspections(tenant) == [inspection(before), again]
    other = TenantRef(f"{tenant.id}-b", "eu", "pool")
    assert kept.checks.inspections(other) == []


def test_results_come_back_as_json_keeps_them(kept: Kept, tenant: TenantRef) -> None:
    """No number is a word, NUL is spelled, and arguments of the expectation are not kept."""
    observed = {"value": math.nan, "error": "a\x00b", "deep": {"share": math.inf}, "rows": 3}
    written = result(observed=observed, arguments={"max_value": 9})
    kept.checks.record(tenant, inspection(days(0, 7), written), [], [])
    ((found,),) = (one.results for one in kept.checks.inspections(tenant))
    spelled = {"value": "nan", "error": "a\\u0000b", "deep": {"share": "inf"}, "rows": 3}
    assert found == result(observed=spelled)
    assert found.arguments == {}


def test_a_summary_tells_what_failed(kept: Kept, tenant: TenantRef) -> None:
    """One for each end of an interval, oldest first; a week and its last day share it."""
    failed = result(check="b", success=False, severity="warn")
    kept.checks.record(tenant, inspection(days(7, 14), result(check="a"), failed), [], [])
    kept.checks.record(
        tenant, inspection(days(13, 14), replace(failed, suite="attributes.x")), [], []
    )
    kept.checks.record(tenant, inspection(days(0, 7)), [], [])
    assert kept.checks.summaries(tenant) == [
        Summary(days(0, 7).end, 1, "", "reports/2024-01-08.html"),
        Summary(
            days(7, 14).end,
            3,
            "attributes.x.b (warn), events.pos.b (warn)",
            "reports/2024-01-15.html",
        ),
    ]


def test_incidents_are_written_along(kept: Kept, tenant: TenantRef) -> None:
    """They stand where all incidents do, each in the place of its former self."""
    kept.checks.record(tenant, inspection(days(0, 7)), [LOSS], [])
    over = replace(LOSS, summary="All is back", closed_at=START + DAY)
    kept.checks.record(tenant, inspection(days(0, 7)), [over, replace(LOSS, as_of=START + DAY)], [])
    found = kept.incidents.of_kind(tenant, "data_loss")
    assert found == [over, replace(LOSS, as_of=START + DAY)]


def test_rows_of_a_slice_are_replaced_by_their_arrival(kept: Kept, tenant: TenantRef) -> None:
    """A slice inside a longer one replaces its days only, and the longer one replaces all."""
    long, week = days(0, 70), days(28, 35)
    record(kept.checks, tenant, long, [row(1, 0), row(28, 1), row(34.9, 2), row(35, 3)])
    record(kept.checks, tenant, week, [row(30, 0, amount=math.inf)])
    assert kept.checks.set_aside(tenant, "pos") == [
        row(1, 0),
        row(35, 3),
        row(30, 0, amount="inf"),
    ]
    assert kept.checks.set_aside(tenant, "web") == []
    record(kept.checks, tenant, long, [row(2, 4)])
    assert kept.checks.set_aside(tenant, "pos") == [row(2, 4)]
    kept.checks.record(tenant, inspection(long), [], [])  # refused: rows stay as they were
    assert kept.checks.set_aside(tenant, "pos") == [row(2, 4)]


def test_a_renamed_source_has_its_results_and_rows(kept: Kept, tenant: TenantRef) -> None:
    """What it has by the name already stays, other suites and tenants do, and twice is once."""
    other = TenantRef(f"{tenant.id}-b", "eu", "pool")
    for owner in (tenant, other):
        of = {
            name: result(suite=f"events.{name}", element_count=len(name))
            for name in ("pos", "till")
        }
        shared = result(suite="needs.churn")
        facts = result(suite="attributes.pos")
        kept.checks.record(
            owner,
            inspection(days(0, 7), of["pos"], facts, shared),
            [],
            [UnacceptedRows("pos", days(0, 7), [row(1)])],
        )
        kept.checks.record(
            owner,
            inspection(days(7, 14), of["pos"], of["till"]),
            [],
            [
                UnacceptedRows("pos", days(7, 14), [row(8)]),
                UnacceptedRows("till", days(7, 14), [row(9)]),
            ],
        )
    before = kept.checks.inspections(other)
    assert kept.checks.judged(tenant) == {
        *((suite, days(0, 7)) for suite in ("events.pos", "attributes.pos", "needs.churn")),
        *((suite, days(7, 14)) for suite in ("events.pos", "events.till")),
    }
    for _ in range(2):
        kept.checks.rename(tenant, "pos", "till")
    found = [
        [(one.suite, one.element_count) for one in checked.results]
        for checked in kept.checks.inspections(tenant)
    ]
    assert found == [
        [("attributes.till", 9), ("events.till", 3), ("needs.churn", 9)],
        [("events.till", 4)],
    ]
    assert kept.checks.set_aside(tenant, "till") == [row(1), row(9)]
    assert kept.checks.set_aside(tenant, "pos") == []
    assert kept.checks.inspections(other) == before
    assert kept.checks.set_aside(other, "pos") == [row(1), row(8)]


def test_all_is_on_record_or_nothing(kept: Kept, tenant: TenantRef) -> None:
    """Rows that cannot be read to their end leave everything as it was."""
    record(kept.checks, tenant, days(0, 7), [row(1)])

    def broken() -> Iterator[FailedRow]:
        yield row(2)
        raise OSError("the lake is gone")

    with pytest.raises(OSError, match="the lake is gone"):
        kept.checks.record(
            tenant,
            inspection(days(0, 7), result(check="new")),
            [LOSS],
            [
                UnacceptedRows("web", days(0, 7), [row(3)]),
                UnacceptedRows("pos", days(0, 7), broken()),
            ],
        )
    assert kept.checks.inspections(tenant) == [inspection(days(0, 7))]
    assert kept.checks.set_aside(tenant, "pos") == [row(1)]
    assert kept.checks.set_aside(tenant, "web") == []
    assert kept.incidents.of_kind(tenant, "data_loss") == []


def record(checks: Checks, tenant: TenantRef, interval: Interval, rows: list[FailedRow]) -> None:
    """Put rows of the source `pos` on record, and one check."""
    checks.record(tenant, inspection(interval), [], [UnacceptedRows("pos", interval, rows)])


def test_both_answer_alike_whatever_was_found(database: Any, tenant: TenantRef) -> None:
    """Inspections drawn at random: the twin says of them what Postgres says."""
    twins: tuple[Checks, ...] = (in_memory().checks, in_postgres().checks)
    draw = Random(7)
    for _ in range(60):
        first = draw.randrange(10)
        interval = days(first, first + draw.choice((1, 1, 3)))
        results = [
            result(suite=suite, check=check, success=draw.random() < 0.5)
            for suite in draw.sample(("a", "b"), k=draw.randrange(3))
            for check in draw.sample(("x", "y", "z"), k=draw.randrange(1, 3))
        ]
        length = (interval.end - interval.start) / DAY
        rows = [row(first + draw.random() * length, n) for n in range(draw.randrange(4))]
        found = Inspection(interval, tuple(results), f"{draw.randrange(5)}.html")
        for twin in twins:
            twin.record(tenant, found, [], [UnacceptedRows("pos", interval, rows)])
        assert twins[0].inspections(tenant) == twins[1].inspections(tenant)
        assert twins[0].set_aside(tenant, "pos") == twins[1].set_aside(tenant, "pos")
        assert twins[0].summaries(tenant) == twins[1].summaries(tenant)
