"""What the port to skew findings promises, on its twin in memory and on the real Postgres."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.incidents import Incident
from include.monitoring.skew_findings import KIND, Mismatch, SkewFinding
from include.stores import Stores
from include.stores.memory import in_memory
from include.stores.postgres import in_postgres
from include.tenants.namespace import TenantRef
from tests.unused import unused

pytestmark = pytest.mark.integration


def week(number: int) -> datetime:
    """A Monday of 2024."""
    return datetime(2024, 1, 1, tzinfo=UTC) + number * timedelta(days=7)


@pytest.fixture(params=["memory", "postgres"])
def stores(request: pytest.FixtureRequest) -> Stores:
    """Each of the two in turn."""
    if request.param == "memory":
        return in_memory()
    request.getfixturevalue("database")
    return in_postgres()


@pytest.fixture
def tenant() -> TenantRef:
    """A tenant that no other test has used."""
    return TenantRef(unused("emma"), "eu", "pool")


def finding(number: int, feature: str = "spend__sum_30d", **changes: Any) -> SkewFinding:
    differs = Mismatch(feature, 100, 7, 3, 0.25)
    first = SkewFinding("churn", week(number), "offline", differs, "past", "4")
    return replace(first, **changes)


def test_findings_come_back_as_recorded(stores: Stores, tenant: TenantRef) -> None:
    """By use case, instant, path and feature; a difference that is no number is none."""
    text = Mismatch("city__last", 100, 1, 99, None)
    online = finding(1, path="online", cause="online")
    mixed = [finding(2), online, finding(1), finding(1, mismatch=text)]
    stores.skew.record(tenant, "churn", [week(1), week(2)], mixed, week(3))
    expected = [finding(1, mismatch=text), finding(1), online, finding(2)]
    assert stores.skew.all_of(tenant) == expected
    assert stores.skew.all_of(tenant, "churn") == expected
    assert stores.skew.all_of(tenant, "demand") == []


def test_a_replay_replaces_what_was_on_record_of_its_instants(
    stores: Stores, tenant: TenantRef
) -> None:
    """Of instants that it did not replay, and of other use cases, everything stays."""
    stores.skew.record(tenant, "churn", [week(1), week(2)], [finding(1), finding(2)], week(3))
    other = finding(1, use_case="demand")
    stores.skew.record(tenant, "demand", [week(1)], [other], week(3))
    changed = finding(1, "visits__count_7d", cause="engine")
    stores.skew.record(tenant, "churn", [week(1)], [changed], week(4))
    assert stores.skew.all_of(tenant) == [changed, finding(2), other]


def test_an_instant_with_findings_is_an_incident_until_it_has_none(
    stores: Stores, tenant: TenantRef
) -> None:
    """It says which features and why, is opened again by new findings, and closed once."""

    def incident() -> Incident:
        (found,) = stores.incidents.of_kind(tenant, KIND, "churn")
        return found

    instants = [week(1), week(2)]
    stores.skew.record(tenant, "churn", instants, [finding(1), finding(1, "a__b")], week(3))
    assert (incident().as_of, incident().closed_at) == (week(1), None)
    assert incident().details == {"features": ["a__b", "spend__sum_30d"], "causes": ["past"]}
    assert "2 features differ" in incident().summary
    assert "version 4 used: a__b, spend__sum_30d; the past was rewritten" in incident().summary
    for replayed in (week(4), week(5)):
        stores.skew.record(tenant, "churn", instants, [], replayed)
        assert incident().closed_at == week(4)
    stores.skew.record(tenant, "churn", [week(1)], [finding(1)], week(6))
    assert incident().closed_at is None


def test_tenants_have_their_own_findings(stores: Stores, tenant: TenantRef) -> None:
    """A finding is invisible to every other tenant, whose replay takes back nothing of it."""
    stores.skew.record(tenant, "churn", [week(1)], [finding(1)], week(3))
    other = TenantRef(f"{tenant.id}-b", "eu", "pool")
    assert stores.skew.all_of(other) == []
    stores.skew.record(other, "churn", [week(1)], [], week(3))
    assert stores.skew.all_of(tenant) == [finding(1)]


def test_both_order_alike(database: None, tenant: TenantRef) -> None:
    """Names are in one order, whatever the database's language."""
    names = ["spend__sum_30d", "spend_b__sum_30d", "spendb__sum", "Spend__sum", "spend__sum_7d"]
    findings = [finding(1, name) for name in names]
    twins = [in_memory(), in_postgres()]
    for stores in twins:
        stores.skew.record(tenant, "churn", [week(1)], findings, week(3))
    memory, postgres = (stores.skew.all_of(tenant) for stores in twins)
    assert memory == postgres
