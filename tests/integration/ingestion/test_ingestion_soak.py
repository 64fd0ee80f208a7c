"""Five million rows from any kind of source, in bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.csv as pc_csv
import pyarrow.parquet as pq
import pytest

from tests.integration.ingestion.conftest import Shops
from tests.shops import Shop

pytestmark = [pytest.mark.integration, pytest.mark.soak]

ROWS = 5_000_000
LIMIT = 1_500_000_000  #: bytes of resident memory, at the peak
COLUMNS = {
    "event_id": ["id"],
    "event_timestamp": "at",
    "user_id": "user",
    "item_id": "item",
    "properties": {"note": "note"},
}
CHILD = Path(__file__).parent / "soak_child.py"


def batches() -> Iterator[pa.Table]:
    """January 2024 in no order; every hundredth row repeats the one before it."""
    for start in range(0, ROWS, 250_000):
        number = np.arange(start, start + 250_000)
        seconds = (number * 7919 % (31 * 86_400)).astype("timedelta64[s]")
        identity = np.where(number % 100 == 99, number - 1, number)
        yield pa.table(
            {
                "id": np.char.add("order-", identity.astype(str)),
                "at": np.datetime64("2024-01-01", "us") + seconds,
                "user": np.char.add("user-", (number * 31 % 400_000).astype(str)),
                "item": number * 17 % 50_000,
                "quantity": number % 5 + 1,
                "amount": np.round(number % 1000 / 7, 2),
                "note": np.char.add("note number ", (number % 100_000).astype(str)),
            }
        )


def csv(shops: Shops) -> Shop:
    """The rows as CSV."""
    path = shops.folder / "sales.csv"
    first = next(batches())
    with pc_csv.CSVWriter(path, first.schema) as writer:
        for batch in batches():
            writer.write_table(batch)
    return shops.file(path, "csv", **COLUMNS)


def parquet(shops: Shops) -> Shop:
    """The rows as one Parquet file with a single row group, the worst there is."""
    path = shops.folder / "sales.parquet"
    table = pa.concat_tables(batches())
    pq.write_table(table, path, row_group_size=ROWS)
    return shops.file(path, "parquet", **COLUMNS)


def postgres(shops: Shops) -> Shop:
    """The rows in a table."""
    with psycopg.connect(shops.postgres.dsn("postgres")) as connection:
        connection.execute("DROP TABLE IF EXISTS public.soak")
        connection.execute(
            "CREATE UNLOGGED TABLE public.soak AS SELECT "
            "'order-' || CASE WHEN n % 100 = 99 THEN n - 1 ELSE n END AS id, "
            "timestamp '2024-01-01' + n * 7919 % (31 * 86400) * interval '1 second' AS at, "
            "'user-' || n * 31 % 400000 AS \"user\", n * 17 % 50000 AS item, "
            "n % 5 + 1 AS quantity, round(n % 1000 / 7.0, 2)::float8 AS amount, "
            f"'note number ' || n % 100000 AS note FROM generate_series(0::bigint, {ROWS - 1}) n"
        )
    connector = {"type": "postgres", "connection": "x", "table": "public.soak", "cursor": "at"}
    return shops.source(connector, **COLUMNS)


@pytest.mark.parametrize("make", [csv, parquet, postgres])
def test_five_million_rows_fit_in_a_gigabyte_and_a_half(shops: Shops, make: Any) -> None:
    """Nothing is held that grows with the source: neither rows, ids nor duplicates."""
    shop = make(shops)
    child = subprocess.run(
        [
            sys.executable,
            *(CHILD, shop.config.model_dump_json(), shop.lake.root),
            shops.postgres.dsn("postgres"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.returncode == 0, child.stderr[-2_000:]
    found = json.loads(child.stdout.splitlines()[-1])
    print(
        f"\n{make.__name__}: {ROWS:,} rows in {found['seconds']:.0f} s, "
        f"{ROWS / found['seconds']:,.0f} rows/s, peak {found['peak_bytes'] / 1e6:,.0f} MB"
    )
    assert found["rows"] + found["duplicates"] == ROWS
    assert found["duplicates"] == ROWS // 100
    assert found["peak_bytes"] < LIMIT
