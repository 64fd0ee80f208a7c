"""Postgres itself keeps two tenants apart, on every table there is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from include.errors import IsolationError
from include.runtime.postgres import Postgres
from include.storage.postgres import tenant_transaction
from include.tenants.namespace import TenantRef, database

pytestmark = pytest.mark.integration

type_values: dict[str, Any] = {
    "text": "x",
    "timestamp with time zone": datetime(2024, 1, 1, tzinfo=UTC),
    "date": datetime(2024, 1, 1, tzinfo=UTC).date(),
    "bigint": 1,
    "integer": 1,
    "smallint": 1,
    "double precision": 0.5,
    "numeric": 1,
    "boolean": True,
    "jsonb": Jsonb({}),
    "bytea": b"x",
}

#: Ledgers: rows can be added and read, and Postgres refuses everything else.
APPEND_ONLY = {
    *("promotions", "audit"),
    *("experiments", "outcomes_measured", "experiment_outcomes", "shadow_outcomes"),
}
#: A text of each of these that is no part of how the tests find a row again.
TEXTS = ("use_case", "action")

TENANT_TABLES = """
    SELECT n.nspname AS schema, c.relname AS table, c.oid,
           c.relrowsecurity AND c.relforcerowsecurity AS confined,
           (SELECT count(*) FROM pg_policy p WHERE p.polrelid = c.oid) AS policies,
           (SELECT a.attname FROM pg_index i JOIN pg_attribute a
              ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
            WHERE i.indrelid = c.oid AND i.indisprimary) AS first_key
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
      AND EXISTS (SELECT FROM pg_attribute t
                  WHERE t.attrelid = c.oid AND t.attname = 'tenant_id' AND NOT t.attisdropped)
    ORDER BY 1, 2
"""


def _rows(connection: psycopg.Connection[Any], query: Any, *arguments: Any) -> list[Any]:
    return connection.execute(query, arguments or None).fetchall()


def _databases(server: Postgres) -> list[str]:
    with psycopg.connect(server.dsn("postgres")) as connection:
        found = _rows(connection, "SELECT datname FROM pg_database WHERE datname LIKE 'tenantry%'")
    return sorted(name for (name,) in found)


def _columns(connection: psycopg.Connection[Any], table: str) -> Iterator[tuple[str, str, str]]:
    yield from _rows(
        connection,
        "SELECT column_name, data_type, coalesce((SELECT string_agg(pg_get_constraintdef(oid), ' ')"
        " FROM pg_constraint WHERE contype = 'c' AND conrelid = ('tenantry.' || %s)::regclass"
        " AND pg_get_constraintdef(oid) LIKE '%%' || column_name || '%%'), '')"
        " FROM information_schema.columns WHERE table_schema = 'tenantry' AND table_name = %s"
        " ORDER BY ordinal_position",
        table,
        table,
    )


def _tables(server: Postgres) -> list[str]:
    with psycopg.connect(server.dsn("tenantry")) as connection:
        return [row[1] for row in _rows(connection, TENANT_TABLES)]


def _fill(server: Postgres, table: str, tenant: TenantRef) -> dict[str, Any]:
    """One row of the tenant's in the table, written through its own transaction."""
    with psycopg.connect(server.dsn("tenantry")) as connection:
        row = {}
        for name, kind, check in _columns(connection, table):
            # A column with a CHECK takes the first of the values it lists.
            row[name] = check.split("'")[1] if "'" in check else type_values[kind]
    row["tenant_id"] = tenant.id
    with tenant_transaction(tenant) as connection:
        connection.execute(
            _insert(table, row) + sql.SQL(" ON CONFLICT DO NOTHING"), [*row.values()]
        )
    return row


def _insert(table: str, row: dict[str, Any]) -> sql.Composed:
    return sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, row)),
        sql.SQL(", ").join([sql.Placeholder()] * len(row)),
    )


def test_every_table_with_a_tenant_id_is_confined(platform: Postgres) -> None:
    """Row-level security is enabled and forced, a policy exists, the tenant leads the key."""
    databases = _databases(platform)
    assert len(databases) >= 2, "the pool and a silo"
    for name in databases:
        with psycopg.connect(platform.dsn(name)) as connection:
            tables = _rows(connection, TENANT_TABLES)
            assert tables, name
            for schema, table, _, confined, policies, first_key in tables:
                place = f"{name}.{schema}.{table}"
                assert confined, f"{place}: row-level security is not enabled and forced"
                assert policies, f"{place}: no policy"
                assert first_key == "tenant_id", f"{place}: tenant_id is not first in the key"


def test_every_policy_compares_with_the_transactions_tenant(platform: Postgres) -> None:
    """No policy of any table lets a row through, or in, for another reason."""
    expected = "(tenant_id = current_setting('tenantry.tenant'::text, true))"
    for name in _databases(platform):
        with psycopg.connect(platform.dsn(name)) as connection:
            policies = _rows(
                connection,
                "SELECT tablename, permissive, roles::text, cmd, qual, with_check FROM pg_policies",
            )
        for table, permissive, roles, command, visible, writable in policies:
            found = (permissive, roles, command, visible, writable)
            assert found == ("PERMISSIVE", "{public}", "ALL", expected, expected), table


def test_no_view_or_function_reads_past_the_policies(platform: Postgres) -> None:
    """A view owned by the superuser, or a SECURITY DEFINER function, would see every row."""
    for name in _databases(platform):
        with psycopg.connect(platform.dsn(name)) as connection:
            assert not _rows(
                connection,
                "SELECT nspname, relname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace "
                "WHERE relkind IN ('v', 'm') "
                "AND nspname NOT IN ('pg_catalog', 'information_schema') "
                "AND NOT coalesce('security_invoker=true' = ANY (reloptions), false)",
            )
            assert not _rows(
                connection,
                "SELECT proname FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace "
                "WHERE prosecdef AND nspname NOT IN ('pg_catalog', 'information_schema')",
            )


def test_the_application_role_owns_nothing_and_cannot_bypass(platform: Postgres) -> None:
    """No ownership, no memberships, none of the attributes that see past row-level security."""
    with psycopg.connect(platform.dsn("tenantry", "tenantry_app")) as connection:
        assert _rows(
            connection,
            "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication,"
            " EXISTS (SELECT FROM pg_class WHERE relowner = r.oid),"
            " EXISTS (SELECT FROM pg_auth_members WHERE member = r.oid)"
            " FROM pg_roles r WHERE rolname = current_user",
        ) == [(False,) * 7]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE TABLE tenantry.mine (tenant_id text)")


def test_a_tenant_sees_nothing_of_another_on_any_table(
    platform: Postgres, pool_tenants: tuple[TenantRef, TenantRef]
) -> None:
    """Without a WHERE clause, with the other's id in it, by key, joined or counted: nothing."""
    one, other = pool_tenants
    tables = _tables(platform)
    assert len(tables) >= 10
    for table in tables:
        _fill(platform, table, one)
        name = sql.Identifier(table)
        with tenant_transaction(one) as connection:
            own = connection.execute(sql.SQL("SELECT * FROM {}").format(name)).fetchall()
            assert {row["tenant_id"] for row in own} == {one.id}, table
        with tenant_transaction(other) as connection:
            for query in (
                "SELECT * FROM {table} WHERE tenant_id = {id}",
                "SELECT * FROM {table} WHERE tenant_id <> current_setting('tenantry.tenant')",
                "SELECT * FROM {table} WHERE tenant_id = {id} OR true LIMIT 1",
                "SELECT a.* FROM {table} a, {table} b WHERE a.tenant_id = {id}",
                "UPDATE {table} SET tenant_id = tenant_id WHERE tenant_id = {id} RETURNING *",
                "DELETE FROM {table} WHERE tenant_id = {id} RETURNING *",
            ):
                asked = sql.SQL(query).format(table=name, id=sql.Literal(one.id))
                if table in APPEND_ONLY and not query.startswith("SELECT"):
                    with (
                        pytest.raises(psycopg.errors.InsufficientPrivilege, match="denied"),
                        connection.transaction(),
                    ):
                        connection.execute(asked)
                    continue
                assert connection.execute(asked).fetchall() == [], (table, query)
        with tenant_transaction(one) as connection:
            left = connection.execute(sql.SQL("SELECT * FROM {}").format(name)).fetchall()
            assert left == own, table


def test_a_tenant_cannot_write_a_row_of_another_on_any_table(
    platform: Postgres, pool_tenants: tuple[TenantRef, TenantRef]
) -> None:
    """Neither INSERT nor UPDATE nor ON CONFLICT makes or takes over another tenant's row."""
    one, other = pool_tenants
    for table in _tables(platform):
        row = _fill(platform, table, one)
        _fill(platform, table, other)
        insert = _insert(table, row)
        update = sql.SQL("UPDATE {} SET tenant_id = {}").format(
            sql.Identifier(table), sql.Literal(one.id)
        )
        for statement, arguments in (
            (insert, [*row.values()]),
            (insert + sql.SQL(" ON CONFLICT DO NOTHING"), [*row.values()]),
            (update, []),
        ):
            refusal = "row-level security"
            if table in APPEND_ONLY and statement is update:
                refusal = "permission denied"
            with (
                pytest.raises(psycopg.errors.InsufficientPrivilege, match=refusal),
                tenant_transaction(other) as connection,
            ):
                connection.execute(statement, arguments or None)


@pytest.mark.parametrize("table", sorted(APPEND_ONLY))
def test_a_ledgers_rows_stay_as_they_were_written(
    platform: Postgres, silo_tenant: TenantRef, pool_tenants: tuple[TenantRef, ...], table: str
) -> None:
    """Not even its own tenant can change, delete, replace or truncate a row, in pool or silo."""
    for tenant in (pool_tenants[0], silo_tenant):
        row = _fill(platform, table, tenant)
        name, column = sql.Identifier(table), next(key for key in row if key in TEXTS)
        change = sql.SQL("{} = 'y'").format(sql.Identifier(column))
        replacing = sql.SQL(" ON CONFLICT ON CONSTRAINT {} DO UPDATE SET ").format(
            sql.Identifier(f"{table}_pkey")
        )
        for statement, arguments in (
            (sql.SQL("UPDATE {} SET {}").format(name, change), []),
            (sql.SQL("DELETE FROM {}").format(name), []),
            (sql.SQL("TRUNCATE {}").format(name), []),
            (sql.SQL("SELECT * FROM {} FOR UPDATE").format(name), []),
            (_insert(table, row) + replacing + change, [*row.values()]),
        ):
            with (
                pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"),
                tenant_transaction(tenant) as connection,
            ):
                connection.execute(statement, arguments or None)
        with tenant_transaction(tenant) as connection:
            found = connection.execute(sql.SQL("SELECT * FROM {}").format(name)).fetchall()
        assert [one[column] for one in found] == [row[column]]


@pytest.mark.parametrize(
    "statement",
    ["RESET ROLE", "SET ROLE NONE", "RESET ALL", "SET SESSION AUTHORIZATION DEFAULT"],
)
def test_resetting_the_role_or_the_settings_shows_nobody_elses_rows(
    platform: Postgres, pool_tenants: tuple[TenantRef, TenantRef], statement: str
) -> None:
    """What a session may always do leads at most to seeing nothing at all."""
    one, other = pool_tenants
    _fill(platform, "predictions", one)
    with tenant_transaction(other) as connection:
        connection.execute(statement)
        found = connection.execute("SELECT * FROM tenantry.predictions").fetchall()
        assert one.id not in {row["tenant_id"] for row in found}


@pytest.mark.parametrize(
    "statement",
    [
        "SET ROLE postgres",
        "SET SESSION AUTHORIZATION postgres",
        "ALTER TABLE tenantry.predictions DISABLE ROW LEVEL SECURITY",
        "ALTER TABLE tenantry.predictions NO FORCE ROW LEVEL SECURITY",
        "DROP POLICY own_rows ON tenantry.predictions",
        "CREATE POLICY mine ON tenantry.predictions USING (true)",
        "ALTER ROLE tenantry_app BYPASSRLS",
        "TRUNCATE tenantry.predictions",
        "COPY tenantry.predictions TO PROGRAM 'cat'",
        "CREATE FUNCTION tenantry.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    ],
)
def test_a_tenant_cannot_lift_its_own_confinement(
    platform: Postgres, pool_tenants: tuple[TenantRef, TenantRef], statement: str
) -> None:
    """Changing role, table, policy or program is refused by Postgres."""
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        tenant_transaction(pool_tenants[1]) as connection,
    ):
        connection.execute(statement)


def test_the_tenant_of_one_transaction_is_gone_in_the_next(
    platform: Postgres, pool_tenants: tuple[TenantRef, TenantRef]
) -> None:
    """After commit or rollback on the same connection no tenant is set and no row is visible."""
    one, _ = pool_tenants
    _fill(platform, "predictions", one)
    for end in ("commit", "rollback"):
        with tenant_transaction(one) as connection:
            assert connection.execute("SELECT * FROM predictions").fetchall()
            getattr(connection, end)()
            row = connection.execute(
                "SELECT current_setting('tenantry.tenant', true) AS t"
            ).fetchone()
            assert row is not None
            assert not row["t"]
            assert connection.execute("SELECT * FROM predictions").fetchall() == []


def test_nested_transactions_of_two_tenants_do_not_mix(
    platform: Postgres, pool_tenants: tuple[TenantRef, TenantRef]
) -> None:
    """Opening another tenant's transaction inside one's own changes neither."""
    for tenant in pool_tenants:
        _fill(platform, "predictions", tenant)
    one, other = pool_tenants
    with tenant_transaction(one) as outer, tenant_transaction(other) as inner:
        for connection, tenant in ((outer, one), (inner, other), (outer, one)):
            found = connection.execute("SELECT DISTINCT tenant_id FROM predictions").fetchall()
            assert found == [{"tenant_id": tenant.id}]


def test_without_a_tenant_the_application_role_sees_nothing(
    platform: Postgres, pool_tenants: tuple[TenantRef, TenantRef]
) -> None:
    """A connection that was not opened by `tenant_transaction` is an empty database."""
    for table in _tables(platform):
        _fill(platform, table, pool_tenants[0])
        with psycopg.connect(platform.dsn("tenantry", "tenantry_app")) as connection:
            query = sql.SQL("SELECT count(*) FROM tenantry.{}").format(sql.Identifier(table))
            assert connection.execute(query).fetchone() == (0,), table


def test_a_failed_transaction_leaves_no_row(
    platform: Postgres, pool_tenants: tuple[TenantRef, TenantRef]
) -> None:
    """An exception inside the block rolls everything back."""
    one, _ = pool_tenants
    with tenant_transaction(one) as connection:
        connection.execute("DELETE FROM predictions")
    insert = "INSERT INTO predictions VALUES (%s, 'u', now(), 'e', 'i', 1, 1, NULL, '1', 'f')"
    with pytest.raises(psycopg.errors.DivisionByZero), tenant_transaction(one) as connection:
        connection.execute(insert, [one.id]).connection.execute("SELECT 1 / 0")
    with tenant_transaction(one) as connection:
        assert connection.execute("SELECT * FROM predictions").fetchall() == []


def test_a_silo_tenants_rows_lie_in_its_own_database_only(
    platform: Postgres, silo_tenant: TenantRef
) -> None:
    """The pool's tables hold no row of a silo tenant, not even for the superuser."""
    _fill(platform, "predictions", silo_tenant)
    count = "SELECT count(*) FROM tenantry.predictions WHERE tenant_id = %s"
    with psycopg.connect(platform.dsn("tenantry")) as connection:
        assert connection.execute(count, [silo_tenant.id]).fetchone() == (0,)
    with psycopg.connect(platform.dsn(database(silo_tenant))) as connection:
        assert connection.execute(count, [silo_tenant.id]).fetchone() == (1,)


def test_a_login_that_sees_past_row_level_security_is_refused(
    platform: Postgres, monkeypatch: pytest.MonkeyPatch, pool_tenants: tuple[TenantRef, TenantRef]
) -> None:
    """A superuser's, a BYPASSRLS role's and a table owner's DSN open no transaction."""
    with psycopg.connect(platform.dsn("tenantry"), autocommit=True) as connection:
        for statement in (
            "DROP TABLE IF EXISTS tenantry_owned",
            "DROP ROLE IF EXISTS sees_all",
            "CREATE ROLE sees_all LOGIN BYPASSRLS",
            "GRANT CONNECT ON DATABASE tenantry TO sees_all",
        ):
            connection.execute(statement)  # type: ignore[arg-type]
    try:
        for user in ("postgres", "sees_all"):
            monkeypatch.setenv("TENANTRY_DATABASE_URL", platform.dsn("tenantry", user))
            with (
                pytest.raises(IsolationError, match="use the role `tenantry_app`"),
                tenant_transaction(pool_tenants[0]),
            ):
                pass
        with psycopg.connect(platform.dsn("tenantry"), autocommit=True) as connection:
            connection.execute("ALTER ROLE sees_all NOBYPASSRLS")
            connection.execute("CREATE TABLE tenantry_owned (x int)")
            connection.execute("ALTER TABLE tenantry_owned OWNER TO sees_all")
        with (
            pytest.raises(IsolationError, match="owns tables"),
            tenant_transaction(pool_tenants[0]),
        ):
            pass
    finally:
        with psycopg.connect(platform.dsn("tenantry"), autocommit=True) as connection:
            connection.execute("DROP TABLE IF EXISTS tenantry_owned")
            connection.execute("REVOKE ALL ON DATABASE tenantry FROM sees_all")
            connection.execute("DROP ROLE sees_all")


def test_a_role_that_may_become_another_is_refused(
    platform: Postgres, monkeypatch: pytest.MonkeyPatch, pool_tenants: tuple[TenantRef, TenantRef]
) -> None:
    """A login that could SET ROLE to one that sees more is no confinement."""
    with psycopg.connect(platform.dsn("tenantry"), autocommit=True) as connection:
        connection.execute("CREATE ROLE climber LOGIN")
        connection.execute("GRANT postgres TO climber")
        connection.execute("GRANT CONNECT ON DATABASE tenantry TO climber")
    try:
        monkeypatch.setenv("TENANTRY_DATABASE_URL", platform.dsn("tenantry", "climber"))
        with pytest.raises(IsolationError), tenant_transaction(pool_tenants[0]):
            pass
    finally:
        with psycopg.connect(platform.dsn("tenantry"), autocommit=True) as connection:
            connection.execute("REVOKE ALL ON DATABASE tenantry FROM climber")
            connection.execute("DROP ROLE climber")
