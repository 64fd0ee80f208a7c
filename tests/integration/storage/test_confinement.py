"""Every door to tenants' rows refuses every login that could see past row-level security."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from typing import Final

import psycopg
import pytest

from include.errors import ConfigError, IsolationError, UnavailableError
from include.runtime.postgres import Postgres
from include.storage import postgres
from include.storage.postgres import keyed_transaction, snapshot, tenant_transaction
from include.tenants.namespace import TenantRef

pytestmark = pytest.mark.integration

Door = Callable[[TenantRef], int]
Transaction = Callable[[TenantRef], AbstractContextManager[postgres.Connection]]
QUERY: Final = "SELECT pg_backend_pid() AS pid"


def _plain(tenant: TenantRef) -> int:
    with tenant_transaction(tenant) as connection:
        row = connection.execute(QUERY).fetchone()
    assert row is not None
    return int(row["pid"])


def _keyed(tenant: TenantRef) -> int:
    with keyed_transaction(tenant) as connection:
        row = connection.execute(QUERY).fetchone()
    assert row is not None
    return int(row["pid"])


def _snapshot(tenant: TenantRef) -> int:
    (((pid,),),) = snapshot(tenant, [(QUERY, [])])
    return int(pid)


#: Each gives the server's process behind the connection, or raises.
DOORS: Final[dict[str, Door]] = {
    "tenant_transaction": _plain,
    "keyed_transaction": _keyed,
    "snapshot": _snapshot,
}

#: The doors that are transactions, and which of them leads where a door does.
TRANSACTIONS: Final = (tenant_transaction, keyed_transaction)
LIKE: Final = {
    "tenant_transaction": tenant_transaction,
    "keyed_transaction": keyed_transaction,
    "snapshot": keyed_transaction,
}

#: What makes of the role `suspect`, which is as good as `tenantry_app`, one that sees more.
BAD: Final[dict[str, tuple[str, ...]]] = {
    "superuser": ("ALTER ROLE suspect SUPERUSER",),
    "bypasses row-level security": ("ALTER ROLE suspect BYPASSRLS",),
    "replicates": ("ALTER ROLE suspect REPLICATION",),
    "makes roles": ("ALTER ROLE suspect CREATEROLE",),
    "owns a table": ("ALTER TABLE suspects OWNER TO suspect",),
    "owns a table of tenants": ("ALTER TABLE tenantry.slices OWNER TO suspect",),
    "member of a superuser": ("GRANT postgres TO suspect",),
    "member of an owner": ("ALTER TABLE suspects OWNER TO hidden", "GRANT hidden TO suspect"),
    "member of one that bypasses": ("ALTER ROLE hidden BYPASSRLS", "GRANT hidden TO suspect"),
    "member of a member": ("GRANT postgres TO hidden", "GRANT hidden TO suspect"),
    "member without inheriting": (
        "ALTER ROLE hidden BYPASSRLS",
        "ALTER ROLE suspect NOINHERIT",
        "GRANT hidden TO suspect WITH INHERIT FALSE, SET TRUE",
    ),
    "may only admit members": (
        "ALTER ROLE hidden BYPASSRLS",
        "GRANT hidden TO suspect WITH INHERIT FALSE, SET FALSE, ADMIN TRUE",
    ),
    "another role from login on": (
        "ALTER TABLE suspects OWNER TO hidden",
        "GRANT hidden TO suspect",
        "ALTER ROLE suspect SET role TO hidden",
    ),
    "reads the server's files": ("GRANT pg_read_server_files TO suspect",),
    "writes the server's files": ("GRANT pg_write_server_files TO suspect",),
    "runs the server's programs": ("GRANT pg_execute_server_program TO suspect",),
}


@pytest.fixture
def suspect(platform: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Runs statements as a superuser; `suspect` is what TENANTRY_DATABASE_URL logs in as."""

    def run(*statements: str) -> None:
        with psycopg.connect(platform.dsn("tenantry"), autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)  # type: ignore[arg-type]

    run(
        "CREATE ROLE suspect LOGIN IN ROLE tenantry_app",
        "CREATE ROLE hidden",
        "CREATE TABLE suspects (x int)",
    )
    monkeypatch.setenv("TENANTRY_DATABASE_URL", platform.dsn("tenantry", "suspect"))
    monkeypatch.setattr(postgres, "_idle", {})
    try:
        yield run
    finally:
        run(
            "ALTER TABLE tenantry.slices OWNER TO postgres",
            "DROP TABLE suspects",
            "DROP ROLE suspect",
            "DROP ROLE hidden",
        )
        for connections in postgres._idle.values():
            for connection in connections:
                connection.close()


@pytest.fixture
def tenant(pool_tenants: tuple[TenantRef, TenantRef]) -> TenantRef:
    """Whose rows are asked for."""
    return pool_tenants[0]


@pytest.mark.parametrize("door", DOORS)
def test_a_login_that_sees_no_more_is_let_in(
    door: str, suspect: Callable[..., None], tenant: TenantRef
) -> None:
    """What the other tests make worse is good to begin with."""
    assert DOORS[door](tenant) > 0


@pytest.mark.parametrize("door", DOORS)
def test_a_database_that_does_not_answer_is_said_to_be_away(
    door: str, tenant: TenantRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which database it is, and what to do; never the address, which may hold a password."""
    away = "postgresql://tenantry_app:hush@127.0.0.1:1/tenantry"
    monkeypatch.setenv("TENANTRY_DATABASE_URL", away)
    monkeypatch.setattr(postgres, "_idle", {})
    with pytest.raises(UnavailableError, match=r"'tenantry' does not answer .*make up") as raised:
        DOORS[door](tenant)
    assert "hush" not in str(raised.value)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("bad", BAD)
def test_a_login_that_could_see_more_is_refused(
    bad: str, door: str, suspect: Callable[..., None], tenant: TenantRef
) -> None:
    """Whatever it is itself or may become, at whichever door; the connection is not kept."""
    suspect(*BAD[bad])
    with pytest.raises(IsolationError, match="use the role `tenantry_app`"):
        DOORS[door](tenant)
    assert not any(postgres._idle.values())


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("bad", BAD)
def test_a_login_that_came_to_see_more_since_is_refused(
    bad: str, door: str, suspect: Callable[..., None], tenant: TenantRef
) -> None:
    """A connection that was opened while the login was good is looked at again at each use."""
    before = DOORS[door](tenant)
    assert DOORS[door](tenant) == before, "the connection is used again"
    suspect(*BAD[bad])
    with pytest.raises(IsolationError):
        DOORS[door](tenant)
    assert not any(postgres._idle.values()), "it is not kept"


@pytest.mark.parametrize("door", DOORS)
def test_without_a_database_named_there_is_no_door(
    door: str, tenant: TenantRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No default leads anywhere: what is not set is said, with what sets it."""
    monkeypatch.delenv("TENANTRY_DATABASE_URL", raising=False)
    with pytest.raises(ConfigError, match=r"^TENANTRY_DATABASE_URL is not set; `make up`"):
        DOORS[door](tenant)


@pytest.mark.parametrize("transaction", TRANSACTIONS)
def test_what_fails_within_is_raised_and_its_connection_not_used_again(
    transaction: Transaction,
    platform: Postgres,
    tenant: TenantRef,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing of a transaction that failed is left, on the server or in the process."""
    monkeypatch.setattr(postgres, "_idle", {})
    with transaction(tenant) as connection:
        pass
    with pytest.raises(psycopg.errors.DivisionByZero), transaction(tenant) as again:
        again.execute("SELECT 1 / 0")
    assert again is connection
    assert connection.closed
    assert not any(postgres._idle.values())


@pytest.mark.parametrize("door", DOORS)
def test_no_connection_that_the_server_hung_up_on_is_kept(
    door: str, platform: Postgres, tenant: TenantRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that were idle are closed when one turns out dead; the read itself succeeds."""
    monkeypatch.setattr(postgres, "_idle", {})
    with LIKE[door](tenant) as one, LIKE[door](tenant) as other:
        pids = [connection.info.backend_pid for connection in (one, other)]
    with psycopg.connect(platform.dsn("postgres"), autocommit=True) as admin:
        for pid in pids:
            admin.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    assert DOORS[door](tenant) not in pids
    assert one.closed
    assert other.closed
    (idle,) = postgres._idle.values()
    assert len(idle) == 1


def test_no_more_connections_stay_open_than_a_process_needs(
    platform: Postgres, tenant: TenantRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What many transactions at a time opened beyond eight is closed after them."""
    monkeypatch.setattr(postgres, "_idle", {})
    with ExitStack() as stack:
        used = [stack.enter_context(keyed_transaction(tenant)) for _ in range(10)]
    (idle,) = postgres._idle.values()
    assert len(idle) == 8
    assert {id(one) for one in used if not one.closed} == {id(one) for one in idle}


def test_what_is_asked_again_is_planned_once(
    platform: Postgres, tenant: TenantRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From its second time on a statement of a pooled connection is a prepared one."""
    monkeypatch.setattr(postgres, "_idle", {})
    asked = "SELECT count(*) AS prepared FROM pg_prepared_statements WHERE statement LIKE %s"
    for _ in range(2):
        with keyed_transaction(tenant) as connection:
            row = connection.execute(asked, ["%pg_prepared_statements%"]).fetchone()
    assert row == {"prepared": 1}


@pytest.mark.parametrize("door", DOORS)
def test_what_a_session_was_set_to_is_gone_for_the_next_tenant(
    door: str, suspect: Callable[..., None], pool_tenants: tuple[TenantRef, TenantRef]
) -> None:
    """A tenant set for the whole session, or a role, does not outlast who set it."""
    one, other = pool_tenants
    with LIKE[door](one) as connection:
        connection.execute("SELECT set_config('tenantry.tenant', %s, false)", [one.id])
        connection.execute("SET ROLE tenantry_app")
    asked = "SELECT current_setting('tenantry.tenant') AS tenant"
    if door == "snapshot":
        assert snapshot(other, [(asked, [])]) == [[(other.id,)]]
    else:
        with LIKE[door](other) as connection:
            assert connection.execute(asked).fetchone() == {"tenant": other.id}


@pytest.mark.parametrize("transaction", TRANSACTIONS)
def test_a_transaction_leaves_nothing_in_its_session(
    transaction: Transaction,
    platform: Postgres,
    pool_tenants: tuple[TenantRef, TenantRef],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither a setting nor a lock, a cursor, a channel or a temporary table: as if it were new."""
    monkeypatch.setattr(postgres, "_idle", {})
    one, other = pool_tenants
    left = """
        SELECT (SELECT count(*) FROM pg_locks
                WHERE locktype = 'advisory' AND pid = pg_backend_pid()) AS locks,
               (SELECT count(*) FROM pg_cursors WHERE name <> '') AS cursors,
               (SELECT count(*) FROM pg_listening_channels()) AS channels,
               (SELECT count(*) FROM pg_class WHERE relname = 'own') AS tables,
               current_setting('search_path') AS path, current_setting('tenantry.own', true) AS own
    """
    with psycopg.connect(platform.dsn("tenantry"), autocommit=True) as admin:
        admin.execute("GRANT TEMPORARY ON DATABASE tenantry TO tenantry_app")
    with transaction(one) as connection:
        before = connection.execute(left).fetchone()
        for statement in (
            *("SELECT pg_advisory_lock(1)", "DECLARE own CURSOR WITH HOLD FOR SELECT 1"),
            *("LISTEN own", "CREATE TEMPORARY TABLE own (x int)", "SET search_path = public"),
            "SELECT set_config('tenantry.own', 'of one', false)",
        ):
            connection.execute(statement)  # type: ignore[call-overload]
    with psycopg.connect(platform.dsn("tenantry"), autocommit=True) as admin:
        admin.execute("REVOKE TEMPORARY ON DATABASE tenantry FROM tenantry_app")
    with transaction(other) as again:
        after = again.execute(left).fetchone()
    assert again is connection
    assert after is not None
    assert after | {"own": after["own"] or None} == before


def test_a_forked_process_opens_its_own_connection(
    platform: Postgres, tenant: TenantRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Airflow's tasks are; what the parent left open goes on working after the child's end."""
    monkeypatch.setattr(postgres, "_idle", {})
    before = _plain(tenant)
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        try:
            os.write(writing, str(_plain(tenant)).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert int(os.read(reading, 20)) != before
    assert _plain(tenant) == before


def test_a_process_that_visits_many_databases_keeps_few_connections(
    platform: Postgres, tenant: TenantRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that was unused for longest is closed, whichever database it leads to."""
    monkeypatch.setattr(postgres, "_idle", {})
    plain = platform.dsn("tenantry", "tenantry_app")
    used = []
    for number in range(10):
        monkeypatch.setenv("TENANTRY_DATABASE_URL", f"{plain}&application_name=app{number}")
        with tenant_transaction(tenant) as connection:
            used.append(connection)
    assert [one.closed for one in used] == 2 * [True] + 8 * [False]


def test_threads_never_share_a_connection(
    platform: Postgres, tenant: TenantRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has one has it alone until the transaction ends."""
    monkeypatch.setattr(postgres, "_idle", {})
    held: set[int] = set()

    def hold(_: int) -> bool:
        with tenant_transaction(tenant) as connection:
            shared = id(connection) in held
            held.add(id(connection))
            connection.execute("SELECT pg_sleep(0.001)")
            held.remove(id(connection))
        return shared

    with ThreadPoolExecutor(6) as threads:
        assert not any(threads.map(hold, range(120)))
