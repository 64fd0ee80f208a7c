"""What the port to incidents promises, on its twin in memory and on the real Postgres."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.incidents import Incident, Incidents
from include.stores.memory.incidents import InMemoryIncidents
from include.stores.postgres.incidents import PostgresIncidents
from include.tenants.namespace import TenantRef
from tests.unused import unused

pytestmark = pytest.mark.integration

JANUARY = datetime(2017, 1, 1, tzinfo=UTC)
FEBRUARY = datetime(2017, 2, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(params=["memory", "postgres"])
def incidents(request: pytest.FixtureRequest) -> Incidents:
    """Each of the two in turn."""
    if request.param == "memory":
        return InMemoryIncidents()
    request.getfixturevalue("database")
    return PostgresIncidents()


@pytest.fixture
def owner() -> TenantRef:
    """A tenant that no other test has used."""
    return TenantRef(unused("ines"), "eu", "pool")


def incident(**changes: Any) -> Incident:
    """An incident of January, or what `changes` make of it."""
    details = {"rows": 3, "sources": ["till"], "share": 0.5}
    return replace(Incident("loss", "", JANUARY, "Rows are missing", details), **changes)


def test_there_is_one_per_kind_use_case_and_instant(incidents: Incidents, owner: TenantRef) -> None:
    """What is put again is replaced whole; another kind, use case or instant stands beside it."""
    others = [
        incident(as_of=FEBRUARY),
        incident(use_case="churn"),
        incident(kind="leak", use_case="churn"),
        incident(as_of=FEBRUARY, kind="leak", use_case="demand"),
    ]
    for one in (incident(), *others):
        incidents.put(owner, one)
    changed = incident(summary="All is back", details={"rows": 0}, closed_at=FEBRUARY)
    incidents.put(owner, changed)
    assert incidents.of_kind(owner, "loss") == [changed, others[0]]
    assert incidents.of_kind(owner, "loss", "churn") == [others[1]]
    assert incidents.about(owner, "churn") == [others[2], changed, others[1], others[0]]
    assert incidents.about(owner, "lead_scoring") == [changed, others[0]]


def test_opened_again_keeps_what_was_known(incidents: Incidents, owner: TenantRef) -> None:
    """New details stand beside the old ones, and a closed incident is open again."""
    incidents.open(owner, incident(details={"a": 1, "b": {"x": 1}}))
    incidents.close(owner, "loss", "", JANUARY, FEBRUARY)
    incidents.open(owner, incident(summary="Still", details={"b": {"y": 2}, "c": [3]}))
    assert incidents.of_kind(owner, "loss") == [
        incident(summary="Still", details={"a": 1, "b": {"y": 2}, "c": [3]})
    ]


def test_only_an_open_one_is_closed(incidents: Incidents, owner: TenantRef) -> None:
    """The moment at which it was over stays, and what nobody opened is not made."""
    incidents.put(owner, incident())
    incidents.close(owner, "loss", "", FEBRUARY, FEBRUARY)
    incidents.close(owner, "loss", "churn", JANUARY, FEBRUARY)
    incidents.close(owner, "leak", "", JANUARY, FEBRUARY)
    assert incidents.of_kind(owner, "loss") == [incident()]
    incidents.close(owner, "loss", "", JANUARY, FEBRUARY)
    incidents.close(owner, "loss", "", JANUARY, FEBRUARY + HOUR)
    assert incidents.of_kind(owner, "loss") == [incident(closed_at=FEBRUARY)]


def test_closed_without_a_moment_it_is_over_now(incidents: Incidents, owner: TenantRef) -> None:
    """The clock of whoever closes it, give or take the one of the server."""
    incidents.put(owner, incident())
    incidents.close(owner, "loss", "", JANUARY)
    (closed,) = incidents.of_kind(owner, "loss")
    assert closed.closed_at is not None
    assert abs(closed.closed_at - datetime.now(UTC)) < 24 * HOUR


def test_an_answer_closes_it_and_adds_to_the_details(
    incidents: Incidents, owner: TenantRef
) -> None:
    """Summary and other details stay as they were."""
    incidents.put(owner, incident())
    answered = incident(summary="", details={"answer": "no"}, closed_at=FEBRUARY)
    incidents.answer(owner, answered, "loss explained", {"because": "a holiday"}, "ann")
    kept = {**incident().details, "answer": "no"}
    assert incidents.of_kind(owner, "loss") == [incident(details=kept, closed_at=FEBRUARY)]


def test_owners_do_not_see_each_other(incidents: Incidents, owner: TenantRef) -> None:
    """The same key of another owner is another incident."""
    other = TenantRef(f"{owner.id}-b", "eu", "pool")
    incidents.put(owner, incident())
    incidents.put(other, incident(summary="Another"))
    incidents.close(other, "loss", "", JANUARY, FEBRUARY)
    assert incidents.of_kind(owner, "loss") == [incident()]
