"""Every table of rows, asked and written in a neighbour's name from one's own transaction.

Also of a table added tomorrow: they are read from Postgres' catalogue.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import psycopg
import pytest
from psycopg import sql

from include.storage.postgres import keyed_transaction, snapshot, tenant_transaction
from tests.attack.harness import Attempt, asked_for, attack
from tests.attack.owners import OWNERS, USE_CASE, Owner
from tests.attack.world import World

pytestmark = pytest.mark.integration

#: Name → a statement about a neighbour's rows. `{id}` is the neighbour, `{table}` the table.
STATEMENTS: Final = {
    "read by id": "SELECT * FROM {table} WHERE tenant_id = {id}",
    "read all but mine": "SELECT * FROM {table} WHERE tenant_id <> {own}",
    "read either": "SELECT * FROM {table} WHERE tenant_id IN ({id}, {own}) AND tenant_id = {id}",
    "count": "SELECT count(*) FROM {table} WHERE tenant_id = {id}",
    "exists": "SELECT EXISTS (SELECT FROM {table} WHERE tenant_id = {id})",
    "join": "SELECT b.* FROM {table} a JOIN {table} b ON b.tenant_id = {id}",
    "by the key's prefix": "SELECT * FROM {table} WHERE tenant_id LIKE {id} || '%'",
    "most of": "SELECT max(tenant_id) FROM {table} WHERE tenant_id >= {id} AND tenant_id <> {own}",
    "with an error in it": "SELECT 1 / (count(*) - count(*)) FROM {table} WHERE tenant_id = {id}",
    "cast to tell": "SELECT {table}::text::int FROM {table} WHERE tenant_id = {id}",
    "change": "UPDATE {table} SET tenant_id = tenant_id WHERE tenant_id = {id} RETURNING *",
    "give away": "UPDATE {table} SET tenant_id = {id}",
    "remove": "DELETE FROM {table} WHERE tenant_id = {id} RETURNING *",
    "lock": "SELECT * FROM {table} WHERE tenant_id = {id} FOR UPDATE",
}


def _statement(text: str, table: str, principal: Owner, named: Owner) -> sql.Composed:
    return sql.SQL(text).format(
        table=sql.Identifier(table), id=sql.Literal(named.id), own=sql.Literal(principal.id)
    )


def _insert(world: World, table: str, named: Owner, ending: str) -> tuple[Any, list[Any]]:
    row = world.row(table, named, USE_CASE)
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({}) {}").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, row)),
        sql.SQL(", ").join([sql.Placeholder()] * len(row)),
        sql.SQL(ending),
    )
    return statement, [*row.values()]


def _attempts(world: World, table: str, name: str, neighbours: int) -> Iterator[Attempt]:
    for principal in OWNERS:
        for named in asked_for(principal, neighbours):
            if named == principal:
                continue

            def ask(principal: Owner = principal, named: Owner = named) -> object:
                with tenant_transaction(principal.ref) as connection:
                    asked = _statement(STATEMENTS[name], table, principal, named)
                    found = connection.execute(asked).fetchall()
                    connection.rollback()
                    return found

            yield Attempt(f"{name} {table}", principal, named, "sql", ask)


def _writes(world: World, table: str, ending: str, neighbours: int) -> Iterator[Attempt]:
    for principal in OWNERS:
        for named in asked_for(principal, neighbours):
            if named == principal:
                continue

            def write(principal: Owner = principal, named: Owner = named) -> object:
                with tenant_transaction(principal.ref) as connection:
                    try:
                        return connection.execute(*_insert(world, table, named, ending)).rowcount
                    except psycopg.Error as error:
                        # its DETAIL holds the row, which is the attacker's own
                        raise type(error)(error.diag.message_primary) from None

            yield Attempt(f"insert {ending} {table}", principal, named, "sql", write)


def _tables(world: World) -> list[str]:
    found = world.tables()
    assert len(found) > 20
    return found


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_about_a_neighbours_rows_finds_none(world: World, name: str) -> None:
    """On every table, whoever asks: the same as about somebody who does not exist."""
    for table in _tables(world):
        outcome = attack(world, _attempts(world, table, name, 2))
        assert outcome.attempts == 3 * len(OWNERS)
        assert not outcome.leaks, "\n".join(outcome.leaks[:20])


@pytest.mark.parametrize("ending", ["", "ON CONFLICT DO NOTHING"])
def test_a_row_in_a_neighbours_name_is_refused_whether_it_is_there_or_not(
    world: World, ending: str
) -> None:
    """Row-level security answers before a key that is taken could tell that it is."""
    for table in _tables(world):
        outcome = attack(world, _writes(world, table, ending, 2))
        assert not outcome.leaks, "\n".join(outcome.leaks[:20])


@pytest.mark.parametrize("door", [tenant_transaction, keyed_transaction], ids=lambda d: d.__name__)
def test_every_door_shows_its_own_rows_and_no_others(world: World, door: Any) -> None:
    """Without any condition, on every table, one tenant after the other through the same door."""
    for table in _tables(world):
        query = sql.SQL("SELECT * FROM {}").format(sql.Identifier(table))
        for owner in OWNERS:
            with door(owner.ref) as connection:
                found = connection.execute(query).fetchall()
            assert {row["tenant_id"] for row in found} == {owner.id}, table


def test_a_snapshot_shows_its_own_rows_and_no_others(world: World) -> None:
    """Several queries in one round trip are confined as one is."""
    queries = [(f"SELECT tenant_id FROM {table}", []) for table in _tables(world)]
    for owner in OWNERS:
        for table, found in zip(_tables(world), snapshot(owner.ref, queries), strict=True):
            assert {tenant for (tenant,) in found} == {owner.id}, table
