"""What the port to slices promises, on its twin in memory and on the real Postgres."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from include.handoffs import Interval
from include.ingestion.slices import (
    NOT_KEPT,
    Counted,
    Rejected,
    Remaining,
    SetAside,
    Slice,
    Slices,
)
from include.stores.memory.slices import InMemorySlices
from include.stores.postgres.slices import PostgresSlices
from include.tenants.namespace import TenantRef
from tests.unused import unused

pytestmark = pytest.mark.integration

START = datetime(2024, 1, 1, tzinfo=UTC)
WEEK = timedelta(days=7)


@pytest.fixture(params=["memory", "postgres"])
def slices(request: pytest.FixtureRequest) -> Slices:
    """Each of the two in turn."""
    if request.param == "memory":
        return InMemorySlices()
    request.getfixturevalue("database")
    return PostgresSlices()


@pytest.fixture
def tenant() -> TenantRef:
    """A tenant that no other test has used."""
    return TenantRef(unused("sara"), "eu", "pool")


def week(number: int, length: int = 1) -> Interval:
    """The week that starts `number` weeks after the first, or several."""
    return Interval(START + number * WEEK, START + (number + length) * WEEK)


def delivered(number: int = 0, **changes: Any) -> Slice:
    """A slice of a week, or what `changes` make of it."""
    return replace(Slice("pos", week(number), 10, 2, 1, 7), **changes)


def counted(*numbers: int, more: int = 0, reason: str = "no id") -> Counted:
    """Rows set aside with these numbers, and more that are only counted."""
    rows = [row(number, reason) for number in numbers]
    return Counted(rows, Counter({reason: len(rows) + more} if rows or more else {}))


def row(number: int, reason: str = "no id") -> SetAside:
    """A row whose content is its number."""
    return SetAside(number, reason, json.dumps({"id": str(number), "n": None}))


def test_a_slice_is_on_record_once(slices: Slices, tenant: TenantRef) -> None:
    """Recorded again it is replaced whole, with the rows that were set aside of it."""
    slices.record(tenant, delivered(1), Rejected())
    slices.record(tenant, delivered(0), Rejected(counted(3, 1)))
    assert slices.set_aside(tenant, "pos") == [row(1), row(3)]
    again = slices.record(tenant, delivered(0, rows=4, table_version=9), Rejected(counted(2)))
    assert again == delivered(0, rows=4, table_version=9, quarantined=1)
    assert slices.recorded(tenant) == [again, delivered(1)]
    assert slices.set_aside(tenant, "pos") == [row(2)]


def test_slices_are_told_by_source_and_interval(slices: Slices, tenant: TenantRef) -> None:
    """A longer slice, another source and another tenant stand beside each other."""
    other = TenantRef(f"{tenant.id}-b", "eu", "pool")
    for written in (delivered(1), delivered(0, source="web"), delivered(0)):
        slices.record(tenant, written, Rejected(counted(1)))
    slices.record(tenant, delivered(interval=week(0, 2)), Rejected())
    slices.record(other, delivered(0, rows=99), Rejected())
    assert [(one.source, one.interval) for one in slices.recorded(tenant)] == [
        ("pos", week(0)),
        ("pos", week(0, 2)),
        ("pos", week(1)),
        ("web", week(0)),
    ]
    assert slices.set_aside(tenant, "pos") == [row(1), row(1)]
    assert slices.set_aside(tenant, "web") == [row(1)]
    assert slices.set_aside(other, "pos") == []


def test_rows_beyond_the_limit_are_counted_in_a_line_of_their_own(
    slices: Slices, tenant: TenantRef
) -> None:
    """The line comes first and says how many there were of each reason."""
    recorded = slices.record(tenant, delivered(), Rejected(counted(1, 2, more=5)))
    assert (recorded.quarantined, recorded.undated) == (7, 0)
    line, *rows = slices.set_aside(tenant, "pos")
    assert rows == [row(1), row(2)]
    assert line.number == NOT_KEPT
    assert line.reason == "5 more rows were set aside and only counted"
    assert json.loads(line.row) == {"not_kept": 5, "reasons": {"no id": 7}}


def test_an_undated_row_counts_for_the_slice_that_met_it_first(
    slices: Slices, tenant: TenantRef
) -> None:
    """A later one counts what is new, by content; recorded again, each counts the same."""
    slices.record(tenant, delivered(0), Rejected(counted(8), counted(1, 2)))
    for number in (1, 0, 1):
        slices.record(tenant, delivered(number), Rejected(counted(8), counted(1, 2, 3)))
    counts = [(one.quarantined, one.undated) for one in slices.recorded(tenant)]
    assert counts == [(3, 2), (2, 1)]
    assert slices.set_aside(tenant, "pos") == [row(1), row(2), row(8), row(3), row(8)]
    elsewhere = slices.record(tenant, delivered(source="web"), Rejected(undated=counted(1, 2)))
    assert elsewhere.undated == 2


def test_lost_rows_become_duplicates(slices: Slices, tenant: TenantRef) -> None:
    """Only slices that are there are counted afresh, and twice is as good as once."""
    for number in (0, 1):
        slices.record(tenant, delivered(number), Rejected(counted(1)))
    for _ in range(2):
        slices.recount(tenant, "pos", [Remaining(week(0), 7, 1), Remaining(week(5), 0, 0)])
    changed = delivered(rows=7, late=1, duplicates=4, quarantined=1)
    assert slices.recorded(tenant) == [changed, delivered(1, quarantined=1)]
    slices.recount(tenant, "web", [Remaining(week(0), 0, 0)])
    assert slices.recorded(tenant)[0] == changed


def test_lost_rows_that_say_something_else_are_set_aside(slices: Slices, tenant: TenantRef) -> None:
    """They stand behind what the slice had set aside, counted once however often they are told."""
    slices.record(tenant, delivered(), Rejected(counted(4)))
    slices.record(tenant, delivered(1), Rejected())
    changed = Remaining(week(0), 7, 1, counted(0, 0, reason="changed"))
    for _ in range(2):
        slices.recount(tenant, "pos", [changed, Remaining(week(1), 9, 1, counted(0, more=0))])
    assert slices.recorded(tenant) == [
        delivered(rows=7, late=1, duplicates=2, quarantined=3),
        delivered(1, rows=9, late=1, duplicates=1, quarantined=1),
    ]
    stored = slices.set_aside(tenant, "pos")
    assert [one.number for one in stored] == [4, 5, 6, 0]
    assert [one.reason for one in stored] == ["no id", "changed", "changed", "no id"]


def test_a_slice_says_along_with_which_run_it_was_read(slices: Slices, tenant: TenantRef) -> None:
    """Counted afresh it still does; recorded by a run of its own it does not."""
    along = slices.record(tenant, delivered(0, along_with=week(3)), Rejected())
    slices.recount(tenant, "pos", [Remaining(week(0), 10, 2)])
    assert slices.recorded(tenant) == [along]
    assert along.along_with == week(3)
    slices.record(tenant, delivered(0), Rejected())
    assert slices.recorded(tenant) == [delivered(0)]


def test_a_renamed_source_has_its_slices_and_rows(slices: Slices, tenant: TenantRef) -> None:
    """What it has by the name already stays, other sources and tenants do, and twice is once."""
    other = TenantRef(f"{tenant.id}-b", "eu", "pool")
    for owner in (tenant, other):
        for source, numbers in (("pos", (0, 1, 2)), ("till", (2, 3)), ("web", (0,))):
            for number in numbers:
                one = delivered(number, source=source, rows=len(source))
                slices.record(owner, one, Rejected(counted(number + 10 * len(source))))
    before = slices.recorded(other)
    for _ in range(2):
        slices.rename(tenant, "pos", "till")
    assert [(one.source, one.interval, one.rows) for one in slices.recorded(tenant)] == [
        ("till", week(0), 3),
        ("till", week(1), 3),
        ("till", week(2), 4),
        ("till", week(3), 4),
        ("web", week(0), 3),
    ]
    assert slices.set_aside(tenant, "till") == [row(number) for number in (30, 31, 42, 43)]
    assert slices.set_aside(tenant, "pos") == []
    assert slices.set_aside(tenant, "web") == [row(30)]
    assert slices.recorded(other) == before


def test_both_answer_alike_whatever_was_read(database: Any, tenant: TenantRef) -> None:
    """Slices drawn at random: the twin says of them what Postgres says."""
    twins: tuple[Slices, ...] = (InMemorySlices(), PostgresSlices())
    draw = Random(7)
    for _ in range(80):
        interval = week(draw.randrange(4), draw.choice((1, 1, 2)))
        source = draw.choice(("pos", "web"))
        if draw.random() < 0.2:
            changed = counted(*[0] * draw.randrange(3), reason="changed")
            remaining = [Remaining(interval, draw.randrange(10), draw.randrange(3), changed)]
            for twin in twins:
                twin.recount(tenant, source, remaining)
        elif draw.random() < 0.1:
            for twin in twins:
                twin.rename(tenant, "pos", "web")
        else:
            numbers = sorted(draw.sample(range(9), k=draw.randrange(5)))
            rejected = Rejected(
                counted(*range(20, 20 + draw.randrange(3)), more=draw.choice((0, 0, 2))),
                counted(*numbers, more=draw.choice((0, 0, 3)), reason="no instant"),
            )
            written = Slice(source, interval, draw.randrange(50), draw.randrange(5), 0, 1)
            written = replace(written, along_with=draw.choice((None, week(9))))
            first, second = (twin.record(tenant, written, rejected) for twin in twins)
            assert first == second
        assert twins[0].recorded(tenant) == twins[1].recorded(tenant)
        for source in ("pos", "web"):
            assert twins[0].set_aside(tenant, source) == twins[1].set_aside(tenant, source)
