"""The init job of the scaled deployment: everything a first start, or an upgrade, needs.

`python -m include.runtime.initialise` makes the databases and logins that the URLs of this
environment name, migrates Airflow, MLflow and every tenant's database, applies
airflow_settings.yaml and creates the administrator and the tenants' roles. Running it again changes
nothing but what has to change.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote, urlsplit

import psycopg
from psycopg import sql

from include import use_cases
from include.errors import ConfigError, TenantryError
from include.runtime.private import keep_to_owner
from include.storage.migrate import migrate_all
from include.storage.postgres import database_url
from include.tenants.loader import load_fleet, tenants_folder

#: Databases of other programs: each belongs to the login its own URL names.
FOREIGN_DATABASES: Final = (
    "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN",
    "AIRFLOW__CELERY__RESULT_BACKEND",  # apart from Airflow's own: workers know no more than it
    "MLFLOW_TRACKING_URI",
)
REQUIRED: Final = (
    *FOREIGN_DATABASES,
    "TENANTRY_ADMIN_DATABASE_URL",
    "TENANTRY_DATABASE_URL",
    "TENANTRY_ADMIN_USER",
    "TENANTRY_ADMIN_PASSWORD",
)
_LOCK: Final = 0x7E4A48  #: advisory lock: one init job at a time on a server

#: MLflow's own command; the URL holds a password, so it is kept out of the arguments.
_UPGRADE_MLFLOW: Final = (
    "import os, runpy, sys; "
    "sys.argv = ['mlflow', 'db', 'upgrade', os.environ['MLFLOW_TRACKING_URI']]; "
    "runpy.run_module('mlflow', run_name='__main__')"
)


def initialise(environment: Mapping[str, str]) -> None:
    """Bring everything to what this version asks for.

    Raises:
        ConfigError: variables are missing; the message names all of them.
    """
    missing = [name for name in REQUIRED if not environment.get(name)]
    if missing:
        raise ConfigError(f"not set: {', '.join(missing)}; .env.example tells what each is for")
    with psycopg.connect(
        database_url("TENANTRY_ADMIN_DATABASE_URL", "postgres"), autocommit=True
    ) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        for variable in FOREIGN_DATABASES:
            _create_database(connection, environment[variable])
        fleet = load_fleet(tenants_folder(), use_cases.names())
        migrate_all(tenant.ref for tenant in fleet.tenants.values())
        _run("the MLflow database", [sys.executable, "-c", _UPGRADE_MLFLOW])
        _run("Airflow", [sys.executable, "-m", "include.runtime.airflow_setup"])
        create_administrator(
            environment["TENANTRY_ADMIN_USER"], environment["TENANTRY_ADMIN_PASSWORD"]
        )
        _run("the tenants' roles", [sys.executable, "-m", "include.runtime.airflow_roles"])


def create_administrator(user: str, password: str) -> None:
    """Give Airflow's FAB auth manager an administrator, or that user this password."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    with get_application_builder() as builder:
        security = builder.sm
        found = security.find_user(username=user)
        if found is None:
            role = security.find_role("Admin")
            security.add_user(user, user, "", f"{user}@localhost", role, password)
        else:
            security.reset_password(found.id, password)


def _create_database(connection: psycopg.Connection, url: str) -> None:
    """The database of a SQLAlchemy URL and the login that owns it, with the URL's password."""
    parts = urlsplit(url)
    name, user = parts.path.lstrip("/"), unquote(parts.username or "")
    if not (name and user and parts.password):
        raise ConfigError("a database URL must name a user, a password and a database")
    if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [user]).fetchone():
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                sql.Identifier(user), sql.Literal(unquote(parts.password))
            )
        )
    if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
        connection.execute(
            sql.SQL("CREATE DATABASE {} OWNER {}").format(
                sql.Identifier(name), sql.Identifier(user)
            )
        )
    connection.execute(
        sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name))
    )


def _run(what: str, command: list[str]) -> None:
    if subprocess.run(command, check=False).returncode != 0:
        raise TenantryError(f"{what} could not be brought up to date; its own message is above")


def main() -> int:
    """Run the job; a person's mistake is told in one line."""
    keep_to_owner()
    try:
        initialise(os.environ)
    except TenantryError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
