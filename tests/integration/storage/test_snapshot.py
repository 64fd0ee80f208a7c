"""Reads in one round trip are confined like any transaction, and leave nothing behind."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import psycopg
import pytest

from include.errors import IsolationError
from include.runtime.postgres import Postgres
from include.storage.postgres import keyed_transaction, snapshot
from include.tenants.namespace import TenantRef

pytestmark = pytest.mark.integration

NOW = datetime(2024, 1, 1, tzinfo=UTC)
FACTS = "SELECT tenant_id, value FROM online_facts ORDER BY value"
AWKWARD = 'it\'s \\ "quoted"; %s $1 \n--'
INSERT = """
    INSERT INTO online_facts (tenant_id, entity, entity_id, name, source, event_id, value,
        valid_from, created_timestamp)
    VALUES (%s, 'user', 'u', 'segment', 'test', %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""


@pytest.fixture
def tenants(
    platform: Postgres, pool_tenants: tuple[TenantRef, TenantRef]
) -> tuple[TenantRef, TenantRef]:
    """Two tenants that share tables, each with a fact of its own."""
    for tenant in pool_tenants:
        with keyed_transaction(tenant) as connection:
            connection.execute("DELETE FROM online_facts")
            connection.execute(INSERT, [tenant.id, "e", f"{tenant.id}'s", NOW, NOW])
    return pool_tenants


def test_a_forgotten_where_clause_shows_the_tenants_rows_alone(
    tenants: tuple[TenantRef, TenantRef],
) -> None:
    """The same prepared query on the same connection answers each tenant with its own rows."""
    for tenant in (*tenants, *tenants):
        assert snapshot(tenant, [(FACTS, [])]) == [[(tenant.id, f"{tenant.id}'s")]]
    one, other = tenants
    named = f"{FACTS.replace('ORDER', 'WHERE tenant_id = $1 ORDER')}"
    assert snapshot(one, [(named, [other.id])]) == [[]]


def test_after_a_snapshot_no_tenant_is_left_in_the_connection(
    tenants: tuple[TenantRef, TenantRef],
) -> None:
    """The tenant ends with the transaction, also on a connection that stays open."""
    one, other = tenants
    snapshot(one, [(FACTS, [])])
    with keyed_transaction(other) as connection:
        connection.commit()
        row = connection.execute("SELECT count(*) AS rows FROM online_facts").fetchone()
        assert row == {"rows": 0}


def test_values_are_values_whatever_they_contain(tenants: tuple[TenantRef, TenantRef]) -> None:
    """Quotes, backslashes, line ends and placeholders come back as they went."""
    query = "SELECT $1::text, $2::text[], $3::timestamptz, $4::text"
    arguments = [AWKWARD, [AWKWARD, "b"], NOW, None]
    assert snapshot(tenants[0], [(query, arguments)]) == [[(*arguments,)]]


def test_a_query_that_fails_leaves_no_transaction_open(
    tenants: tuple[TenantRef, TenantRef],
) -> None:
    """What fails on the way, or cannot even be prepared, is raised; the next read works."""
    one, _ = tenants
    for bad in ("SELECT 1 / $1::int", "SELECT nothing FROM nowhere WHERE $1 = 0"):
        with pytest.raises(psycopg.Error):
            snapshot(one, [(FACTS, []), (bad, [0])])
        assert snapshot(one, [(FACTS, [])]) == [[(one.id, f"{one.id}'s")]]


def test_a_snapshot_writes_nothing(tenants: tuple[TenantRef, TenantRef]) -> None:
    """A statement that changes rows is refused."""
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        snapshot(tenants[0], [("DELETE FROM online_facts WHERE name = $1", ["segment"])])


def test_the_same_may_be_read_again_and_again(tenants: tuple[TenantRef, TenantRef]) -> None:
    """A connection that has read it before does not take it for something to be prepared."""
    one, _ = tenants
    for _ in range(5):
        assert snapshot(one, [(FACTS, []), (FACTS, [])]) == 2 * [[(one.id, f"{one.id}'s")]]


def test_what_is_written_between_two_queries_is_in_neither(
    tenants: tuple[TenantRef, TenantRef], platform: Postgres
) -> None:
    """All queries of a snapshot see one moment, however long it takes."""
    one, _ = tenants
    wait = ("SELECT 1 FROM pg_advisory_xact_lock($1)", [1])
    waiting = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    with (
        psycopg.connect(platform.dsn("tenantry"), autocommit=True) as held,
        ThreadPoolExecutor(1) as readers,
    ):
        held.execute("SELECT pg_advisory_lock(1)")
        read = readers.submit(snapshot, one, [(FACTS, []), wait, (FACTS, [])])
        while not read.done() and not held.execute(waiting).fetchall():
            time.sleep(0.01)
        with keyed_transaction(one) as connection:
            connection.execute(INSERT, [one.id, "meanwhile", "new", NOW, NOW])
        held.execute("SELECT pg_advisory_unlock(1)")
        before, _, after = read.result()
    assert before == after == [(one.id, f"{one.id}'s")]


def test_an_unconfined_login_sees_nothing(
    tenants: tuple[TenantRef, TenantRef], platform: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A login that could see past row-level security is refused before any row is returned."""
    monkeypatch.setenv("TENANTRY_DATABASE_URL", platform.dsn("tenantry"))
    with pytest.raises(IsolationError, match="superuser"):
        snapshot(tenants[0], [(FACTS, [])])


def test_a_list_may_be_empty_or_full_of_quotes(tenants: tuple[TenantRef, TenantRef]) -> None:
    """Arrays of texts come back element by element."""
    for texts in ([], [""], ["NULL", "{a,b}", AWKWARD, "\\", '"']):
        assert snapshot(tenants[0], [("SELECT $1::text[]", [texts])]) == [[(texts,)]]


def test_nul_is_refused_before_anything_is_sent(tenants: tuple[TenantRef, TenantRef]) -> None:
    """A text that Postgres would cut short at the NUL is not asked with."""
    for value in ("a\0b", ["a\0b"]):
        with pytest.raises(psycopg.DataError, match="NUL"):
            snapshot(tenants[0], [("SELECT $1", [value])])
