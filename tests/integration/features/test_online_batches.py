"""Batches: written once whatever happens, only for who had something new, and made few."""

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
from online_shop import SHOP, forget, hour, kept, lines

from include.features.declarations import ALL_HISTORY, Aggregation
from include.features.online import materialize
from include.features.online import store as store_module
from include.features.online.compaction import MOST_BATCHES, compact, merged
from include.features.online.partials import Batch
from include.features.online.store import OnlineStore
from include.features.views import FeatureService
from include.runtime.postgres import Postgres
from include.storage.postgres import tenant_transaction
from include.tenants.namespace import TenantRef

pytestmark = pytest.mark.integration

ACME = TenantRef("acme", "eu", "pool")
USERS = {"user_id": ["ann", "bob", "cat"]}


@pytest.fixture
def store(database: Postgres) -> Iterator[OnlineStore]:
    """Acme's store, empty."""
    forget(ACME)
    yield OnlineStore(ACME, SHOP, "Europe/Vienna")
    forget(ACME)


def batches() -> list[tuple[str, Any]]:
    """Which entity has a state in which batch."""
    with tenant_transaction(ACME) as connection:
        rows = connection.execute(
            "SELECT entity_key, until FROM online_partials WHERE event_key = '' ORDER BY 2, 1"
        ).fetchall()
    return [(row["entity_key"], row["until"]) for row in rows]


def test_materializing_again_changes_nothing(store: OnlineStore) -> None:
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


def test_a_batch_is_written_for_who_had_something_new(store: OnlineStore) -> None:
    """Nobody else's states are touched; their number follows the events, not the history."""
    store.materialize(hour(12), lines("a ann tea 5 1", "b bob ale 7 2"))
    done = store.materialize(hour(24), lines("c ann tea 5 13", "d ann tea 5 14"))
    assert (done.rows, done.entities) == (2, 1)
    first, second = hour(12), hour(24)
    assert batches() == [('["ann"]', first), ('["bob"]', first), ('["ann"]', second)]


def test_many_batches_become_few_with_the_same_answers(store: OnlineStore) -> None:
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
    one = OnlineStore(TenantRef("acme", "us", "pool"), SHOP, "Europe/Vienna")
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


def test_a_view_that_is_served_no_more_is_forgotten(store: OnlineStore) -> None:
    """A changed declaration is built from all of history, and nothing of the old one stays."""
    rows = lines("a ann tea 5 1", "b bob ale 7 2")
    store.materialize(hour(12), rows)
    old = kept(ACME)
    view = SHOP.views[0]
    changed = type(view)(
        view.name, view.entity, view.stream, (Aggregation("max", "amount", (ALL_HISTORY,)),)
    )
    new = OnlineStore(ACME, FeatureService("shop", (changed,)), "Europe/Vienna")
    assert new.since() is None
    new.materialize(hour(12), rows)
    assert new.read(USERS, hour(13)).table["spend__max_amount_all"].to_pylist() == [5, 7, None]
    now = kept(ACME)
    assert len(now["online_groups"]) == len(now["online_views"]) == 1
    assert not set(now["online_partials"]) & set(old["online_partials"])


def test_failing_at_any_statement_leaves_nothing_behind(
    store: OnlineStore, monkeypatch: pytest.MonkeyPatch
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
            patch.setattr(store_module, "compact", lambda tenant: 0)
            try:
                store.materialize(hour(24), delivered)
            except KilledError:
                pass
            else:
                break
        assert kept(ACME) == before
    assert last > 10
    assert kept(ACME) == wanted


def test_killed_and_rerun_ends_the_same(store: OnlineStore, tmp_path: Path) -> None:
    """A process that is killed right before it would commit is as if it had never run."""
    store.materialize(hour(12), lines("a ann tea 5 1"))
    store.append(lines("b ann tea 5 13"))
    before = kept(ACME)
    code = """
import os, signal
from datetime import datetime
from online_shop import SHOP, hour
from include.features.online import materialize
from include.features.online.store import OnlineStore
from include.tenants.namespace import TenantRef
finish = materialize._Work.finish
def die(self, *arguments):
    finish(self, *arguments)
    os.kill(os.getpid(), signal.SIGKILL)
materialize._Work.finish = die
OnlineStore(TenantRef("acme", "eu", "pool"), SHOP, "Europe/Vienna").materialize(hour(24))
"""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}
    child = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert child.returncode == -signal.SIGKILL
    assert kept(ACME) == before
    store.materialize(hour(24))
    assert store.read(USERS, hour(24)).table["spend__count_all"].to_pylist() == [2, 0, 0]


def test_a_compaction_that_dies_changes_nothing(
    store: OnlineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old batches are there until the merged one is."""
    monkeypatch.setattr(store_module, "compact", lambda tenant: 0)
    for day in range(4):
        store.materialize(hour(24 * day + 24), lines(f"{day} ann tea 1 {24 * day + 1}"))
    before = kept(ACME)
    with monkeypatch.context() as patch:
        patch.setattr("include.features.online.partials.save_group", None)
        with pytest.raises(TypeError):
            compact(ACME, most=2)
    assert kept(ACME) == before
    assert compact(ACME, most=2) == 1
    assert len(batches()) == 1
    assert store.read(USERS, hour(96)).table["spend__count_all"].to_pylist() == [4, 0, 0]


def test_what_streams_in_during_a_materialization_is_not_lost(
    store: OnlineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An event appended while a batch is written counts at once, and once for all."""
    everything = lines("a ann tea 5 1", "b ann tea 5 11")
    store.materialize(hour(2), everything)
    save = materialize.partials.save_group

    def meanwhile(*arguments: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(materialize.partials, "save_group", save)
            store.append(lines("b ann tea 5 11", "c ann tea 5 11.5"))
        save(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(materialize.partials, "save_group", meanwhile)
        store.materialize(hour(12), everything)
    counts = []
    for until in (12, 13, 14):
        counts += store.read(USERS, hour(until)).table["spend__count_all"].to_pylist()[:1]
        store.materialize(hour(until + 1))
    assert counts == [3, 3, 3]
