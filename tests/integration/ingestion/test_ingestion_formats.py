"""Formats: the same rows from any of them are the same events, however hostile the values."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.csv as pc_csv
import pyarrow.parquet as pq
import pytest

from tests.integration.ingestion.conftest import Shops
from tests.shops import Shop

FORMATS = ("csv", "jsonl", "parquet", "postgres")
HOSTILE = [
    "../../etc/passwd",
    "..\\..\\windows",
    "/etc/shadow",
    "%2e%2e%2f",
    "a/../../b",
    "'; DROP TABLE tenantry.slices; --",
    "' OR '1'='1",
    '"; DELETE FROM quarantine; --',
    "{{ var.value.secret }}",
    "{% raw %}",
    "${HOME}",
    "$(id)",
    "`id`",
    "<script>alert(1)</script>",
    "%s%(x)s",
    "a|b\\|c",
    "\\",
    "|",
    '"quoted"',
    "'",
    "line\nbreak",
    "tab\there",
    "\x07bell",
    "\u202eright to left",
    "zero\u200bwidth",
    "\u2028",
    "\ufeffmark",
    "x" * 10_000,
    "NaN",
    "Infinity",
    "-inf",
    "1e400",
    "null",
    "true",
    "0001-01-01",
    "9999-12-31T23:59:59",
    "292277026596-12-04",
    "😀",
    "سلام",
    "é",
]
#: Each value in each of five columns: 200 rows.
COLUMNS = ("id", "at", "customer", "price", "note")


def hostile_rows() -> list[dict[str, str]]:
    """A good row, and 200 that hold one hostile value each."""
    rows = []
    for number, (column, value) in enumerate((c, v) for c in COLUMNS for v in HOSTILE):
        rows.append({**good(number), column: value})
    return [good(1_000), *rows, good(1_001)]


def good(number: int) -> dict[str, str]:
    """A row that nothing is wrong with."""
    return {
        "id": f"row-{number}",
        "at": f"2024-01-08T00:{number // 60 % 60:02}:{number % 60:02}",
        "customer": f"customer-{number % 7}",
        "price": f"{number}.5",
        "note": "hello",
    }


@pytest.fixture
def make(shops: Shops, tmp_path: Path) -> Callable[[str, list[dict[str, str]]], Shop]:
    """A tenant fed with the rows in a format; all its columns are text."""
    mapping = {
        "event_timestamp": "at",
        "user_id": "customer",
        "quantity": None,
        "amount": "price",
        "properties": {"note": "note"},
    }

    def write(kind: str, rows: list[dict[str, str]]) -> Shop:
        table = pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in COLUMNS]))
        path = tmp_path / f"source.{kind}"
        if kind == "csv":
            pc_csv.write_csv(table, path)
        elif kind == "parquet":
            pq.write_table(table, path)
        elif kind == "jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        else:
            with psycopg.connect(shops.postgres.dsn("postgres")) as connection:
                connection.execute("DROP TABLE IF EXISTS hostile")
                connection.execute(
                    "CREATE TABLE hostile (id text, at text, customer text, price text, "
                    "note text, loaded timestamptz)"
                )
                connection.cursor().executemany(
                    "INSERT INTO hostile VALUES (%s, %s, %s, %s, %s, %s)",
                    [[*row.values(), datetime(2024, 1, 9, tzinfo=UTC)] for row in rows],
                )
            connector = {
                "type": "postgres",
                "connection": "postgres",
                "table": "hostile",
                "cursor": "loaded",
            }
            return shops.source(connector, **mapping)
        return shops.file(path, kind, **mapping)

    return write


def canonical(shop: Shop) -> list[dict[str, Any]]:
    """The events but for whose they are and when they became known."""
    left_out = ("tenant_id", "created_timestamp", "month")
    rows = [{k: v for k, v in row.items() if k not in left_out} for row in shop.events()]
    return sorted(rows, key=lambda row: str(row["event_id"]))


def test_hostile_values_come_out_the_same_from_every_format(
    make: Callable[[str, list[dict[str, str]]], Shop], tmp_path: Path
) -> None:
    """Good rows land, bad ones are set aside, nothing outside the tenant's own place is touched."""
    found, reasons = {}, {}
    for kind in FORMATS:
        shop = make(kind, hostile_rows())
        before = {path for path in tmp_path.rglob("*") if shop.lake.root not in path.parents}
        done = shop.ingest()
        after = {path for path in tmp_path.rglob("*") if shop.lake.root not in path.parents}
        assert after - before <= {shop.lake.root}
        assert {path.name for path in (shop.lake.root / "eu").iterdir()} == {shop.config.id}
        found[kind] = canonical(shop)
        reasons[kind] = sorted(reason.split(":")[0] for _, reason in shop.quarantined())
        assert done.rows + done.duplicates + done.quarantined == len(hostile_rows())
        assert {"row-1000", "row-1001"} <= {row["event_id"] for row in found[kind]}
    assert len(found["csv"]) > 100
    for kind in FORMATS[1:3]:
        assert found[kind] == found["csv"]
        assert reasons[kind] == reasons["csv"]
    # With a cursor of its own, a row without event time has an arrival all the same.
    assert found["postgres"] == found["csv"]


def test_typed_rows_are_the_same_as_their_text(shops: Shops, tmp_path: Path) -> None:
    """Numbers, booleans and instants give the same events with types as without."""
    table = pa.table(
        {
            "id": [1, 2, 3],
            "at": pa.array([datetime(2024, 1, 8, 1, n, tzinfo=UTC) for n in range(3)]),
            "customer": [7.0, 8.0, 9.0],
            "price": [1.0, 2.5, None],
            "gift": [True, False, None],
            "rate": [0.1, 1e-7, 3.0],
        }
    )
    mapping = {
        "user_id": "customer",
        "quantity": None,
        "amount": "price",
        "properties": {"gift": "gift", "rate": "rate"},
    }
    pq.write_table(table, tmp_path / "a.parquet")
    pc_csv.write_csv(table, tmp_path / "a.csv")
    lines = [{**row, "at": row["at"].isoformat()} for row in table.to_pylist()]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in lines))
    with psycopg.connect(shops.postgres.dsn("postgres")) as connection:
        connection.execute("DROP TABLE IF EXISTS typed")
        connection.execute(
            "CREATE TABLE typed (id int, at timestamptz, customer float8, price float8, "
            "gift bool, rate float8)"
        )
        connection.cursor().executemany(
            "INSERT INTO typed VALUES (%s, %s, %s, %s, %s, %s)",
            [list(row.values()) for row in table.to_pylist()],
        )
    connector = {"type": "postgres", "connection": "postgres", "table": "typed", "cursor": "at"}
    made = [shops.file(tmp_path / f"a.{kind}", kind, **mapping) for kind in FORMATS[:3]]
    found = []
    for shop in [*made, shops.source(connector, **mapping)]:
        shop.ingest()
        found.append(canonical(shop))
    assert [row["event_id"] for row in found[0]] == ["1", "2", "3"]
    assert [row["user_id"] for row in found[0]] == ["7", "8", "9"]
    assert found[1:] == [found[0]] * 3
