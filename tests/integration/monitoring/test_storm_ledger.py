from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest

from include.monitoring import storm_ledger
from include.storage.postgres import tenant_transaction
from include.tenants.namespace import GLOBAL, TenantRef, global_owner
from tests.integration.monitoring.conftest import RETRAINS, Watched, week

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("calm_platform")]
FLEET = [TenantRef(f"fleet-{n}", "eu", "pool") for n in range(12)]
POOL = global_owner("eu")


def tell(as_of: datetime, breached: int, of: int = 12) -> list[str]:
    """Every tenant's report of a day, the breached ones first; what each hears."""
    return [
        storm_ledger.report(tenant, "churn", as_of, breached=number < breached)
        for number, tenant in enumerate(FLEET[:of])
    ]


def rows(table: str) -> list[tuple[object, ...]]:
    with tenant_transaction(POOL) as connection:
        found = connection.execute(f"SELECT * FROM {table} ORDER BY 2, 3, 4").fetchall()
    return [tuple(v for k, v in r.items() if k not in ("recorded_at", "opened_at")) for r in found]


def test_a_storm_is_one_incident_however_often_and_in_parallel_it_is_reported() -> None:
    """Twelve tenants at once, twice: one row, with the same counts, and the same answers."""
    for past in range(1, 5):
        assert not any(tell(week(past), breached=0))

    def report(tenant: TenantRef) -> str:
        return storm_ledger.report(tenant, "churn", week(5), breached=tenant != FLEET[-1])

    with ThreadPoolExecutor(6) as pool:
        heard = list(pool.map(report, FLEET))
    state = rows("incidents"), rows("drift_breaches")
    assert heard.count("") <= 3  # two that came before anybody knew, and the calm one
    assert set(heard) - {""} == {"churn/2024-02-05"}
    with ThreadPoolExecutor(6) as pool:
        again = list(pool.map(report, FLEET))
    assert again.count("") == 1
    assert (rows("incidents"), rows("drift_breaches")) == state
    ((incident, closed),) = storm_ledger.incidents(POOL, "churn")
    assert (incident.breached, incident.monitored, closed) == (11, 12, None)


def test_the_incident_ends_when_breaches_subside_and_the_rest_retrain() -> None:
    """A week later most are calm: who reports after that is told of no incident any more."""
    tell(week(1), breached=0)
    tell(week(2), breached=8)
    late = [storm_ledger.report(t, "churn", week(3), breached=False) for t in FLEET[4:]]
    drifting = [storm_ledger.report(t, "churn", week(3), breached=True) for t in FLEET[:2]]
    assert not any([*late, *drifting])
    ((incident, closed),) = storm_ledger.incidents(POOL, "churn")
    assert (incident.ended, closed) == ("subsided", week(3))
    assert storm_ledger.report(FLEET[0], "churn", week(4), breached=True) == ""


def test_what_stays_is_no_storm() -> None:
    """After four weeks of the same, retrains go on, and no second incident says otherwise."""
    heard = [tell(week(number), breached=10) for number in range(1, 8)]
    told = [len(set(one) - {""}) for one in heard]
    assert told == [1, 1, 1, 1, 0, 0, 0]
    ((incident, closed),) = storm_ledger.incidents(POOL, "churn")
    assert (incident.ended, closed) == ("lasted", week(5))


def test_a_day_done_again_is_judged_as_it_was_then() -> None:
    """After the incident is over, a rerun of its day hears of it still."""
    tell(week(1), breached=0)
    tell(week(2), breached=8)
    tell(week(3), breached=0)
    state = rows("incidents")
    assert set(tell(week(2), breached=8)) - {""} == {"churn/2024-01-15"}
    assert rows("incidents") == state


def test_use_cases_have_their_own_weather() -> None:
    """A storm in one use case suppresses nothing in another."""
    tell(week(1), breached=8)
    assert storm_ledger.report(FLEET[0], "recommendation", week(1), breached=True) == ""


def test_a_tenant_that_is_monitored_hourly_counts_once() -> None:
    """Two tenants with many windows a day are no crowd."""
    heard = [
        storm_ledger.report(tenant, "churn", week(1) + timedelta(hours=hour), breached=True)
        for hour in range(6)
        for tenant in FLEET[:2]
    ]
    assert not any(heard)


def test_no_tenant_is_named_in_the_platforms_rows() -> None:
    """The rows hold digests and counts, and no tenant's transaction sees any of them."""
    tell(week(1), breached=8)
    for table in ("incidents", "drift_breaches"):
        assert rows(table)
        assert "fleet-" not in str(rows(table))
        with tenant_transaction(FLEET[0]) as connection:
            assert connection.execute(f"SELECT * FROM {table}").fetchall() == []


def test_drift_that_is_the_platforms_is_suppressed(new_tenant: Callable[..., Watched]) -> None:
    """The fourth tenant of a storm hears of the incident; a window later it retrains."""
    fleet = [new_tenant() for _ in range(4)]
    found = [one.monitor(one.score(week(1), shift=1.0)) for one in fleet]
    assert [one.decision for one in found] == ["retrain", "retrain", "suppress", "suppress"]
    last = fleet[-1]
    assert found[-1].reason == "platform incident churn/2024-01-08"
    (entry,) = RETRAINS.history(last.config.ref, "churn")
    assert entry.details["incident"] == "churn/2024-01-08"
    assert last.monitor(last.score(week(1), shift=1.0)) == found[-1]
    for calm in fleet[:3]:
        calm.monitor(calm.score(week(2)))
    assert last.monitor(last.score(week(2), shift=1.0)).decision == "retrain"
    for one in fleet:
        others = {other.config.id for other in fleet} - {one.config.id}
        assert not any(name in str(one.state()) for name in others)


def test_a_storm_of_one_region_is_none_of_another_region_nor_of_all_together() -> None:
    """What tenants of one region report stands in that region's rows, and those elsewhere are told
    of nothing; who shares the models of all regions is told of what happens to those."""
    far = [TenantRef(f"far-{n}", "us", "pool") for n in range(12)]
    for one in far:
        storm_ledger.report(one, "churn", week(1), breached=False)
    tell(week(1), breached=0)
    assert any(tell(week(2), breached=12))
    assert not any(storm_ledger.report(t, "churn", week(2), breached=t == far[0]) for t in far)
    assert len(storm_ledger.incidents(POOL)) == 1
    assert storm_ledger.incidents(global_owner("us")) == storm_ledger.incidents(GLOBAL) == []
    heard = [
        storm_ledger.report(t, "churn", at, breached=at != week(1), pool=GLOBAL)
        for at in (week(1), week(2))
        for t in (*FLEET[:6], *far[:6])
    ]
    assert heard[-1] == "churn/2024-01-15"
    assert len(storm_ledger.incidents(GLOBAL)) == 1
