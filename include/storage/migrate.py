"""Brings a Postgres database to the current schema; safe to run at every start and in parallel."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit, urlunsplit

import psycopg
from alembic import command
from alembic.config import Config
from psycopg import sql

from include.storage.postgres import database_url
from include.tenants.namespace import GLOBAL, TenantRef, database

APP_ROLE: Final = "tenantry_app"
_LOCK: Final = 0x7E4A47  #: advisory lock: one migration at a time on a server


def migrate(tenant: TenantRef = GLOBAL) -> None:
    """Create the database the tenant lives in, where missing, and apply the migrations to it.

    Needs TENANTRY_ADMIN_DATABASE_URL, a login that may create databases and roles. A role
    `tenantry_app` is created with the password of TENANTRY_DATABASE_URL, if that has one.
    """
    name = database(tenant)
    with psycopg.connect(
        database_url("TENANTRY_ADMIN_DATABASE_URL", "postgres"), autocommit=True
    ) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        _create_role(connection)
        _create_database(connection, name)
        command.upgrade(_alembic(database_url("TENANTRY_ADMIN_DATABASE_URL", name)), "head")


def migrate_all(tenants: Iterable[TenantRef]) -> None:
    """The shared database, and every silo's own."""
    migrate()
    for tenant in tenants:
        if tenant.isolation == "silo":
            migrate(tenant)


def _create_role(connection: psycopg.Connection) -> None:
    if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [APP_ROLE]).fetchone():
        return
    password = urlsplit(database_url("TENANTRY_DATABASE_URL", "postgres")).password
    statement = sql.SQL(
        "CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS"
    ).format(sql.Identifier(APP_ROLE))
    if password:
        statement += sql.SQL(" PASSWORD {}").format(sql.Literal(unquote(password)))
    connection.execute(statement)


def _create_database(connection: psycopg.Connection, name: str) -> None:
    if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone():
        return
    connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    connection.execute(
        sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(name))
    )


def _alembic(dsn: str) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["dsn"] = urlunsplit(urlsplit(dsn)._replace(scheme="postgresql+psycopg"))
    return config
