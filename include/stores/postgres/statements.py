"""Statements that are a transaction by themselves, and turns that last as long as theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg.rows import DictRow

from include.storage.postgres import Connection, tenant_transaction
from include.tenants.namespace import TenantRef


def select(owner: TenantRef, query: str, key: Sequence[Any]) -> list[DictRow]:
    """The rows that the query finds among the owner's."""
    with tenant_transaction(owner) as connection:
        return connection.execute(query, key).fetchall()


def select_first(owner: TenantRef, query: str, key: Sequence[Any]) -> DictRow | None:
    """The first row that the query finds among the owner's."""
    with tenant_transaction(owner) as connection:
        return connection.execute(query, key).fetchone()


def change(owner: TenantRef, statement: str, values: Sequence[Any]) -> None:
    """Write rows of the owner's."""
    with tenant_transaction(owner) as connection:
        connection.execute(statement, values)


def take_turn(connection: Connection, name: str) -> None:
    """Wait for whoever has the turn of that name, and have it until the transaction ends."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [name])
