"""Types of Postgres: what it calls equal is equal, and values are those of every other format."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.integration.ingestion.conftest import Shops

CONNECTOR = {"type": "postgres", "connection": "postgres", "table": "typed", "cursor": "loaded"}
#: type, its values as SQL, a condition, and the rows that it chooses (`where` of the tenant's file)
EQUALITIES = """
    char(8)        'PAID' 'OPEN'                 "PAID"            1
    char(8)        'PAID' 'PAID  '               "PAID"            1 2
    char(8)        'PAID' 'OPEN'                 "PAID   "         1
    varchar(8)     'PAID' 'PAID '                "PAID"            1
    text           'PAID' 'paid'                 "PAID"            1
    mood           'PAID' 'OPEN'                 "PAID"            1
    mood           'PAID' 'OPEN'                 "LOST"
    padded         'PAID' 'OPEN'                 "PAID"            1
    money          '9.50' '10'                   "$9.5"            1
    numeric(10,2)  1.50 2                        1.5               1
    numeric(10,2)  1.50 2                        "1.5"             1
    numeric(10,2)  1.50 2                        "two"
    int            8 10                          "08"              1
    int            8 10                          8                 1
    bool           true false                    true              1
    bool           true false                    "t"               1
    bool           true false                    1
    text           '8' '8.0'                     8                 1 2
    text           'eight' '8'                   8                 2
    text           'TRUE' 'false'                true              1
    uuid           '00000000-0000-0000-0000-00000000000a' '00000000-0000-0000-0000-00000000000b' "00000000-0000-0000-0000-00000000000A" 1
    inet           '10.0.0.1' '10.0.0.2'         "10.0.0.1/32"     1
    date           '2024-01-09' '2024-01-10'     "2024-01-09"      1
    timestamptz    '2024-01-09 10:00+00' '2024-01-10 10:00+00' "2024-01-09 11:00+01" 1
    jsonb          '"PAID"' '"OPEN"'             "PAID"            1
    jsonb          '8' '9'                       8                 1
    json           '"PAID"' '"OPEN"'             "PAID"            1
    point          '(1,2)' '(3,4)'               "(1,2)"           1
"""  # noqa: E501


@pytest.fixture
def database(shops: Shops) -> Iterator[psycopg.Connection[Any]]:
    """A database with types of its own."""
    with psycopg.connect(shops.postgres.dsn("postgres"), autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS typed")
        connection.execute("DROP DOMAIN IF EXISTS padded")
        connection.execute("DROP TYPE IF EXISTS mood")
        connection.execute("CREATE TYPE mood AS ENUM ('PAID', 'OPEN')")
        connection.execute("CREATE DOMAIN padded AS char(8)")
        yield connection


def fill(database: psycopg.Connection[Any], kind: str, values: list[str]) -> None:
    """A table with a row per value, the first of which is row 1."""
    database.execute("DROP TABLE IF EXISTS typed")
    database.execute(f"CREATE TABLE typed (id int, at timestamptz, loaded timestamptz, v {kind})")
    for number, value in enumerate(values, 1):
        database.execute(
            f"INSERT INTO typed VALUES ({number}, '2024-01-09', '2024-01-09', {value})"
        )


@pytest.mark.parametrize("line", EQUALITIES.strip().splitlines(), ids=str.strip)
def test_what_postgres_calls_equal_is_equal(
    shops: Shops, database: psycopg.Connection[Any], line: str
) -> None:
    """Padded, folded and typed values; text that the type cannot be is equal to nothing."""
    kind, rest = line.strip().split(maxsplit=1)
    parts = [part for part in _parts(rest) if part]
    fill(database, kind, parts[:2])
    condition = json.loads(parts[2])
    mapping = {"user_id": "id", "quantity": None, "amount": None}
    shop = shops.source(CONNECTOR, where={"v": condition}, **mapping)
    shop.ingest()
    assert shop.ids() == parts[3:]


def _parts(text: str) -> list[str]:
    """Words, of which quoted ones may hold blanks."""
    parts, word, quote = [], "", ""
    for letter in text:
        if letter == " " and not quote:
            parts.append(word)
            word = ""
            continue
        word += letter
        if quote and letter == quote:
            quote = ""
        elif not quote and letter in "'\"":
            quote = letter
    return [*parts, word]


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("char(8)", "'C-17'", "C-17"),
        ("char(8)[]", "ARRAY['C-17', NULL]", '["C-17", null]'),
        ("numeric(10,2)", "1001.00", "1001"),
        ("numeric(40,20)", "0.1", "0.1"),
        ("float8", "1001", "1001"),
        ("bigint", "9007199254740993", "9007199254740993"),
        ("uuid", "'0000000A-0000-0000-0000-000000000000'", "0000000a-0000-0000-0000-000000000000"),
        ("mood", "'PAID'", "PAID"),
        ("int[]", "ARRAY[1, 2]", "[1, 2]"),
        ("text[]", "ARRAY['a', 'it''s']", '["a", "it\'s"]'),
        ("numeric[]", "ARRAY[1.50, 2]", "[1.5, 2]"),
        ("int[][]", "ARRAY[[1], [2]]", "[[1], [2]]"),
        ("jsonb", """'{"b": {"c": 1.0}, "a": null}'""", '{"b": {"c": 1}}'),
        ("json", "'[1, true]'", "[1, true]"),
        ("int4range", "'[1,5)'", "[1,5)"),
        ("interval", "'1 day 02:00'", "1 day 02:00:00"),
        ("time", "'10:30'", "10:30:00"),
        ("inet", "'10.0.0.1'", "10.0.0.1"),
        ("date", "'2024-01-09'", "2024-01-09"),
        ("timestamptz", "'2024-01-09 10:00+00'", "2024-01-09T10:00:00Z"),
        ("bool", "true", "true"),
    ],
)
def test_an_id_of_any_type_is_spelled_as_postgres_prints_it(
    shops: Shops, database: psycopg.Connection[Any], kind: str, value: str, text: str
) -> None:
    """Without padding; a number by its value, and what nests as JSON, never as Python."""
    fill(database, kind, [value])
    shop = shops.source(CONNECTOR, user_id="v", quantity=None, amount=None)
    shop.ingest()
    assert [row["user_id"] for row in shop.events()] == [text]


def test_a_path_leads_into_json(shops: Shops, database: psycopg.Connection[Any]) -> None:
    """Members and list positions; `where` and ids may use them, and what is not there is null."""
    fill(
        database,
        "jsonb",
        [
            """'{"customer": {"id": 7}, "items": [{"price": 9.5}], "status": "PAID"}'""",
            """'{"customer": {"id": 8}, "status": "PAID"}'""",
            """'{"customer": {"id": 9}, "status": "OPEN"}'""",
        ],
    )
    shop = shops.source(
        CONNECTOR,
        where={"v.status": "PAID"},
        user_id="v.customer.id",
        quantity=None,
        amount="v.items.0.price",
    )
    shop.ingest()
    assert [(row["user_id"], row["amount"]) for row in shop.events()] == [("7", 9.5), ("8", None)]


@pytest.mark.parametrize("kind", ["bigint", "numeric", "float8", "text"])
def test_a_cursor_may_count_seconds(
    shops: Shops, database: psycopg.Connection[Any], kind: str
) -> None:
    """The interval is cut by the declared format, in the database or, of text, here."""
    database.execute("DROP TABLE IF EXISTS typed")
    database.execute(f"CREATE TABLE typed (id int, loaded {kind}, v text)")
    for number, day in enumerate(("2024-01-07", "2024-01-09", "2024-01-15"), 1):
        database.execute(
            f"INSERT INTO typed SELECT {number}, (extract(epoch FROM '{day}'::timestamptz)::bigint)"
            f"::{kind}, 'u'"
        )
    shop = shops.source(
        {**CONNECTOR, "timestamp_format": "epoch_s"},
        event_timestamp="loaded",
        user_id="v",
        quantity=None,
        amount=None,
    )
    assert [shop.ingest(1).rows, shop.ingest(2).rows] == [2, 1]
    assert shop.ids() == ["1", "2", "3"]
