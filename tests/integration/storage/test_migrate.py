"""Migrations: repeatable, safe in parallel, and one database per silo tenant."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy.exc import ProgrammingError

from include.errors import ConfigError, UnavailableError
from include.runtime.postgres import Postgres
from include.storage.migrate import _alembic, migrate
from include.storage.postgres import tenant_transaction
from include.tenants.namespace import TenantRef, database

pytestmark = pytest.mark.integration

SCHEMA = """
    SELECT table_name, column_name, data_type, is_nullable, column_default
    FROM information_schema.columns WHERE table_schema = 'tenantry' ORDER BY 1, 2
"""

#: A revision after the newest, as one of a later release would be.
SECOND = """
from alembic import op

revision = "second"
down_revision = "slices_along_with"


def upgrade():
    op.execute("ALTER TABLE tenantry.slices ADD COLUMN kept bigint")
    op.execute("UPDATE tenantry.slices SET kept = rows")
    op.execute("ALTER TABLE tenantry.slices ALTER COLUMN kept SET NOT NULL")


def downgrade():
    op.execute("ALTER TABLE tenantry.slices DROP COLUMN kept")
"""


def _schema(server: Postgres, name: str) -> list[tuple[object, ...]]:
    with psycopg.connect(server.dsn(name)) as connection:
        return connection.execute(SCHEMA).fetchall()


def _with_second(dsn: str, folder: Path, revision: str) -> Config:
    """The product's migrations, followed by one more."""
    (folder / "second.py").write_text(revision)
    alembic = _alembic(dsn)
    own = Path(alembic.get_main_option("script_location") or "") / "versions"
    alembic.set_main_option("version_locations", os.pathsep.join((str(own), str(folder))))
    alembic.set_main_option("path_separator", "os")
    return alembic


def test_migrating_again_changes_nothing(platform: Postgres) -> None:
    """A second run keeps the schema and the rows."""
    acme = TenantRef("acme", "eu", "pool")
    with tenant_transaction(acme) as connection:
        connection.execute(
            "INSERT INTO slices VALUES (%s, 's', now(), now(), 1, 0, 0, 0, 0)", [acme.id]
        )
    before = _schema(platform, "tenantry")
    migrate()
    assert _schema(platform, "tenantry") == before
    with tenant_transaction(acme) as connection:
        assert len(connection.execute("SELECT * FROM slices").fetchall()) == 1


def test_a_silo_has_the_same_tables_as_the_pool(platform: Postgres, silo_tenant: TenantRef) -> None:
    """A silo tenant's database is brought to the same revision."""
    assert _schema(platform, database(silo_tenant)) == _schema(platform, "tenantry")


def test_a_later_revision_alters_tables_that_have_rows(platform: Postgres, tmp_path: Path) -> None:
    """Every tenant's rows get the new column, and the tables are confined as before; going back
    leaves schema and rows as they were."""
    lived = TenantRef("lived-in", "eu", "silo")
    migrate(lived)
    name = database(lived)
    tenants = ["acme", "birch", "global"]
    with psycopg.connect(platform.dsn(name)) as connection:
        for tenant in tenants:
            connection.execute(
                "INSERT INTO tenantry.slices VALUES (%s, 's', now(), now(), 7, 0, 0, 0, 0)",
                [tenant],
            )
    before = _schema(platform, name)
    alembic = _with_second(platform.dsn(name), tmp_path, SECOND)
    for _ in range(2):
        command.upgrade(alembic, "head")
    with psycopg.connect(platform.dsn(name)) as connection:
        rows = connection.execute("SELECT tenant_id, kept FROM tenantry.slices ORDER BY 1")
        assert rows.fetchall() == [(tenant, 7) for tenant in tenants]
        confined = connection.execute(
            "SELECT relrowsecurity AND relforcerowsecurity FROM pg_class "
            "WHERE oid = 'tenantry.slices'::regclass"
        )
        assert confined.fetchall() == [(True,)]
    with tenant_transaction(lived) as connection:
        assert connection.execute("SELECT * FROM slices").fetchall() == []
    command.downgrade(alembic, "-1")
    assert _schema(platform, name) == before
    with psycopg.connect(platform.dsn(name)) as connection:
        assert connection.execute("SELECT sum(rows) FROM tenantry.slices").fetchall() == [(21,)]


def test_a_revision_that_fails_leaves_everything_as_it_was(
    platform: Postgres, tmp_path: Path
) -> None:
    """A migration is one transaction: nothing of a revision that breaks half-way stays."""
    broken = TenantRef("broken-off", "eu", "silo")
    migrate(broken)
    name = database(broken)
    before = _schema(platform, name)
    failing = SECOND.replace("kept = rows", "kept = no_such_column")
    alembic = _with_second(platform.dsn(name), tmp_path, failing)
    with pytest.raises(ProgrammingError, match="no_such_column"):
        command.upgrade(alembic, "head")
    assert _schema(platform, name) == before


def test_six_processes_may_migrate_at_once(platform: Postgres) -> None:
    """Components that start together race for nothing: all succeed, the pool and a new silo."""
    code = (
        "from include.storage.migrate import migrate\n"
        "from include.tenants.namespace import TenantRef\n"
        "migrate(); migrate(TenantRef('raced', 'eu', 'silo'))"
    )
    with psycopg.connect(platform.dsn("postgres"), autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS tenantry_silo_raced")
    started = [
        subprocess.Popen([sys.executable, "-c", code], env=dict(os.environ), stderr=subprocess.PIPE)
        for _ in range(6)
    ]
    errors = [process.communicate()[1].decode() for process in started]
    assert [process.returncode for process in started] == [0] * 6, "\n".join(errors)
    assert _schema(platform, "tenantry_silo_raced") == _schema(platform, "tenantry")


def test_strangers_cannot_connect_to_a_tenants_database(
    platform: Postgres, silo_tenant: TenantRef
) -> None:
    """PUBLIC has no right to connect; the application role has."""
    with psycopg.connect(platform.dsn("postgres"), autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS stranger")
        connection.execute("CREATE ROLE stranger LOGIN")
    for name in ("tenantry", database(silo_tenant)):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(platform.dsn(name, "stranger"))
        psycopg.connect(platform.dsn(name, "tenantry_app")).close()


def test_an_unmigrated_silo_says_what_to_do(platform: Postgres) -> None:
    """The message names the database and the command that makes it."""
    with (
        pytest.raises(UnavailableError, match=r"tenantry_silo_newcomer.*tenantry tenants add"),
        tenant_transaction(TenantRef("newcomer", "eu", "silo")),
    ):
        pass


def test_a_missing_variable_is_named(platform: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a DSN the message names the variable and how it is usually set."""
    monkeypatch.delenv("TENANTRY_DATABASE_URL")
    with (
        pytest.raises(ConfigError, match=r"^TENANTRY_DATABASE_URL is not set; `make up`"),
        tenant_transaction(TenantRef("acme", "eu", "pool")),
    ):
        pass
    monkeypatch.delenv("TENANTRY_ADMIN_DATABASE_URL")
    with pytest.raises(ConfigError, match=r"^TENANTRY_ADMIN_DATABASE_URL is not set; `make up`"):
        migrate()
