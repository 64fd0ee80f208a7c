"""The online store follows the lake: what arrived since, and all of it again where it changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from include.errors import IsolationError
from include.features import in_memory
from include.features.online.stage import materialize
from include.features.online.store import OnlineStore
from include.features.spine import Spine
from include.handoffs import Interval, Materialized
from include.runtime.postgres import Postgres
from include.storage.lake import Lake
from include.stores.memory.online import InMemoryOnlineStore
from include.stores.postgres.online import PostgresOnlineStore, compaction, materialization
from include.tenants.config import TenantConfig
from tests.online_shop import (
    DAY,
    SHOP,
    START,
    OwnerStore,
    facts,
    forget,
    hour,
    lines,
)

pytestmark = pytest.mark.integration

USERS = {"user_id": ["ann", "bob"]}


def tenant(name: str) -> TenantConfig:
    return TenantConfig.model_validate(
        {
            "id": name,
            "name": name,
            "region": "eu",
            "timezone": "Europe/Vienna",
            "schedule": "0 0 * * *",
            "history_from": "2024-01-01",
            "use_cases": {"churn": None},
            "sources": [
                {
                    "name": "pos",
                    "connector": {"type": "file", "path": "x.csv", "format": "csv"},
                    "events": {
                        "event": "Order Completed",
                        "event_id": ["id"],
                        "event_timestamp": "at",
                        "user_id": "user",
                    },
                }
            ],
        }
    )


ONE, TWO = tenant("one"), tenant("two")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(tmp_path)


@pytest.fixture
def postgres_store(database: Postgres) -> Iterator[OnlineStore]:
    """The store in Postgres, empty."""
    forget(ONE.ref, TWO.ref)
    yield PostgresOnlineStore()
    forget(ONE.ref, TWO.ref)


@pytest.fixture(params=["memory", "postgres"])
def online(request: pytest.FixtureRequest) -> OnlineStore:
    """Each of the two stores in turn, empty."""
    if request.param == "memory":
        return InMemoryOnlineStore()
    store: OnlineStore = request.getfixturevalue("postgres_store")
    return store


def deliver(
    lake: Lake, day: int, *rows: str, to: TenantConfig = ONE, versions: bool = False
) -> None:
    """Make order lines all that arrived on a day."""
    interval = Interval(START + day * DAY, START + (day + 1) * DAY)
    batches = lines(*rows, tenant=to.id).to_batches()
    lake.replace_slice(to.ref, "events", "pos", interval, batches, versions=versions)


def run(lake: Lake, online: OnlineStore, day: int, until: float | None = None) -> Materialized:
    """The stage, at the end of a day."""
    return materialize(
        ONE,
        SHOP.views,
        events=lake.version(ONE.ref, "events"),
        attributes=lake.version(ONE.ref, "attributes"),
        until=hour(24 * (day + 1) if until is None else until),
        lake=lake,
        online=online,
    )


def assert_same_as_offline(lake: Lake, online: OnlineStore, day: int) -> None:
    """Online and offline agree on the end of a day."""
    at = hour(24 * (day + 1))
    answer = OwnerStore(online, ONE.ref).read(USERS, at)
    history = lake.read(ONE.ref, "events", known_at=at)
    known = lake.read(ONE.ref, "attributes", known_at=at)
    offline = in_memory.compute(SHOP, Spine.at(USERS, at), history, known, ONE.timezone)
    assert not answer.stale
    assert answer.table.to_pylist() == offline.to_pylist()


def test_each_day_reads_what_arrived_on_it(lake: Lake, online: OnlineStore) -> None:
    """The first run reads all of history, the next ones their day, and a rerun nothing."""
    fact = facts("item tea category drinks 1", tenant="one")
    interval = Interval(START, START + DAY)
    lake.replace_slice(ONE.ref, "attributes", "erp", interval, fact.to_batches())
    deliver(lake, 0, "a ann tea 5 1", "b bob ale 7 2")
    deliver(lake, 1, "c ann tea 1 3 30")
    assert run(lake, online, 1) == Materialized("one", hour(48), ("spend",), 2, 4)
    assert_same_as_offline(lake, online, 1)
    deliver(lake, 2, "d bob tea 2 50")
    assert run(lake, online, 2) == Materialized("one", hour(72), ("spend",), 1, 1)
    assert_same_as_offline(lake, online, 2)
    for until in (72, 60):
        assert run(lake, online, 2, until).rows == 0
        assert_same_as_offline(lake, online, 2)


def test_a_day_that_is_loaded_again_is_built_again(lake: Lake, online: OnlineStore) -> None:
    """Rows that were corrected or came to an old day count as they are now."""
    for day, row in enumerate(["a ann tea 5 1", "b bob ale 7 30", "c ann tea 1 50"]):
        deliver(lake, day, row)
        run(lake, online, day)
    deliver(lake, 1, "b bob ale 9 30", "x ann ale 4 31")
    assert run(lake, online, 2).rows == 3 + 1
    assert_same_as_offline(lake, online, 2)
    assert run(lake, online, 2).rows == 0
    deliver(lake, 0, "a ann tea 6 1")
    deliver(lake, 3, "d ann tea 1 73")
    run(lake, online, 3)
    assert_same_as_offline(lake, online, 3)


def test_a_corrected_event_counts_as_it_is_now(lake: Lake, online: OnlineStore) -> None:
    """A correction takes out what was folded in, whatever it changes and whoever streamed it;
    days without one read no more than what arrived."""
    store = OwnerStore(online, ONE.ref)
    days = (
        ("a ann tea 5 1", "b bob ale 7 2"),
        ("c ann tea 1 30", "a ann tea 6 1 40"),  # another amount
        ("d bob tea 2 50",),
        ("a bob tea 6 1 80", "e ann ale 3 73", "e ann ale 4 73 90"),  # another customer, and twice
        ("a ann tea 5 1 100", "b bob ale 7 99 110"),  # as it was, and at another time
    )
    read = []
    for day, rows in enumerate(days):
        streamed = lines(*rows[:1], tenant=ONE.id)
        if day != 2:
            store.append(streamed)
        deliver(lake, day, *rows, versions=True)
        read.append(run(lake, online, day).rows)
        assert_same_as_offline(lake, online, day)
        assert run(lake, online, day).rows == 0
        store.append(streamed)  # a copy that lags
        assert_same_as_offline(lake, online, day)
    assert read == [2, 3, 1, 5, 5]


def test_what_retention_erased_is_in_no_aggregate(lake: Lake, online: OnlineStore) -> None:
    """Erased events are gone from features over all history, too."""
    deliver(lake, 0, "a ann tea 5 1")
    deliver(lake, 1, "b ann ale 7 30")
    run(lake, online, 1)
    lake.forget(ONE.ref, "events", START + DAY)
    deliver(lake, 2, "c ann tea 1 50")
    run(lake, online, 2)
    assert_same_as_offline(lake, online, 2)


def test_a_killed_run_is_made_good_by_the_next(
    lake: Lake, postgres_store: OnlineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that dies before compaction, or in the middle, leaves a state the next one finishes."""

    def die(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    deliver(lake, 0, "a ann tea 5 1")
    for module, verb in ((compaction, "compact"), (materialization, "materialize")):
        with monkeypatch.context() as patch:
            patch.setattr(module, verb, die)
            with pytest.raises(KeyboardInterrupt):
                run(lake, postgres_store, 0)
        run(lake, postgres_store, 0)
        assert_same_as_offline(lake, postgres_store, 0)
        deliver(lake, 0, "a ann tea 5 1", "b bob tea 5 2")


def test_another_tenants_tables_are_refused(lake: Lake, online: OnlineStore) -> None:
    """Versions of somebody else's tables never reach a tenant's store."""
    deliver(lake, 0, "a ann tea 5 1", to=TWO)
    with pytest.raises(IsolationError, match="tables of two were given for one"):
        materialize(
            ONE,
            SHOP.views,
            events=lake.version(TWO.ref, "events"),
            attributes=lake.version(ONE.ref, "attributes"),
            until=hour(24),
            lake=lake,
            online=online,
        )


def test_a_tenant_without_online_views_has_nothing_to_do(lake: Lake, online: OnlineStore) -> None:
    """Where no use case is served online, nothing is read or kept."""
    version = lake.version(ONE.ref, "events")
    done = materialize(
        ONE,
        (),
        events=version,
        attributes=version,
        until=hour(24),
        lake=lake,
        online=online,
    )
    assert done == Materialized("one", hour(24), (), 0, 0)


def test_memory_of_a_first_run_is_bounded_by_pieces(
    lake: Lake, postgres_store: OnlineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entities are taken piece by piece, which changes nothing about their features."""
    deliver(lake, 0, *(f"e{n} u{n % 7} i{n % 3} {n}.5 {n / 100}" for n in range(300)))
    monkeypatch.setattr(materialization, "_EVENTS_PER_CHUNK", 10)
    run(lake, postgres_store, 0)
    users = {"user_id": [f"u{n}" for n in range(8)]}
    answer = OwnerStore(postgres_store, ONE.ref).read(users, hour(24)).table
    history = lake.read(ONE.ref, "events")
    offline = in_memory.compute(
        SHOP, Spine.at(users, hour(24)), history, pa.table(facts()), ONE.timezone
    )
    assert answer.to_pylist() == offline.to_pylist()
