"""The online store in Postgres: a batch is written once, for who had something new; few remain."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from include.errors import QualityError
from include.features.declarations import ALL_HISTORY, Aggregation
from include.features.views import FeatureService
from include.runtime.postgres import Postgres
from include.storage.postgres import tenant_transaction
from include.stores.postgres.online import PostgresOnlineStore, compaction, materialization
from include.stores.postgres.online.compaction import MOST_BATCHES, compact, merged
from include.stores.postgres.online.partials import Batch
from include.tenants.namespace import TenantRef
from tests.online_shop import SHOP, OwnerStore, forget, hour, kept, lines

pytestmark = pytest.mark.integration

ACME = TenantRef("acme", "eu", "pool")
USERS = {"user_id": ["ann", "bob", "cat"]}


@pytest.fixture
def store(database: Postgres) -> Iterator[OwnerStore]:
    """Acme's store, empty."""
    forget(ACME)
    yield OwnerStore(PostgresOnlineStore(), ACME)
    forget(ACME)


def batches() -> list[tuple[str, Any]]:
    """Which entity has a state in which batch."""
    with tenant_transaction(ACME) as connection:
        rows = connection.execute(
            "SELECT entity_key, until FROM online_partials WHERE event_key = '' ORDER BY 2, 1"
        ).fetchall()
    return [(row["entity_key"], row["until"]) for row in rows]


def test_materializing_again_changes_nothing(store: OwnerStore) -> None:
    """The same batch, an older one, or one with nothing new leave every row as it was."""
    rows = lines("a ann tea 5 1", "b bob ale 7 2")
    assert store.materialize(hour(12), rows).rows == 2
    before = kept(ACME)
    for until in (12, 6):
        again = store.materialize(hour(until), rows)
        assert (again.rows, again.entities) == (0, 0)
        assert kept(ACME) == before
    store.materialize(hour(13), rows)
    assert kept(ACME)["online_partials"] == before["online_partials"]


def test_a_batch_is_written_for_who_had_something_new(store: OwnerStore) -> None:
    """Nobody else's states are touched; their number follows the events, not the history."""
    store.materialize(hour(12), lines("a ann tea 5 1", "b bob ale 7 2"))
    done = store.materialize(hour(24), lines("c ann tea 5 13", "d ann tea 5 14"))
    assert (done.rows, done.entities) == (2, 1)
    first, second = hour(12), hour(24)
    assert batches() == [('["ann"]', first), ('["bob"]', first), ('["ann"]', second)]


def test_many_batches_become_few_with_the_same_answers(store: OwnerStore) -> None:
    """However often it is materialized, an entity has few states, and they say the same."""
    everything = []
    for day in range(40):
        line = lines(
            f"{day} ann item{day % 3} {day}.1 {24 * day + 1}",
            f"x{day} bob tea 1 23 {24 * day + 24}",
        )
        everything.append(line)
        store.materialize(hour(24 * day + 24), line)
    assert len([key for key, _ in batches() if key == '["ann"]']) <= MOST_BATCHES
    found = store.read(USERS, hour(24 * 40)).table
    one = OwnerStore(PostgresOnlineStore(), TenantRef("acme", "us", "pool"))
    for line in everything:
        one.append(line)
    one.materialize(hour(24 * 40))
    assert one.read(USERS, hour(24 * 40)).table.equals(found)
    assert found["spend__count_all"].to_pylist() == [40, 40, 0]


def test_compaction_writes_a_row_again_when_its_batch_doubled() -> None:
    """Batches of one size are merged like binary digits carry."""

    def of(*sizes: int) -> list[Batch]:
        return [Batch(hour(n), size) for n, size in enumerate(sizes)]

    assert merged(of(1000, 10, 10, 10)) == 3
    assert merged(of(1000, 90, 20, 10)) == 2
    assert merged(of(30, 10, 10, 10)) == 4
    assert merged(of(1000, 55, 54, 53, 52)) == 4


def test_a_view_that_is_served_no_more_is_forgotten(store: OwnerStore) -> None:
    """A changed declaration is built from all of history, and nothing of the old one stays."""
    rows = lines("a ann tea 5 1", "b bob ale 7 2")
    store.materialize(hour(12), rows)
    old = kept(ACME)
    view = SHOP.views[0]
    changed = type(view)(
        view.name, view.entity, view.stream, (Aggregation("max", "amount", (ALL_HISTORY,)),)
    )
    new = OwnerStore(PostgresOnlineStore(), ACME, FeatureService("shop", (changed,)))
    assert new.since() is None
    new.materialize(hour(12), rows)
    assert new.read(USERS, hour(13)).table["spend__max_amount_all"].to_pylist() == [5, 7, None]
    now = kept(ACME)
    assert len(now["online_groups"]) == len(now["online_views"]) == 1
    assert not set(now["online_partials"]) & set(old["online_partials"])


def test_failing_at_any_statement_leaves_nothing_behind(
    store: OwnerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever a materialization dies, the one that follows ends as if it had not been."""
    history = lines("a ann tea 5 1", "b bob ale 7 2")
    streamed = lines("c ann ale 1 13", "d cat tea 2 30")
    delivered = lines("e bob tea 3 14", "c ann ale 1 13")

    def prepare() -> None:
        forget(ACME)
        store.materialize(hour(12), history)
        store.append(streamed)

    prepare()
    store.materialize(hour(24), delivered)
    wanted = kept(ACME)
    prepare()
    before = kept(ACME)
    execute = psycopg.Connection.execute

    class KilledError(Exception):
        pass

    for last in range(1000):
        statements = iter(range(last))

        def dying(self: Any, *arguments: Any, left: Any = statements, **options: Any) -> Any:
            if next(left, None) is None:
                raise KilledError
            return execute(self, *arguments, **options)

        with monkeypatch.context() as patch:
            patch.setattr(psycopg.Connection, "execute", dying)
            patch.setattr(compaction, "compact", lambda tenant: 0)
            try:
                store.materialize(hour(24), delivered)
            except KilledError:
                pass
            else:
                break
        assert kept(ACME) == before
    assert last > 10
    assert kept(ACME) == wanted


def test_killed_and_rerun_ends_the_same(store: OwnerStore, tmp_path: Path) -> None:
    """A process that is killed right before it would commit is as if it had never run."""
    store.materialize(hour(12), lines("a ann tea 5 1"))
    store.append(lines("b ann tea 5 13"))
    before = kept(ACME)
    code = """
import os, signal
from include.stores.postgres.online import PostgresOnlineStore, materialization
from include.tenants.namespace import TenantRef
from tests.online_shop import OwnerStore, hour
finish = materialization._Work.finish
def die(self, *arguments):
    finish(self, *arguments)
    os.kill(os.getpid(), signal.SIGKILL)
materialization._Work.finish = die
OwnerStore(PostgresOnlineStore(), TenantRef("acme", "eu", "pool")).materialize(hour(24))
"""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    child = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert child.returncode == -signal.SIGKILL
    assert kept(ACME) == before
    store.materialize(hour(24))
    assert store.read(USERS, hour(24)).table["spend__count_all"].to_pylist() == [2, 0, 0]


def test_a_compaction_that_dies_changes_nothing(
    store: OwnerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old batches are there until the merged one is."""
    monkeypatch.setattr(compaction, "compact", lambda tenant: 0)
    for day in range(4):
        store.materialize(hour(24 * day + 24), lines(f"{day} ann tea 1 {24 * day + 1}"))
    before = kept(ACME)
    with monkeypatch.context() as patch:
        patch.setattr("include.stores.postgres.online.partials.save_group", None)
        with pytest.raises(TypeError):
            compact(ACME, most=2)
    assert kept(ACME) == before
    assert compact(ACME, most=2) == 1
    assert len(batches()) == 1
    assert store.read(USERS, hour(96)).table["spend__count_all"].to_pylist() == [4, 0, 0]


def test_what_streams_in_during_a_materialization_is_not_lost(
    store: OwnerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event appended while a batch is written counts at once, and once for all."""
    everything = lines("a ann tea 5 1", "b ann tea 5 11")
    store.materialize(hour(2), everything)
    save = materialization.partials.save_group

    def meanwhile(*arguments: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(materialization.partials, "save_group", save)
            store.append(lines("b ann tea 5 11", "c ann tea 5 11.5"))
        save(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(materialization.partials, "save_group", meanwhile)
        store.materialize(hour(12), everything)
    counts = []
    for until in (12, 13, 14):
        counts += store.read(USERS, hour(until)).table["spend__count_all"].to_pylist()[:1]
        store.materialize(hour(until + 1))
    assert counts == [3, 3, 3]


def test_a_restarted_server_is_met_with_a_new_connection(store: OwnerStore) -> None:
    """A connection that died between two reads is replaced unnoticed."""
    store.materialize(hour(0), lines("a ann tea 5 -1"))
    assert store.read(USERS, hour(1)).table["spend__count_all"].to_pylist()[0] == 1
    with tenant_transaction(ACME) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE usename = current_user AND pid <> pg_backend_pid()"
        )
    assert store.read(USERS, hour(1)).table["spend__count_all"].to_pylist()[0] == 1


def test_what_the_lake_delivered_is_kept_no_longer_as_it_streamed_in(store: OwnerStore) -> None:
    """And what it delivered long ago is on no list."""
    store.materialize(hour(0))
    line = lines("a ann tea 5 10")
    store.append(line)
    store.materialize(hour(12))
    late = line.set_column(12, "created_timestamp", lines("a ann tea 5 10 20")["created_timestamp"])
    store.materialize(hour(24), late)
    assert kept(ACME)["online_events"] == []
    store.materialize(hour(240))
    assert kept(ACME)["online_delivered"] == []


def test_a_refused_row_leaves_every_table_as_it_was(store: OwnerStore) -> None:
    """Whether it streams in or is delivered."""
    store.materialize(hour(12), lines("a ann tea 5 10"))
    before = kept(ACME)
    with pytest.raises(QualityError):
        store.append(lines("z bob tea 5 13", "a\0b ann tea 5 13"))
    with pytest.raises(QualityError):
        store.materialize(hour(14), lines(f"a {'u' * 3_000} tea 5 13"))
    assert kept(ACME) == before
