"""Windowed aggregates of events, against one hand-written DuckDB range join over the same tables.

A million events of 5,000 users in memory, 100,000 spine rows; count, sum and mean of `amount` over
1, 7, 30 and 90 days, late events left out. The join stands twice: as it reads (`as_of - INTERVAL 30
DAY` wherever it is needed), and tuned, every bound computed once per row beforehand. Then the same
with one user who holds a tenth of the events and of the spine, and ten times as much of everything.

    python -m benchmarks.features.windows [--rounds 5] [--json FILE]
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Final

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.features.data import write_events
from benchmarks.features.memory import in_child, measure
from benchmarks.features.rounds import Report, alternate, limit_threads, options, ratios, timed
from include.features import vectorized
from include.features.declarations import USER, Aggregation, EventStream
from include.features.engine import required_columns
from include.features.spine import Spine
from include.features.views import FeatureService, FeatureView
from include.storage.canonical import ATTRIBUTES

DAYS: Final = (1, 7, 30, 90)
WINDOWS: Final = tuple(timedelta(days=days) for days in DAYS)
SERVICE: Final = FeatureService(
    "bench",
    (
        FeatureView(
            "spend",
            USER,
            EventStream(("Order Completed",)),
            (
                Aggregation("count", windows=WINDOWS),
                Aggregation("sum", "amount", WINDOWS),
                Aggregation("mean", "amount", WINDOWS),
            ),
        ),
    ),
)
OURS, PLAIN, TUNED = "vectorized", "DuckDB range join", "DuckDB range join, tuned"


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, and judge by the bounds of the issue."""
    parser = options(__doc__, events=1_000_000, users=5_000, rows=100_000, growth=10)
    parser.add_argument("--child", choices=(OURS, PLAIN, TUNED), help=argparse.SUPPRESS)
    parser.add_argument("--tables", nargs=2, type=Path, help=argparse.SUPPRESS)
    wanted = parser.parse_args(arguments)
    limit_threads(wanted.threads)
    if wanted.child:
        run, warm_up = (
            _side(wanted.child, *tables, wanted.threads) for tables in _with_head(*wanted.tables)
        )
        warm_up()
        measure(run)
        return 0
    report = Report(
        f"windows: {wanted.events:,} events of {wanted.users:,} users, {wanted.rows:,} spine rows, "
        f"12 features; {wanted.threads} threads, {wanted.rounds} rounds"
    )
    with tempfile.TemporaryDirectory() as scratch:
        _compare(wanted, Path(scratch), report)
        if wanted.growth > 1:
            _grow(wanted, Path(scratch), report)
    return report.finish(wanted.json)


def _compare(wanted: argparse.Namespace, folder: Path, report: Report) -> None:
    sizes = {"events": wanted.events, "users": wanted.users, "rows": wanted.rows}
    files = {
        case: write_events(folder, **sizes, hot=case == "hot", seed=wanted.seed)
        for case in ("even", "hot")
    }
    sides: dict[str, Callable[[], pa.Table]] = {}
    for case, paths in files.items():
        tables = _load(*paths)
        for name in (OURS, PLAIN, TUNED):
            # as it reads, the join takes minutes where one user is hot
            if (case, name) != ("hot", PLAIN):
                sides[f"{name}, {case}"] = _side(name, *tables, wanted.threads)
        _check_equal(sides[f"{OURS}, {case}"](), sides[f"{TUNED}, {case}"]())
    _check_equal(sides[f"{OURS}, even"](), sides[f"{PLAIN}, even"]())
    report.note("values equal on all sides (counts exactly, sums and means to 1e-9)", "yes")

    seconds = alternate({name: timed(run) for name, run in sides.items()}, wanted.rounds)
    report.table(seconds, "seconds")
    ours = seconds[f"{OURS}, even"]
    report.ratio(f"{PLAIN} / {OURS}", ratios(seconds[f"{PLAIN}, even"], ours), ">= 5 times")
    report.ratio(f"{TUNED} / {OURS}", ratios(seconds[f"{TUNED}, even"], ours))
    report.ratio(f"{OURS}, hot / even", ratios(seconds[f"{OURS}, hot"], ours), "<= 1.2 times")
    both = (seconds[f"{TUNED}, {case}"] for case in ("hot", "even"))
    report.ratio(f"{TUNED}, hot / even", ratios(*both))

    peaks = {
        name: [
            _in_child(name, files["even"], wanted)["above"] for _ in range(min(wanted.rounds, 3))
        ]
        for name in (OURS, PLAIN, TUNED)
    }
    report.table(peaks, "peak MB above the loaded tables")
    least = min(PLAIN, TUNED, key=lambda name: median(peaks[name]))
    report.ratio(f"memory {OURS} / {least}", ratios(peaks[OURS], peaks[least]), "<= 1 times")


def _grow(wanted: argparse.Namespace, folder: Path, report: Report) -> None:
    factor, events, rows = wanted.growth, wanted.events, wanted.rows
    small = write_events(
        folder, events=events, users=wanted.users, rows=rows, hot=False, seed=wanted.seed
    )
    allowed = factor * math.log(factor * events) / math.log(events)
    for users, meaning in (
        (wanted.users, "the same users"),
        (wanted.users * factor, f"{factor} times the users"),
    ):
        large = write_events(
            folder,
            events=events * factor,
            users=users,
            rows=rows * factor,
            hot=False,
            seed=wanted.seed,
        )
        found: dict[str, list[dict[str, float]]] = {"small": [], "large": []}
        for _ in range(wanted.rounds):
            for size, paths in (("small", small), ("large", large)):
                found[size].append(_in_child(OURS, paths, wanted))
        seconds = {size: [part["seconds"] for part in parts] for size, parts in found.items()}
        peak = max(part["peak"] for part in found["large"])
        size = f"{events * factor:,} events of {users:,} users, {rows * factor:,} rows"
        labels = {"small": f"{events:,} events, {rows:,} rows", "large": size}
        report.table(
            {labels[size]: values for size, values in seconds.items()}, f"seconds, {meaning}"
        )
        growth = ratios(seconds["large"], seconds["small"])
        report.ratio(f"{factor} times as much, {meaning}", growth, f"<= {allowed:.2f} (n log n)")
        report.judge(f"peak with everything, {meaning}", peak, "<= 4096 MB")


def _side(name: str, events: pa.Table, spine: pa.Table, threads: int) -> Callable[[], pa.Table]:
    """What computes the features from tables in memory."""
    if name == OURS:
        nothing = ATTRIBUTES.empty_table()
        return lambda: vectorized.compute(SERVICE, Spine(spine), events, nothing, "UTC")
    connection = duckdb.connect()
    connection.execute(f"SET threads={int(threads)}")
    connection.execute("SET autoinstall_known_extensions=false")
    connection.execute("SET timezone='UTC'")
    connection.register("events", events)
    connection.register("spine", spine.append_column("row", pa.array(np.arange(len(spine)))))
    query = _query(tuned=name == TUNED)
    return lambda: connection.sql(query).to_arrow_table()


def _query(*, tuned: bool) -> str:
    """The range join; its columns are those of `SERVICE`."""
    since = {d: f"spine.since_{d}" if tuned else f"as_of - INTERVAL {d} DAY" for d in DAYS}
    features = [
        f"{call} FILTER (WHERE event_timestamp >= {since[days]}) AS spend__{name}_{days}d"
        for name, call in (
            ("count", "count(event_timestamp)"),
            ("sum_amount", "sum(amount)"),
            ("mean_amount", "avg(amount)"),
        )
        for days in DAYS
    ]
    bounds = ", ".join(f"as_of - INTERVAL {days} DAY AS since_{days}" for days in DAYS)
    return f"""
        SELECT row, {", ".join(features)}
        FROM {f"(SELECT *, {bounds} FROM spine) AS spine" if tuned else "spine"}
        LEFT JOIN events
            ON events.user_id = spine.user_id
            AND event = 'Order Completed'
            AND event_timestamp < as_of
            AND event_timestamp >= {since[max(DAYS)]}
            AND created_timestamp <= as_of
        GROUP BY row
        ORDER BY row
    """  # noqa: S608 - nothing in it comes from outside this file


def _load(events: Path, spine: Path) -> tuple[pa.Table, pa.Table]:
    columns = list(required_columns(SERVICE).events)
    return pq.read_table(events, columns=columns), pq.read_table(spine)


def _with_head(events: Path, spine: Path) -> list[tuple[pa.Table, pa.Table]]:
    whole = _load(events, spine)
    return [whole, (whole[0].slice(0, 1_000), whole[1].slice(0, 100))]


def _in_child(name: str, files: tuple[Path, Path], wanted: argparse.Namespace) -> dict[str, float]:
    child = ["--child", name, "--tables", *map(str, files), "--threads", str(wanted.threads)]
    return in_child(["benchmarks.features.windows", *child])


def _check_equal(ours: pa.Table, theirs: pa.Table) -> None:
    """Raises `RuntimeError` where the sides disagree; a sum of nothing is null for SQL."""
    for name in SERVICE.columns:
        a = ours[name].to_numpy(zero_copy_only=False).astype(float)
        b = theirs[name].to_numpy(zero_copy_only=False).astype(float)
        if "__sum_" in name:
            b = np.nan_to_num(b)
        tolerance = 0 if "__count_" in name else 1e-9
        if not np.allclose(a, b, rtol=tolerance, atol=0, equal_nan=True):
            raise RuntimeError(f"the sides disagree on {name}: no comparison is possible")


if __name__ == "__main__":
    sys.exit(main())
