"""How much memory and time one ingestion of a large source takes: CSV, Parquet and Postgres.

Each format is ingested in a process of its own, so that its peak is its own. Run it with
`python benchmarks/ingestion_memory.py [ROWS]`; it starts an embedded Postgres of its own.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import psycopg
import pyarrow as pa
import pyarrow.csv as pc_csv
import pyarrow.parquet as pq

from include.handoffs import Interval
from include.ingestion import ingest
from include.runtime import postgres as embedded
from include.runtime.state import State
from include.storage.lake import Lake
from include.storage.migrate import migrate
from include.tenants.config import TenantConfig

ROWS: Final = 5_000_000
LIMIT_MB: Final = 1_500
FORMATS: Final = ("csv", "parquet", "postgres")
INTERVAL: Final = Interval(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 3, 1, tzinfo=UTC))
_BATCH: Final = 250_000
_STEP: Final = timedelta(microseconds=1_000_000)  # two rows each second: 5 million in a month
_TABLE: Final = """
    CREATE TABLE sales (id text, at timestamptz, customer text, product text, basket text,
                        quantity integer, price double precision, channel text, loaded timestamptz)
"""


def batches(rows: int) -> Iterator[pa.Table]:
    """Order lines of ordinary width; every 1,000th comes twice, every 5,000th is broken."""
    for first in range(0, rows, _BATCH):
        numbers = range(first, min(first + _BATCH, rows))
        at = [INTERVAL.start + (n // 2) * _STEP for n in numbers]
        yield pa.table(
            {
                "id": [f"order-line-{n - 1 if n % 1000 == 999 else n:012}" for n in numbers],
                "at": pa.array(at, pa.timestamp("us", "UTC")),
                "customer": [f"customer-{n * 7919 % 100_003}" for n in numbers],
                "product": [f"product-{n * 104_729 % 50_021}" for n in numbers],
                "basket": [f"basket-{n // 5}" for n in numbers],
                "quantity": pa.array([n % 9 + 1 for n in numbers], pa.int32()),
                "price": [float("nan") if n % 5000 == 0 else n % 9999 / 100 for n in numbers],
                "channel": [("web", "shop", "phone")[n % 3] for n in numbers],
                "loaded": pa.array(at, pa.timestamp("us", "UTC")),
            }
        )


def write(kind: str, rows: int, folder: Path, dsn: str) -> None:
    """Make the source."""
    if kind == "csv":
        with (folder / "source.csv").open("wb") as file:
            for number, table in enumerate(batches(rows)):
                options = pc_csv.WriteOptions(include_header=number == 0)
                pc_csv.write_csv(table, file, options)
    elif kind == "parquet":
        writer = None
        for table in batches(rows):
            writer = writer or pq.ParquetWriter(folder / "source.parquet", table.schema)
            writer.write_table(table)
        if writer is not None:
            writer.close()
    else:
        with psycopg.connect(dsn) as connection:
            connection.execute(_TABLE)
            for table in batches(rows):
                sink = pa.BufferOutputStream()
                pc_csv.write_csv(table, sink, pc_csv.WriteOptions(include_header=False))
                with connection.cursor().copy("COPY sales FROM STDIN (FORMAT csv)") as copy:
                    copy.write(sink.getvalue().to_pybytes())
            connection.execute("CREATE INDEX ON sales (loaded)")
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE sales")


def tenant(kind: str, folder: Path) -> dict[str, Any]:
    """A tenant with that source."""
    path = {"type": "file", "path": str(folder / f"source.{kind}"), "format": kind}
    table = {"type": "postgres", "connection": "warehouse", "table": "sales", "cursor": "loaded"}
    mapping = {
        "event": "Order Completed",
        "event_id": ["id"],
        "event_timestamp": "at",
        "user_id": "customer",
        "item_id": "product",
        "group_id": "basket",
        "quantity": "quantity",
        "amount": "price",
        "properties": {"channel": "channel"},
    }
    return {
        "id": f"large-{kind}",
        "name": "A large source",
        "region": "eu",
        "schedule": "0 0 1 * *",
        "history_from": "2024-01-01",
        "sources": [
            {
                "name": "sales",
                "connector": table if kind == "postgres" else path,
                "events": mapping,
            }
        ],
        "use_cases": {"churn": {}},
    }


def measure(kind: str, folder: Path, dsn: str) -> dict[str, float]:
    """Ingest in a process of its own."""
    arguments = [sys.executable, __file__, "--child", kind, str(folder), dsn]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def child(kind: str, folder: Path, dsn: str) -> None:
    """One ingestion, and what it took, as JSON."""
    config = TenantConfig.model_validate(tenant(kind, folder))
    began = time.monotonic()
    lake = Lake(folder / "lake")
    found = ingest(config, INTERVAL, lake=lake, connect=lambda _: psycopg.connect(dsn))
    seconds = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        json.dumps(
            {
                "rows": found.rows,
                "duplicates": found.duplicates,
                "quarantined": found.quarantined,
                "seconds": seconds,
                "peak_mb": peak,
            }
        )
    )


def run(rows: int, formats: tuple[str, ...] = FORMATS) -> dict[str, dict[str, float]]:
    """What each format took."""
    found = {}
    state = State(Path(tempfile.mkdtemp(prefix="tenantry-bench-")))
    try:
        server = embedded.start(state)
        os.environ["TENANTRY_ADMIN_DATABASE_URL"] = server.dsn("postgres")
        os.environ["TENANTRY_DATABASE_URL"] = server.dsn("tenantry", "tenantry_app")
        migrate()
        dsn = server.dsn("postgres")
        for kind in formats:
            with tempfile.TemporaryDirectory(prefix="tenantry-bench-") as name:
                write(kind, rows, Path(name), dsn)
                found[kind] = measure(kind, Path(name), dsn)
    finally:
        embedded.stop(state)
        shutil.rmtree(state.home, ignore_errors=True)
    return found


def main() -> int:
    """Print one line for each format; fails where the limit is exceeded."""
    if sys.argv[1:2] == ["--child"]:
        kind, folder, dsn = sys.argv[2:]
        child(kind, Path(folder), dsn)
        return 0
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    worst = 0.0
    for kind in FORMATS:
        one = run(rows, (kind,))[kind]
        worst = max(worst, one["peak_mb"])
        print(
            f"{kind:9} {one['rows']:>10,.0f} rows  {rows / one['seconds']:>9,.0f} rows/s  "
            f"peak {one['peak_mb']:>6,.0f} MB  {one['duplicates']:,.0f} duplicates  "
            f"{one['quarantined']:,.0f} set aside",
            flush=True,
        )
    return 0 if worst < LIMIT_MB else 1


if __name__ == "__main__":
    raise SystemExit(main())
