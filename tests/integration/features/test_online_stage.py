"""The online store follows the lake: what arrived since, and all of it again where it changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from include.errors import ConfigError, IsolationError
from include.features import in_memory
from include.features.online.stage import empty_pool, materialize, materialize_pool
from include.features.online.store import OnlineStore
from include.features.spine import Spine
from include.features.views import FeatureService
from include.handoffs import Interval, Materialized
from include.runtime.postgres import Postgres
from include.storage.lake import Lake
from include.stores.memory.online import InMemoryOnlineStore
from include.stores.postgres.online import PostgresOnlineStore, compaction, materialization
from include.tenants.config import TenantConfig
from include.tenants.namespace import global_owner
from tests.online_shop import (
    DAY,
    POPULARITY,
    SHOP,
    SPEND,
    START,
    OwnerStore,
    facts,
    forget,
    hour,
    kept,
    lines,
)

pytestmark = pytest.mark.integration

USERS = {"user_id": ["ann", "bob"]}


def tenant(name: str, *, consent: bool = True, region: str = "eu") -> TenantConfig:
    return TenantConfig.model_validate(
        {
            "id": name,
            "name": name,
            "region": region,
            "timezone": "Europe/Vienna",
            "schedule": "0 0 * * *",
            "history_from": "2024-01-01",
            "pooling": {"consent": consent},
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


ONE, TWO, THREE = tenant("one"), tenant("two"), tenant("three")
POOL = global_owner("eu")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(tmp_path)


@pytest.fixture
def postgres_store(database: Postgres) -> Iterator[OnlineStore]:
    """The store in Postgres, empty."""
    owners = (ONE.ref, TWO.ref, THREE.ref, POOL)
    forget(*owners)
    yield PostgresOnlineStore()
    forget(*owners)


@pytest.fixture(params=["memory", "postgres"])
def online(request: pytest.FixtureRequest) -> OnlineStore:
    """Each of the two stores in turn, empty."""
    if request.param == "memory":
        return InMemoryOnlineStore()
    store: OnlineStore = request.getfixturevalue("postgres_store")
    return store


def deliver(lake: Lake, day: int, *rows: str, to: TenantConfig = ONE) -> None:
    """Make order lines all that arrived on a day."""
    interval = Interval(START + day * DAY, START + (day + 1) * DAY)
    batches = lines(*rows, tenant=to.id).to_batches()
    lake.replace_slice(to.ref, "events", "pos", interval, batches)


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
    """Shared views are the pool's: a tenant's run leaves them alone."""
    version = lake.version(ONE.ref, "events")
    done = materialize(
        ONE,
        (POPULARITY,),
        events=version,
        attributes=version,
        until=hour(24),
        lake=lake,
        online=online,
    )
    assert done == Materialized("one", hour(24), (), 0, 0)


def test_the_pool_follows_its_members(lake: Lake, online: OnlineStore) -> None:
    """Who consents is in it from the next run on; of who left, nothing remains."""
    service = FeatureService("shared", (POPULARITY,))
    for member, row in ((ONE, "a x tea 1 1"), (TWO, "a y tea 1 2"), (THREE, "a z tea 1 3")):
        deliver(lake, 0, row, to=member)

    def count(*members: TenantConfig, until: float) -> list[Any]:
        materialize_pool(members, (SPEND, POPULARITY), until=hour(until), lake=lake, online=online)
        found = online.reader(POOL, service).read({"item_id": ["tea"]}, hour(until))
        return found.table["popularity__count_7d"].to_pylist()

    assert count(ONE, TWO, until=24) == [2]
    deliver(lake, 1, "b x tea 1 25")
    assert count(ONE, TWO, until=48) == [3]
    assert count(ONE, TWO, THREE, until=48) == [4]
    assert count(TWO, THREE, until=49) == [2]
    if isinstance(online, PostgresOnlineStore):
        assert all("'words': b'twothree'" in row for row in kept(POOL)["online_partials"])
    assert count(THREE, until=50) == [None]


def test_what_streamed_in_leaves_the_pool_with_its_tenant(lake: Lake, online: OnlineStore) -> None:
    """Also what the lake never delivered; and where nobody consents, nothing at all remains."""
    pool = OwnerStore(online, POOL, FeatureService("shared", (POPULARITY,)), "UTC")
    for member, row in ((ONE, "a x tea 1 1"), (TWO, "a y tea 1 2"), (THREE, "a z tea 1 3")):
        deliver(lake, 0, row, to=member)
    materialize_pool((ONE, TWO, THREE), (POPULARITY,), until=hour(24), lake=lake, online=online)
    pool.append(lines("s x tea 1 30", tenant="one"))
    pool.append(lines("s y tea 1 30", tenant="two"))

    def count(at: float) -> list[Any]:
        found = pool.read({"item_id": ["tea"]}, hour(at)).table
        return found["popularity__count_7d"].to_pylist()

    assert count(31) == [5]
    materialize_pool((ONE, THREE), (POPULARITY,), until=hour(26), lake=lake, online=online)
    assert count(31) == [3]
    materialize_pool((TWO, THREE), (POPULARITY,), until=hour(48), lake=lake, online=online)
    assert count(48) == [2]
    if isinstance(online, PostgresOnlineStore):
        assert kept(POOL)["online_events"] == []
    empty_pool("eu", online)
    empty_pool("eu", online)
    assert online.freshness(POOL) == []
    if isinstance(online, PostgresOnlineStore):
        assert not any(kept(POOL).values())
    assert count(48) == [None]


def test_who_did_not_consent_is_in_no_pool(lake: Lake, online: OnlineStore) -> None:
    """Not even by mistake; and no pool spans regions."""
    silent, far = tenant("silent", consent=False), tenant("far", region="us")
    with pytest.raises(IsolationError, match="silent did not consent"):
        materialize_pool((ONE, silent), (POPULARITY,), until=hour(24), lake=lake, online=online)
    with pytest.raises(ConfigError, match="members of one region"):
        materialize_pool((ONE, far), (POPULARITY,), until=hour(24), lake=lake, online=online)


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


def test_a_store_that_fails_says_so_itself(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no table of a neighbour's that is broken."""

    def fail(*arguments: Any, **options: Any) -> None:
        raise psycopg.OperationalError("down")

    deliver(lake, 0, "a x tea 1 1")
    deliver(lake, 0, "a y tea 1 1", to=TWO)
    online = InMemoryOnlineStore()
    monkeypatch.setattr(online, "materialize", fail)
    with pytest.raises(psycopg.OperationalError, match="down"):
        materialize_pool((ONE, TWO), (POPULARITY,), until=hour(24), lake=lake, online=online)
