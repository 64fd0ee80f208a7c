"""What the weekly run of a growing file costs, where known blocks are passed over and where not.

    python benchmarks/rereading.py [--rows 1000000] [--weeks 3] [--rounds 3]

A file of two years of sales, in the order in which they were made, is loaded; then it grows by a
week and is ingested, `--weeks` times. Once a run goes by what is known of the file's blocks, see
`include/ingestion/zone_maps.py`; once that is taken away before each. Both are processes of their
own, in alternating rounds. What is printed is the CPU time of a weekly run, each way, and the ratio
with its spread. Both have to come to the same counts and rows.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

FORMATS = ("csv", "jsonl")
START = datetime(2022, 1, 3, tzinfo=UTC)
HISTORY = 104  #: weeks that the file has when it is loaded
WEEK = timedelta(days=7)
COLUMNS = ("id", "line", "at", "customer", "item", "qty", "price", "discount", "shop")


def lines(kind: str, first: int, last: int, a_week: int) -> Iterator[str]:
    """The sales of some weeks, with so many rows each."""
    for number in range(first * a_week, last * a_week):
        values = (
            number // 3,
            number % 3,
            f"{START + number * WEEK / a_week:%Y-%m-%dT%H:%M:%S}",
            number * 7919 % 50_000,
            f"item-{number * 104_729 % 5_000}",
            1 + number % 8,
            number % 9_973 / 100,
            number % 100 / 100,
            f"shop {number % 40}",
        )
        row = dict(zip(COLUMNS, values, strict=True))
        yield (json.dumps(row) if kind == "jsonl" else ",".join(map(str, values))) + "\n"


def measure(path: Path, kind: str, weeks: int, a_week: int, *, forget: bool) -> None:
    """Load the file and ingest the weeks by which it grows; print seconds and what is left."""
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
            "schedule": "0 0 * * 1",
            "history_from": START.date(),
            "sources": [
                {
                    "name": "pos",
                    "connector": {"type": "file", "path": str(path), "format": kind},
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
    lake, slices = Lake(path.parent / "lake"), InMemorySlices()
    seconds, counts = [], []
    for week in range(HISTORY - 1, HISTORY + weeks):
        if week >= HISTORY:
            with path.open("a") as file:
                file.writelines(lines(kind, week, week + 1, a_week))
        if forget:
            lake.file_path(tenant.ref, "zone_maps/pos.json").unlink(missing_ok=True)
        interval = Interval(START + week * WEEK, START + (week + 1) * WEEK)
        began = time.process_time()
        done = ingest(tenant, interval, lake=lake, slices=slices, connect=_no_database)
        seconds.append(time.process_time() - began)
        counts.append((done.rows, done.read, done.outside, done.quarantined))
    landed = lake.dataset(tenant.ref, "landing_events").to_table().sort_by("event_id")
    digest = hashlib.sha256(repr([landed.to_pydict(), counts]).encode()).hexdigest()
    print(json.dumps({"seconds": seconds[1:], "digest": digest}))


def _no_database(connection_id: str) -> object:
    raise AssertionError(f"no file is in connection {connection_id}")


def run(base: Path, kind: str, weeks: int, a_week: int, *, forget: bool) -> tuple[float, str]:
    """Median seconds of a weekly run, and a digest of what all of them left."""
    with tempfile.TemporaryDirectory() as made:
        path = Path(made) / base.name
        shutil.copyfile(base, path)
        sources = {"default": {"roots": [made]}}
        done = subprocess.run(
            [sys.executable, __file__, "--measure", str(path), kind, str(weeks), str(a_week)]
            + (["--forget"] if forget else []),
            env={**os.environ, "TENANTRY_SOURCES": json.dumps(sources)},
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    told = json.loads(done.stdout.splitlines()[-1])
    return statistics.median(told["seconds"]), told["digest"]


def main() -> None:
    """Print a line per format."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--rows", type=int, default=1_000_000, help="of the history")
    arguments.add_argument("--weeks", type=int, default=3)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    arguments.add_argument("--forget", action="store_true", help=argparse.SUPPRESS)
    wanted = arguments.parse_args()
    if wanted.measure:
        path, kind, weeks, a_week = wanted.measure
        measure(Path(path), kind, int(weeks), int(a_week), forget=wanted.forget)
        return
    a_week = wanted.rows // HISTORY
    for kind in FORMATS:
        with tempfile.TemporaryDirectory() as made:
            base = Path(made) / f"sales.{kind}"
            with base.open("w") as file:
                file.write(",".join(COLUMNS) + "\n" if kind == "csv" else "")
                file.writelines(lines(kind, 0, HISTORY, a_week))
            rounds = [
                [run(base, kind, wanted.weeks, a_week, forget=forget) for forget in (False, True)]
                for _ in range(wanted.rounds)
            ]
        if len({digest for one in rounds for _, digest in one}) > 1:
            raise SystemExit(f"{kind}: what is passed over makes a difference")
        known, whole = (statistics.median(one[at][0] for one in rounds) for at in (0, 1))
        ratios = sorted(one[0][0] / one[1][0] for one in rounds)
        print(
            f"{kind:6} a weekly run of {wanted.rows:,} rows and {a_week:,} new: {known:.2f} s of "
            f"CPU, whole {whole:.2f} s; ratio {statistics.median(ratios):.3f} "
            f"({ratios[0]:.3f} to {ratios[-1]:.3f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
