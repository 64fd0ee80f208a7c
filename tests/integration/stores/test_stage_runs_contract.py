"""What the port to stage runs promises, on its twin in memory and on the real Postgres."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.handoffs import (
    Checked,
    Interval,
    Monitored,
    StoredObject,
    TableVersion,
    Trained,
)
from include.stage_runs import StageRun, StageRuns, newest_training, scored_before
from include.stores.memory.stage_runs import InMemoryStageRuns
from include.stores.postgres.stage_runs import PostgresStageRuns
from include.tenants.namespace import TenantRef
from tests.unused import unused

pytestmark = pytest.mark.integration

DAY = timedelta(days=1)
JANUARY = datetime(2017, 1, 1, tzinfo=UTC)


@pytest.fixture(params=["memory", "postgres"])
def runs(request: pytest.FixtureRequest) -> StageRuns:
    """Each of the two in turn."""
    if request.param == "memory":
        return InMemoryStageRuns()
    request.getfixturevalue("database")
    return PostgresStageRuns()


@pytest.fixture
def owner() -> TenantRef:
    """A tenant that no other test has used."""
    return TenantRef(unused("rosa"), "eu", "pool")


def done(day: int, reason: str = "calm", **changes: Any) -> StageRun:
    """Monitoring of churn on a day, or what `changes` make of it."""
    at = JANUARY + day * DAY
    handoff = Monitored("rosa", "churn", at, "stable", "wait", reason)
    return replace(StageRun("churn", "monitoring", at - DAY, at, handoff), **changes)


def test_a_rerun_replaces_what_it_was(runs: StageRuns, owner: TenantRef) -> None:
    """Per stage, use case and interval there is one, which comes back as it was recorded."""
    kept = [done(1), done(2), done(2, stage="skew"), done(3, use_case="demand")]
    for run in (*kept, done(1, "again")):
        runs.record(owner, run)
    assert runs.all_of(owner, "monitoring", "churn") == [done(1, "again"), kept[1]]
    assert runs.all_of(owner, "monitoring") == [done(1, "again"), kept[1], kept[3]]
    assert runs.all_of(owner, "skew", "demand") == []


def test_the_newest_is_of_the_last_interval_by_an_instant(
    runs: StageRuns, owner: TenantRef
) -> None:
    """Whatever the order in which they were done; None before the first."""
    for day in (2, 3, 1):
        runs.record(owner, done(day))
    until = JANUARY + 2 * DAY
    assert runs.newest(owner, "churn", "monitoring") == done(3)
    assert runs.newest(owner, "churn", "monitoring", until) == done(2)
    assert runs.newest(owner, "churn", "monitoring", until - timedelta(microseconds=1)) == done(1)
    assert runs.newest(owner, "churn", "monitoring", JANUARY) is None
    assert runs.newest(owner, "demand", "monitoring") is None
    assert runs.all_of(owner, "monitoring", before=until) == [done(1)]


def test_of_two_that_end_together_the_last_recorded_counts(
    runs: StageRuns, owner: TenantRef
) -> None:
    """An interval that begins elsewhere is another run, of the same instant."""
    whole, half = done(2), done(2, "half", start=JANUARY + 1.5 * DAY)
    for run in (half, whole):
        runs.record(owner, run)
    assert runs.newest(owner, "churn", "monitoring") == whole
    runs.record(owner, half)
    assert runs.newest(owner, "churn", "monitoring") == half
    assert runs.all_of(owner, "monitoring") == [whole, half]
    runs.record(owner, replace(whole, stage="scoring"))
    runs.record(owner, replace(half, stage="scoring"))
    assert scored_before(runs, owner, "churn", JANUARY + 3 * DAY) == [half.handoff]


def test_a_run_says_when_it_was_recorded(runs: StageRuns, owner: TenantRef) -> None:
    """By the clock of whoever keeps it, give or take."""
    runs.record(owner, done(1))
    newest = runs.newest(owner, "churn", "monitoring")
    assert newest is not None
    assert newest.recorded_at is not None
    assert abs(newest.recorded_at - datetime.now(UTC)) < DAY


def test_a_training_is_found_by_what_it_left(runs: StageRuns, owner: TenantRef) -> None:
    """A handoff of another kind under its name is none."""
    evaluation = StoredObject("rosa", "evaluation.json", "d" * 64, 1)
    trained = Trained("rosa", "churn", JANUARY, "scheduled", (), evaluation, 5, 2)
    assert newest_training(runs, owner, "churn") is None
    runs.record(owner, done(1, stage="training", handoff=trained))
    assert newest_training(runs, owner, "churn") == trained
    runs.record(owner, done(2, stage="training"))
    assert newest_training(runs, owner, "churn") is None
    assert newest_training(runs, owner, "churn", JANUARY + DAY) == trained


def test_owners_do_not_see_each_other(runs: StageRuns, owner: TenantRef) -> None:
    """The same key of another owner is another run."""
    other = TenantRef(f"{owner.id}-b", "eu", "pool")
    runs.record(owner, done(1))
    runs.record(other, done(1, "another"))
    assert runs.all_of(owner, "monitoring") == [done(1)]


def test_versions_of_tables_that_handoffs_name_are_told(runs: StageRuns, owner: TenantRef) -> None:
    """Of all stages, use cases and intervals of the owner; those of a run that was replaced are
    not."""

    def table(name: str, version: int) -> TableVersion:
        return TableVersion(owner.id, name, version, 3, "ab")

    def checked(day: int, version: int) -> StageRun:
        interval = Interval(JANUARY + (day - 1) * DAY, JANUARY + day * DAY)
        events, attributes = table("events", version), table("attributes", version + 1)
        handoff = Checked(owner.id, interval, events, attributes, 1, 0, 0, False)
        return done(day, use_case="", stage="quality", handoff=handoff)

    assert runs.table_versions(owner) == set()
    for run in (checked(1, 4), checked(2, 7), checked(2, 9), done(2)):
        runs.record(owner, run)
    runs.record(TenantRef(unused("rosa"), "eu", "pool"), checked(1, 20))
    assert runs.table_versions(owner) == {
        *((owner.id, "events", version) for version in (4, 9)),
        *((owner.id, "attributes", version) for version in (5, 10)),
    }
