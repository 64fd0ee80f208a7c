"""Online reads beside Feast's Postgres online store, on the same embedded Postgres.

A million users with five events each over a year are materialized, then five days more, each on
its own. 20 features are read for one user, and for a hundred, users drawn at random; then again
after events streamed in, which count at once. Answers are compared with the offline engine first.

Feast gets as many users as `--feast-users` in one view of 20 numbers: far fewer rows than ours, to
its advantage, as its own materialization of a million would take an hour. Its vectors are ready to
be read, ours are merged from partial aggregates at the instant that is asked for.

    python -m benchmarks.features.online [--rounds 5] [--json FILE]
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.features.data import canonical_events, names
from benchmarks.features.peer import Feast
from benchmarks.features.rounds import (
    Report,
    alternate,
    limit_threads,
    options,
    percentile,
    ratios,
)
from benchmarks.features.server import running_postgres
from include.features import vectorized
from include.features.declarations import ALL_HISTORY, USER, Aggregation, EventStream
from include.features.online.store import OnlineStore, Reader
from include.features.spine import Spine
from include.features.views import FeatureService, FeatureView
from include.runtime.postgres import Postgres
from include.storage.canonical import ATTRIBUTES, TIMESTAMP
from include.stores.postgres.online import PostgresOnlineStore
from include.tenants.namespace import TenantRef

DAY: Final = timedelta(days=1)
START: Final = datetime(2024, 1, 1, tzinfo=UTC)
YEAR: Final = 365 * DAY
WINDOWS: Final = (DAY, 7 * DAY, 30 * DAY, 90 * DAY)
VIEW: Final = FeatureView(
    "spend",
    USER,
    EventStream(("Order Completed",)),
    (
        Aggregation("count", windows=WINDOWS),
        Aggregation("sum", "amount", WINDOWS),
        Aggregation("mean", "amount", WINDOWS),
        Aggregation("min", "amount", (30 * DAY,)),
        Aggregation("max", "amount", (30 * DAY,)),
        Aggregation("std", "amount", (90 * DAY,)),
        Aggregation("last", "amount", (ALL_HISTORY,)),
        Aggregation("time_since_last", windows=(ALL_HISTORY,)),
        Aggregation("days_active", windows=(30 * DAY,)),
        Aggregation("distinct_count", "item_id", (90 * DAY,)),
        Aggregation("trend", windows=(30 * DAY,)),
    ),
    ttl=7 * DAY,
)
SERVICE: Final = FeatureService("bench", (VIEW,))
TENANT: Final = TenantRef("bench", "local", "pool")
OURS, FEAST = "online store", "Feast"
_COLUMNS: Final = tuple(f"v{number}" for number in range(20))
_MICROSECOND: Final = timedelta(microseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def main(arguments: Sequence[str] | None = None) -> int:
    """Materialize, compare with the offline engine, read, and let Feast read as much."""
    parser = options(
        __doc__, users=1_000_000, events=5_000_000, singles=500, batches=100, feast_users=10_000
    )
    wanted = parser.parse_args(arguments)
    limit_threads(wanted.threads)
    report = Report(
        f"online: {wanted.users:,} users, {wanted.events:,} events in a year, "
        f"{len(VIEW.columns)} features; {wanted.threads} threads, {wanted.rounds} rounds"
    )
    draw = np.random.default_rng(wanted.seed)
    with (
        tempfile.TemporaryDirectory() as scratch,
        running_postgres() as server,
        Feast(wanted.threads) as feast,
    ):
        store = PostgresOnlineStore()
        reader = store.reader(TENANT, SERVICE)
        at, history = _materialize(store, wanted, draw, report)
        _check(reader, history, at, _users(draw, wanted.users, 200))
        report.note("features equal to the offline engine's", "yes")
        _declare(feast, server, Path(scratch), wanted, draw)
        report.note(
            "users in Feast's store, so few to its advantage",
            f"{wanted.feast_users:,}, in ours {wanted.users:,}; both are asked for those",
        )
        _settle(server)
        _compare(reader, feast, at, wanted, draw, report)
        _stream(store, reader, history, at, wanted, draw, report)
    return report.finish(wanted.json)


def _materialize(
    store: OnlineStore, wanted: argparse.Namespace, draw: np.random.Generator, report: Report
) -> tuple[datetime, pa.Table]:
    """A year at once, then day after day; the instant reached, and every event."""
    user = np.concatenate(
        [np.arange(wanted.users), draw.integers(0, wanted.users, wanted.events - wanted.users)]
    )
    parts = [_events(draw, user, START, YEAR, 0)]
    a_day = wanted.events // (YEAR // DAY)
    for number in range(wanted.rounds):
        some = draw.integers(0, wanted.users, a_day)
        first_id = sum(map(len, parts))
        parts.append(_events(draw, some, START + YEAR + number * DAY, DAY, first_id))
    seconds, until = [], START + YEAR
    for events in parts:
        started = time.perf_counter()
        store.materialize(TENANT, SERVICE.views, "UTC", until, events, ATTRIBUTES.empty_table())
        seconds.append(time.perf_counter() - started)
        until += DAY
    year, *days = seconds
    report.table({"a year": [year], "a day": days}, "seconds to materialize")
    shares = [100 * day / year for day in days]
    report.ratio("a day's materialization in % of a year's", shares, "<= 5 %")
    return until - DAY + timedelta(minutes=5), pa.concat_tables(parts)


def _compare(
    reader: Reader,
    feast: Feast,
    at: datetime,
    wanted: argparse.Namespace,
    draw: np.random.Generator,
    report: Report,
) -> None:
    sizes = {1: wanted.singles, 100: wanted.batches}
    taken: dict[int, list[float]] = {size: [] for size in sizes}

    def ours(size: int, reads: int) -> Callable[[], float]:
        def run() -> float:
            return sum(_read(reader, at, _requests(draw, wanted.feast_users, size, reads)))

        return run

    def of_all(size: int, reads: int) -> Callable[[], float]:
        def run() -> float:
            seconds = _read(reader, at, _requests(draw, wanted.users, size, reads))
            taken[size] += seconds
            return sum(seconds)

        return run

    def theirs(size: int, reads: int) -> Callable[[], float]:
        def run() -> float:
            requests = list(_requests(draw, wanted.feast_users, size, reads))
            answer = feast.ask("online", store=FEAST, requests=requests, columns=_COLUMNS)
            if answer["values"] != size * len(_COLUMNS):
                raise RuntimeError("Feast did not answer with every value")
            return float(sum(answer["seconds"]))

        return run

    sides: dict[str, Callable[[], float]] = {}
    for size, reads in sizes.items():
        sides[f"{OURS}, {reads} reads of {size}"] = ours(size, reads)
        sides[f"{FEAST}, {reads} reads of {size}"] = theirs(size, reads)
        sides[f"{OURS}, {reads} reads of {size}, of all users"] = of_all(size, reads)
    seconds = alternate(sides, wanted.rounds)
    report.table(seconds, "seconds")
    for size, bound in ((1, "<= 2 ms"), (100, "<= 10 ms")):
        counted = taken[size][sizes[size] :]  # without the round that does not count
        _tails(report, f"{size} of {wanted.users:,}", counted, bound)
    for (size, reads), bound in zip(sizes.items(), ("", ">= 5 times"), strict=True):
        same = f"{reads} reads of {size}"
        theirs_taken = seconds[f"{FEAST}, {same}"]
        name = f"users per second {OURS} / {FEAST}, {size} at a time"
        report.ratio(name, ratios(theirs_taken, seconds[f"{OURS}, {same}"]), bound)
        of_any = ratios(theirs_taken, seconds[f"{OURS}, {same}, of all users"])
        report.ratio(f"{name}, ours of all {wanted.users:,}", of_any)


def _stream(
    store: OnlineStore,
    reader: Reader,
    history: pa.Table,
    at: datetime,
    wanted: argparse.Namespace,
    draw: np.random.Generator,
    report: Report,
) -> None:
    """What happened a moment ago counts: the same reads of users with an event since."""
    number = draw.choice(wanted.users, min(1_000, wanted.users), replace=False)
    recent = _events(draw, number, at - timedelta(minutes=4), timedelta(minutes=4), len(history))
    store.append(TENANT, recent)
    users = names(number, "u", 7).to_pylist()
    _check(reader, pa.concat_tables([history, recent]), at, users[:200])
    report.note("features equal to the offline engine's after events streamed in", "yes")
    for size, reads, bound in ((1, 2_000, "<= 2 ms"), (100, 500, "<= 10 ms")):
        requests = ([str(one) for one in draw.choice(users, size)] for _ in range(reads))
        _tails(report, f"{size} with events since", _read(reader, at, requests), bound)


def _tails(report: Report, name: str, seconds: Sequence[float], bound: str) -> None:
    milliseconds = [1_000 * value for value in seconds]
    report.judge(f"reads of {name}, p99 of {len(seconds):,}", percentile(milliseconds, 0.99), bound)
    report.judge(f"reads of {name}, median", percentile(milliseconds, 0.5), "")


def _read(reader: Reader, at: datetime, requests: Iterator[list[str]]) -> list[float]:
    """Seconds of each read."""
    seconds = []
    for users in requests:
        started = time.perf_counter()
        reader.read({"user_id": users}, at)
        seconds.append(time.perf_counter() - started)
    return seconds


def _check(reader: Reader, events: pa.Table, at: datetime, users: list[str]) -> None:
    """Raises `RuntimeError` where an online feature is not what the offline engine computes."""
    theirs = events.filter(pc.is_in(events["user_id"], value_set=pa.array(users)))
    spine = Spine.at({"user_id": users}, at)
    expected = vectorized.compute(SERVICE, spine, theirs, ATTRIBUTES.empty_table(), "UTC")
    found = reader.read({"user_id": users}, at).table
    for name in VIEW.columns:
        for a, b in zip(found[name].to_pylist(), expected[name].to_pylist(), strict=True):
            if a != b and not (a and b and math.isclose(a, b, rel_tol=1e-9)):
                raise RuntimeError(f"online {name} is {a}, offline {b}: nothing to measure")


def _settle(server: Postgres) -> None:
    """Do for both stores what autovacuum does within minutes of a large load."""
    for database in ("tenantry", "feast"):
        with psycopg.connect(server.dsn(database), autocommit=True) as connection:
            connection.execute("VACUUM (ANALYZE)")
            connection.execute("CHECKPOINT")


def _declare(
    feast: Feast,
    server: Postgres,
    folder: Path,
    wanted: argparse.Namespace,
    draw: np.random.Generator,
) -> None:
    """Feast's online store in a database of its own, filled."""
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE feast")
    rows = wanted.feast_users
    stamps = pa.array([START] * rows, TIMESTAMP)
    table = {"user_id": names(np.arange(rows), "u", 7)}
    table |= {name: pa.array(draw.normal(size=rows)) for name in _COLUMNS}
    table |= {"event_timestamp": stamps, "created_timestamp": stamps}
    pq.write_table(pa.table(table), folder / "vectors.parquet")
    online: dict[str, Any] = {
        "type": "postgres",
        "host": str(server.socket_dir),
        "database": "feast",
        "db_schema": "public",
        "user": "postgres",
        "password": "",
        "sslmode": "disable",
        "conn_type": "singleton",  # one connection that stays open
    }
    feast.ask(
        "declare",
        store=FEAST,
        folder=str(folder),
        features=str(folder / "vectors.parquet"),
        columns=_COLUMNS,
        offline={"type": "dask"},
        online=online,
    )
    span = {"start": (START - DAY).isoformat(), "end": (START + DAY).isoformat()}
    feast.ask("materialize", store=FEAST, **span)


def _events(
    draw: np.random.Generator, user: Any, start: datetime, span: timedelta, first_id: int
) -> pa.Table:
    """One event per element of `user`, in the order of arrival, which is at once."""
    first = (start - _EPOCH) // _MICROSECOND
    at = np.sort(first + draw.integers(0, span // _MICROSECOND, len(user)))
    return canonical_events(draw, draw.permutation(user), at, at, first_id)


def _requests(draw: np.random.Generator, users: int, size: int, reads: int) -> Iterator[list[str]]:
    return (_users(draw, users, size) for _ in range(reads))


def _users(draw: np.random.Generator, users: int, size: int) -> list[str]:
    return [f"u{number:07d}" for number in draw.integers(0, users, size)]


if __name__ == "__main__":
    sys.exit(main())
