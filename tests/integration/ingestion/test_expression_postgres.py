"""Expressions over a table of Postgres: its types, and a `where` that is decided here."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from include.tenants.config import TenantConfig
from tests.integration.ingestion.conftest import Shops
from tests.shops import Shop

CONNECTOR = {"type": "postgres", "connection": "postgres", "table": "measured", "cursor": "loaded"}


@pytest.fixture
def measured(shops: Shops) -> Shops:
    """A table whose columns have types."""
    with psycopg.connect(shops.postgres.dsn("postgres")) as connection:
        connection.execute("DROP TABLE IF EXISTS measured")
        connection.execute(
            "CREATE TABLE measured (id int, at timestamptz, customer text, day date, "
            "price numeric(10, 2), log_units float8, more jsonb, loaded timestamptz)"
        )
        connection.execute(
            "INSERT INTO measured SELECT n, '2024-01-09', 'c' || n, '2024-01-08', n * 50, n - 1, "
            "jsonb_build_object('a', CASE WHEN n = 3 THEN 'x' ELSE n::text END), "
            "'2024-01-09'::timestamptz + n * interval '4 days' FROM generate_series(0, 4) AS n"
        )
    return shops


def made(shops: Shops, where: Any = None, **columns: str) -> Shop:
    """A tenant fed by the table."""
    mapping: dict[str, Any] = {"user_id": "customer", "quantity": "qty", "amount": "price"}
    shop = shops.source(CONNECTOR, **mapping, group_id="basket")
    told = shop.config.model_dump(mode="json", by_alias=True, exclude_none=True)
    given = {"qty": "exp(log_units)", "basket": "customer || '|' || day"}
    told["sources"][0] |= {"columns": given | columns, "where": where or {}}
    shop.config = TenantConfig.model_validate(told)
    return shop


def test_expressions_read_a_databases_types(measured: Shops) -> None:
    """A number is one, a day is spelled as a file spells it, and `where` is not Postgres's."""
    shop = made(measured, where="price > 0 and \"more.a\" <> '4'", double='"more.a" * 2')
    done = shop.ingest(1)
    assert [(row["event_id"], row["group_id"], row["quantity"]) for row in shop.events()] == [
        ("1", "c1|2024-01-08", 1.0)
    ]
    assert (done.rows, done.quarantined) == (1, 0)
    later = shop.ingest(2)
    ((row, reason),) = shop.quarantined()
    assert (row["id"], reason) == (3, "columns.double: more.a is no number")
    assert (later.rows, later.quarantined) == (1, 1)


def test_a_condition_on_a_new_column_is_not_asked_of_the_database(measured: Shops) -> None:
    """Values of the source's own columns are Postgres's to compare; those of new ones are ours."""
    shop = made(measured, where={"dear": True, "customer": ["c1", "c0"]}, dear="price > 10")
    shop.ingest(1)
    assert shop.ids() == ["1"]
