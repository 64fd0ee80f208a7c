"""What ingesting a file costs, beside another revision of the project.

    python benchmarks/ingestion.py --against ../earlier [--rows 1000000] [--rounds 5]

`--against` is another checkout with an environment of its own (`make spark` there). Both read the
same files, in alternating rounds, each in a fresh process. What is printed is rows per second of
CPU, the peak of memory, and the ratio of this checkout to the other with its spread.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
FORMATS = ("csv", "jsonl", "parquet")


def measure(path: str, kind: str) -> None:
    """Ingest one file in this process, and print what it took."""
    from include.handoffs import Interval
    from include.ingestion.stage import ingest
    from include.storage.lake import Lake
    from include.stores.memory.slices import InMemorySlices
    from include.tenants.config import TenantConfig

    tenant = TenantConfig.model_validate(
        {
            "id": "shop",
            "name": "A shop",
            "region": "eu",
            "schedule": "0 0 1 * *",
            "history_from": "2024-01-01",
            "sources": [
                {
                    "name": "pos",
                    "connector": {"type": "file", "path": path, "format": kind},
                    "events": {
                        "event": "Order Completed",
                        "event_id": ["id", "line"],
                        "event_timestamp": "at",
                        "user_id": "customer",
                        "item_id": "item",
                        "quantity": "qty",
                        "amount": "price",
                        "properties": {"discount": "discount", "shop": "shop"},
                    },
                }
            ],
            "use_cases": {"churn": {}},
        }
    )
    month = Interval(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC))
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder))
        began = time.process_time()
        done = ingest(tenant, month, lake=lake, slices=InMemorySlices(), connect=_no_database)
        seconds = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"rows": done.rows, "seconds": seconds, "peak": peak}))


def _no_database(connection_id: str) -> object:
    raise AssertionError(f"no file is in connection {connection_id}")


def write(folder: Path, rows: int) -> None:
    """The same month of sales in every format."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.csv as pc_csv
    import pyarrow.parquet as pq

    draw = np.random.default_rng(7)
    start = np.datetime64("2024-01-01", "s")
    table = pa.table(
        {
            "id": np.arange(rows) // 3,
            "line": np.arange(rows) % 3,
            "at": pa.array(start + draw.integers(0, 31 * 86_400, rows)),
            "customer": draw.integers(0, rows // 20 + 1, rows),
            "item": pa.array([f"item-{n}" for n in draw.integers(0, 5_000, rows)]),
            "qty": draw.integers(1, 9, rows),
            "price": np.round(draw.gamma(2.0, 10.0, rows), 2),
            "discount": np.round(draw.random(rows), 2),
            "shop": pa.array([f"shop {n}" for n in draw.integers(0, 40, rows)]),
        }
    )
    pq.write_table(table, folder / "rows.parquet")
    pc_csv.write_csv(table, folder / "rows.csv")
    with (folder / "rows.jsonl").open("w") as lines:
        for batch in table.to_batches(max_chunksize=50_000):
            for row in batch.to_pylist():
                lines.write(json.dumps({**row, "at": row["at"].isoformat()}) + "\n")


def run(checkout: Path, folder: Path, kind: str) -> dict[str, float]:
    """One round in a checkout's own interpreter."""
    python = checkout / ".venv" / "bin" / "python"
    source = {"default": {"roots": [str(folder)]}}
    environment = {
        **os.environ,
        "TENANTRY_SOURCES": json.dumps(source),
        "PYTHONPATH": str(checkout),
    }
    done = subprocess.run(
        [str(python), __file__, "--measure", str(folder / f"rows.{kind}"), kind],
        cwd=checkout,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print a line per format."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--against", type=Path, help="another checkout")
    arguments.add_argument("--formats", nargs="+", default=FORMATS, choices=FORMATS)
    arguments.add_argument("--rows", type=int, default=1_000_000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    wanted = arguments.parse_args()
    if wanted.measure:
        measure(*wanted.measure)
        return
    checkouts = [PROJECT, *([wanted.against.resolve()] if wanted.against else [])]
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write(folder, wanted.rows)
        for kind in wanted.formats:
            rounds = [
                [run(checkout, folder, kind) for checkout in checkouts]
                for _ in range(wanted.rounds)
            ]
            speeds = [[found["rows"] / found["seconds"] for found in one] for one in rounds]
            here = statistics.median(one[0] for one in speeds)
            peak = max(one[0]["peak"] for one in rounds)
            line = f"{kind:8} {here:9,.0f} rows per second of CPU, peak {peak / 1e6:,.0f} MB"
            if wanted.against:
                ratios = sorted(one[0] / one[1] for one in speeds)
                line += (
                    f"; {statistics.median(ratios):.2f} times the other's speed "
                    f"({ratios[0]:.2f} to {ratios[-1]:.2f}), whose peak is "
                    f"{max(one[1]['peak'] for one in rounds) / 1e6:,.0f} MB"
                )
            print(line, flush=True)


if __name__ == "__main__":
    main()
