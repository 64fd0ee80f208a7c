"""What the port to drift records promises, on its twin in memory and on the real Postgres."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import numpy as np
import pytest

from include.monitoring.drift_records import DriftRecords, DriftVerdict
from include.monitoring.profiles import Profile, WindowProfile
from include.monitoring.season import StoredWindow
from include.monitoring.storms import KIND, Storm
from include.storage.postgres import tenant_transaction
from include.stores import Stores
from include.stores.memory import in_memory
from include.stores.postgres import in_postgres
from include.tenants.namespace import TenantRef, global_owner
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
def drift(stores: Stores) -> DriftRecords:
    """The port."""
    return stores.drift


@pytest.fixture
def tenant() -> TenantRef:
    """A tenant that no other test has used."""
    return TenantRef(unused("emma"), "eu", "pool")


# profiles


def profile(value: float) -> WindowProfile:
    """A window of three entities, two of which have the value."""
    column = Profile("numbers", np.array([value]), np.array([2.0]), np.array([0.0]), 0.0, 1.0, 3)
    return WindowProfile({"spend": column}, 3, frozenset({0}))


def window(number: int, version: str = "1", value: float = 1.5, **how: Any) -> StoredWindow:
    return StoredWindow(week(number), version, profile(value), **how)


def test_a_windows_profile_comes_back_as_kept(drift: DriftRecords, tenant: TenantRef) -> None:
    """Both ends are included, later windows come later, and a rerun replaces its own."""
    for one in (window(3), window(1), window(2), window(2, value=9.0, drifted=True)):
        drift.store_window(tenant, "churn", one)
    kept = drift.windows(tenant, "churn", week(1), week(2))
    assert [(one.as_of, one.drifted) for one in kept] == [(week(1), False), (week(2), True)]
    assert kept[1].profile.to_json() == profile(9.0).to_json()
    assert drift.windows(tenant, "demand", week(0), week(9)) == []


def test_a_reference_is_of_its_version(drift: DriftRecords, tenant: TenantRef) -> None:
    """The newest profile of a version is the reference; no other version has it."""
    for as_of, value in ((week(0), 1.0), (week(2), 3.0), (week(1), 2.0)):
        drift.store_reference(tenant, "churn", "1", as_of, profile(value))
    reference = drift.reference(tenant, "churn", "1")
    assert reference is not None
    assert reference.to_json() == profile(3.0).to_json()
    assert drift.reference(tenant, "churn", "2") is None
    assert drift.windows(tenant, "churn", week(0), week(9)) == []


def test_a_window_forgets_what_nothing_is_compared_with(
    drift: DriftRecords, tenant: TenantRef
) -> None:
    """Windows of more than a year before go, and references of others, never its own model's."""
    for version in ("1", "2"):
        drift.store_reference(tenant, "churn", version, week(0), profile(1.0))
    for number in (1, 2, 40, 64, 70):
        drift.store_window(tenant, "churn", window(number, "2"))
    kept = drift.windows(tenant, "churn", week(0), week(99))
    assert [one.as_of for one in kept] == [week(40), week(64), week(70)]
    assert drift.reference(tenant, "churn", "1") is None
    assert drift.reference(tenant, "churn", "2") is not None


# verdicts


def verdict(number: int, version: str = "1", **changes: Any) -> DriftVerdict:
    first = DriftVerdict(
        "churn", week(number), version, "drift", 0.4, ("spend drifted",), "reports/a.html"
    )
    return replace(first, **changes)


def keep(drift: DriftRecords, tenant: TenantRef, *verdicts: DriftVerdict) -> None:
    for one in verdicts:
        details: Mapping[str, Any] = {"reasons": list(one.reasons), "features": []}
        drift.store_verdict(tenant, one, details)


def test_a_verdict_is_replaced_by_a_rerun(drift: DriftRecords, tenant: TenantRef) -> None:
    """Of one model at one instant there is one; those of an instant stand as first written."""
    calm = verdict(1, verdict="stable", score=None, reasons=("nothing", "at all"), report_path="")
    keep(drift, tenant, verdict(2, "2"), verdict(2), verdict(1), verdict(2, "2"), calm)
    assert drift.verdicts(tenant, "churn") == [calm, verdict(2, "2"), verdict(2)]
    assert drift.verdicts(tenant, "demand") == []


def test_tenants_have_their_own_records(drift: DriftRecords, tenant: TenantRef) -> None:
    """Profiles and verdicts are invisible to every other tenant."""
    drift.store_window(tenant, "churn", window(1))
    drift.store_reference(tenant, "churn", "1", week(0), profile(1.0))
    keep(drift, tenant, verdict(1))
    other = TenantRef(f"{tenant.id}-b", "eu", "pool")
    assert drift.windows(other, "churn", week(0), week(9)) == []
    assert drift.reference(other, "churn", "1") is None
    assert drift.verdicts(other, "churn") == []


# storms


@dataclass
class Pool:
    """Twelve tenants that are offered the same global models, and what is kept of their drift."""

    stores: Stores
    owner: TenantRef

    @property
    def members(self) -> list[TenantRef]:
        return [TenantRef(f"fleet-{n}", self.owner.region, "pool") for n in range(12)]

    def tell(self, as_of: datetime, breached: int) -> list[str]:
        """Every tenant's report of a day, the breached ones first; what each hears."""
        return [
            self.report(number, as_of, breached=number < breached)
            for number in range(len(self.members))
        ]

    def report(self, number: int, as_of: datetime, *, breached: bool, of: str = "churn") -> str:
        """One tenant's report."""
        return self.stores.drift.report_window(
            self.members[number], of, as_of, breached=breached, pool=self.owner
        )

    def storms(self) -> list[Storm]:
        """The incidents of the owner's."""
        kept = self.stores.incidents.of_kind(self.owner, KIND, "churn")
        return [Storm.read(incident) for incident in kept]


@pytest.fixture
def pool(stores: Stores) -> Pool:
    """A pool that no other test has used."""
    return Pool(stores, global_owner(unused("region")))


def test_a_storm_is_one_incident_however_often_and_in_parallel_it_is_reported(pool: Pool) -> None:
    """Twelve tenants at once, twice: one incident, with the same counts, and the same answers."""
    for past in range(1, 5):
        assert not any(pool.tell(week(past), breached=0))

    def report(number: int) -> str:
        return pool.report(number, week(5), breached=number != 11)

    with ThreadPoolExecutor(6) as threads:
        heard = list(threads.map(report, range(12)))
    (storm,) = pool.storms()
    assert heard.count("") <= 3  # two that came before anybody knew, and the calm one
    assert set(heard) - {""} == {"churn/2024-02-05"}
    with ThreadPoolExecutor(6) as threads:
        again = list(threads.map(report, range(12)))
    assert again.count("") == 1
    assert pool.storms() == [storm]
    assert (storm.breached, storm.monitored, storm.over_since) == (11, 12, None)


def test_the_incident_ends_when_breaches_subside(pool: Pool) -> None:
    """A week later most are calm: who reports after that is told of no incident any more."""
    pool.tell(week(1), breached=0)
    pool.tell(week(2), breached=8)
    late = [pool.report(number, week(3), breached=False) for number in range(4, 12)]
    drifting = [pool.report(number, week(3), breached=True) for number in range(2)]
    assert not any([*late, *drifting])
    (storm,) = pool.storms()
    assert (storm.ended, storm.over_since) == ("subsided", week(3))
    assert pool.report(0, week(4), breached=True) == ""


def test_a_day_done_again_is_judged_as_it_was_then(pool: Pool) -> None:
    """After the incident is over, a rerun of its day hears of it still."""
    pool.tell(week(1), breached=0)
    pool.tell(week(2), breached=8)
    pool.tell(week(3), breached=0)
    storms = pool.storms()
    assert set(pool.tell(week(2), breached=8)) - {""} == {"churn/2024-01-15"}
    assert pool.storms() == storms


def test_use_cases_have_their_own_weather(pool: Pool) -> None:
    """A storm in one use case suppresses nothing in another."""
    pool.tell(week(1), breached=8)
    assert pool.report(0, week(1), breached=True, of="recommendation") == ""


def test_a_tenant_that_is_monitored_hourly_counts_once(pool: Pool) -> None:
    """Two tenants with many windows a day are no crowd."""
    heard = [
        pool.report(number, week(1) + timedelta(hours=hour), breached=True)
        for hour in range(6)
        for number in range(2)
    ]
    assert not any(heard)


def test_a_storm_of_one_region_is_none_of_another_region_nor_of_all_together(
    pool: Pool, stores: Stores
) -> None:
    """What tenants of one region report stands in that region's rows, and those elsewhere are told
    of nothing; who shares the models of all regions is told of what happens to those."""
    far, everywhere = (Pool(stores, global_owner(unused("region"))) for _ in range(2))
    for one in (pool, far):
        one.tell(week(1), breached=0)
    assert any(pool.tell(week(2), breached=12))
    assert not any(far.tell(week(2), breached=1))
    assert [len(one.storms()) for one in (pool, far, everywhere)] == [1, 0, 0]
    heard = [
        stores.drift.report_window(
            member, "churn", as_of, breached=as_of != week(1), pool=everywhere.owner
        )
        for as_of in (week(1), week(2))
        for member in (*pool.members[:6], *far.members[:6])
    ]
    assert heard[-1] == "churn/2024-01-15"
    assert len(everywhere.storms()) == 1


def test_no_tenant_is_named_in_the_platforms_rows(database: None) -> None:
    """The rows hold digests and counts, and no tenant's transaction sees any of them."""
    pool = Pool(in_postgres(), global_owner(unused("region")))
    pool.tell(week(1), breached=8)
    for table in ("incidents", "drift_breaches"):
        with tenant_transaction(pool.owner) as connection:
            rows = connection.execute(f"SELECT * FROM {table}").fetchall()
        assert rows
        assert "fleet-" not in str(rows)
        with tenant_transaction(pool.members[0]) as connection:
            assert connection.execute(f"SELECT * FROM {table}").fetchall() == []


def test_both_answer_alike_whatever_is_reported(database: None) -> None:
    """Reports drawn at random, out of order and repeated: the twin hears what Postgres says."""
    owner = global_owner(unused("region"))
    pools = [Pool(stores, owner) for stores in (in_memory(), in_postgres())]
    draw = Random(7)
    for _ in range(200):
        number, at = draw.randrange(12), draw.randrange(8)
        as_of = week(at) + timedelta(hours=draw.randrange(24))
        breached = draw.random() < (0.8 if at in (3, 4) else 0.05)
        heard = [pool.report(number, as_of, breached=breached) for pool in pools]
        assert heard[0] == heard[1]
    storms = [pool.storms() for pool in pools]
    assert storms[0] == storms[1] != []
