"""A region's pool is brought up by all of its members' runs, also by several at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from threading import Thread

import psycopg
import pyarrow as pa
import pytest

from include.features.online.stage import empty_pool, materialize_pool
from include.features.views import FeatureService
from include.handoffs import Interval
from include.runtime.postgres import Postgres
from include.storage.lake import Lake
from include.stores.postgres.online import PostgresOnlineStore
from include.tenants.config import TenantConfig
from include.tenants.namespace import TenantRef, global_owner
from tests.online_shop import DAY, POPULARITY, START, OwnerStore, forget, hour, lines

pytestmark = pytest.mark.integration


@dataclass(frozen=True)
class Interrupted(Lake):
    """A lake in which something happens before the first table is read."""

    meanwhile: list[Callable[[], None]]

    def read(
        self,
        tenant: TenantRef,
        table: str,
        *,
        version: int | None = None,
        columns: list[str] | None = None,
        known_at: datetime | None = None,
    ) -> pa.Table:
        """As of any lake."""
        while self.meanwhile:
            self.meanwhile.pop()()
        return super().read(tenant, table, version=version, columns=columns, known_at=known_at)


def member(name: str) -> TenantConfig:
    mapping = {"event": "x", "event_id": ["id"], "event_timestamp": "at", "user_id": "user"}
    connector = {"type": "file", "path": "x.csv", "format": "csv"}
    return TenantConfig.model_validate(
        {
            "id": name,
            "name": name,
            "region": "eu",
            "schedule": "0 0 * * *",
            "history_from": "2024-01-01",
            "pooling": {"consent": True},
            "use_cases": {"churn": None},
            "sources": [{"name": "pos", "connector": connector, "events": mapping}],
        }
    )


ONLINE = PostgresOnlineStore()
ONE, TWO = member("one"), member("two")


@pytest.fixture
def lake(database: Postgres, tmp_path: Path) -> Iterator[Lake]:
    """An empty lake and an empty pool."""
    forget(global_owner("eu"))
    yield Lake(tmp_path)
    forget(global_owner("eu"))


def deliver(lake: Lake, to: TenantConfig, *rows: str) -> None:
    """Make order lines all that a tenant has of the first day."""
    batches = lines(*rows, tenant=to.id).to_batches()
    lake.replace_slice(to.ref, "events", "pos", Interval(START, START + DAY), batches)


def bring(lake: Lake) -> None:
    materialize_pool((ONE, TWO), (POPULARITY,), until=hour(24), lake=lake, online=ONLINE)


def count() -> list[int | None]:
    store = OwnerStore(ONLINE, global_owner("eu"), FeatureService("asked", (POPULARITY,)))
    found = store.read({"item_id": ["tea"]}, hour(24)).table
    counts: list[int | None] = found["popularity__count_7d"].to_pylist()
    return counts


@pytest.mark.parametrize("other", ["materialize", "empty"])
def test_what_a_neighbours_run_did_meanwhile_is_not_undone(
    other: str, lake: Lake, postgres: Postgres
) -> None:
    """A run that builds everything again from tables as they were takes its turn: a neighbour's,
    which knows of newer ones or that nobody consents any more, comes after it."""
    deliver(lake, ONE, "a x tea 1 1")
    deliver(lake, TWO, "a y tea 1 2")
    bring(lake)
    assert count() == [2]
    deliver(lake, ONE, "a x tea 1 1", "b x tea 1 3")
    does = {"materialize": lambda: bring(lake), "empty": lambda: empty_pool("eu", ONLINE)}
    neighbour = Thread(target=does[other])

    def meanwhile() -> None:
        deliver(lake, TWO, "a y tea 1 2", "b y tea 1 4")
        neighbour.start()
        with psycopg.connect(postgres.dsn("tenantry"), autocommit=True) as connection:
            query = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            while neighbour.is_alive() and connection.execute(query).fetchone() is None:
                neighbour.join(0.01)

    bring(Interrupted(lake.root, [meanwhile]))
    neighbour.join()
    assert count() == ([4] if other == "materialize" else [None])
