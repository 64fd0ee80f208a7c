"""The point-in-time join that Feast offers, against Feast's default store and its DuckDB store.

50,000 spine rows, 200,000 rows of a feature table with 10 columns, 20,000 users. To each spine row
the last value of its user that is not newer than `as_of`. Every side has the spine in memory in
its own form and reads the feature table's Parquet file in each call.

Comparable by choice of the data: rows are known when they are valid (Feast reads its created
timestamp for ties only, ours also as the time of knowledge), a user has no two rows of the same
instant, instants are whole seconds (Feast's DuckDB store cuts the spine's to milliseconds), and
Feast's `ttl` of zero means that no value is too old.

    python -m benchmarks.features.last_value [--rounds 5] [--json FILE]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.features.peer import Feast
from benchmarks.features.rounds import Report, alternate, limit_threads, options, ratios, timed
from include.features.asof import latest_known
from include.storage.canonical import TIMESTAMP

COLUMNS: Final = tuple(f"v{number}" for number in range(10))
OURS, IN_MEMORY = "latest_known", "latest_known, nothing read"
STORES: Final = {"Feast, default store": "dask", "Feast, DuckDB store": "duckdb"}
BOUNDS: Final = {"Feast, default store": ">= 20 times", "Feast, DuckDB store": ">= 5 times"}
#: The join keys' dictionary is in the file already.
_READ: Final[dict[str, Any]] = {"memory_map": True, "read_dictionary": ["user_id"]}
_HOURS: Final = 365 * 24
_START: Final = 1_704_067_200  # 2024-01-01 in seconds since 1970


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare rows and values, then time."""
    parser = options(__doc__, rows=200_000, spine=50_000, users=20_000)
    wanted = parser.parse_args(arguments)
    limit_threads(wanted.threads)
    report = Report(
        f"last value: {wanted.spine:,} spine rows, {wanted.rows:,} feature rows of "
        f"{len(COLUMNS)} columns; {wanted.threads} threads, {wanted.rounds} rounds"
    )
    with tempfile.TemporaryDirectory() as scratch, Feast(wanted.threads) as feast:
        for name, version in feast.ask("versions").items():
            report.note(name, version)
        features, spine = write(
            Path(scratch),
            rows=wanted.rows,
            spine=wanted.spine,
            users=wanted.users,
            seed=wanted.seed,
        )
        ours = _ours(features, spine)
        calls = {name: _declare(feast, scratch, store, features) for name, store in STORES.items()}
        _compare_values(report, ours(), feast_calls=calls, spine=spine, scratch=Path(scratch))
        sides = {OURS: timed(ours)}
        for name, call in calls.items():
            sides[name] = _seconds(call, spine)
        sides[IN_MEMORY] = timed(_in_memory(features, spine))
        seconds = alternate(sides, wanted.rounds)
    report.table(seconds, "seconds")
    for name, limit in BOUNDS.items():
        report.ratio(f"{name} / {OURS}", ratios(seconds[name], seconds[OURS]), limit)
    return report.finish(wanted.json)


def write(folder: Path, *, rows: int, spine: int, users: int, seed: int) -> tuple[Path, Path]:
    """The feature table and the spine; one user in twenty has only values of the next year."""
    draw = np.random.default_rng(seed)
    names = pa.array([f"u{number:06d}" for number in range(users)])

    def instants(size: int) -> tuple[Any, Any]:
        pair = draw.choice(users * _HOURS, size, replace=False)  # a user's hours are distinct
        return pair // _HOURS, _START + pair % _HOURS * 3600 + draw.integers(0, 3600, size)

    user, at = instants(rows)
    at = np.where(user % 20 == 0, at + 366 * 86_400, at)
    stamps = pa.array(at * 1_000_000).cast(TIMESTAMP)
    table = {"user_id": names.take(pa.array(user))}
    table |= {name: pa.array(draw.normal(size=rows)) for name in COLUMNS}
    table |= {"event_timestamp": stamps, "created_timestamp": stamps}
    pq.write_table(pa.table(table), folder / "features.parquet")
    user, at = instants(spine)
    stamps = pa.array(at * 1_000_000).cast(TIMESTAMP)
    asked = pa.table({"user_id": names.take(pa.array(user)), "event_timestamp": stamps})
    pq.write_table(asked, folder / "spine.parquet")
    return folder / "features.parquet", folder / "spine.parquet"


def _ours(features: Path, spine: Path) -> Callable[[], pa.Table]:
    rows = _spine(spine)
    return lambda: _join(rows, pq.read_table(features, **_READ))


def _in_memory(features: Path, spine: Path) -> Callable[[], pa.Table]:
    rows, table = _spine(spine), pq.read_table(features, **_READ)
    return lambda: _join(rows, table)


def _spine(path: Path) -> pa.Table:
    return pq.read_table(path).rename_columns(["user_id", "as_of"])


def _join(spine: pa.Table, features: pa.Table) -> pa.Table:
    return latest_known(spine, features, ("user_id",), valid="event_timestamp")


def _declare(
    feast: Feast, folder: str, store: str, features: Path
) -> Callable[..., dict[str, Any]]:
    feast.ask(
        "declare",
        store=store,
        folder=folder,
        features=str(features),
        columns=COLUMNS,
        offline={"type": store},
    )

    def historical(**arguments: str) -> dict[str, Any]:
        return feast.ask("historical", store=store, columns=COLUMNS, **arguments)

    return historical


def _seconds(call: Callable[..., dict[str, Any]], spine: Path) -> Callable[[], float]:
    return lambda: float(call(spine=str(spine))["seconds"])


def _compare_values(
    report: Report,
    ours: pa.Table,
    feast_calls: dict[str, Callable[..., dict[str, Any]]],
    spine: Path,
    scratch: Path,
) -> None:
    """Raises `RuntimeError` where both sides give a row back and its values differ."""
    asked, wanted = _spine(spine), len(ours)
    kept = ours.select(asked.column_names).equals(asked)
    empty = pc.sum(pc.is_null(ours[COLUMNS[0]])).as_py()
    report.judge(f"{OURS}, share of the {wanted:,} rows back, in order", float(kept), ">= 1")
    report.note("of these without a known value", empty)
    for name, call in feast_calls.items():
        target = scratch / "answer.parquet"
        call(spine=str(spine), result=str(target))
        theirs = pq.read_table(target)
        stamps = theirs["event_timestamp"].cast(TIMESTAMP)
        theirs = theirs.select(["user_id", *COLUMNS]).append_column("as_of", stamps)
        report.note(f"{name}, rows back", len(theirs))
        lost = ours.join(theirs, ["user_id", "as_of"], join_type="left anti")
        report.note(f"{name}, rows lost", len(lost))
        report.note(f"{name}, rows lost that have a value", len(lost) - lost[COLUMNS[0]].null_count)
        both = ours.join(
            theirs, ["user_id", "as_of"], join_type="inner", right_suffix="_feast"
        ).combine_chunks()
        if len(both) != len(theirs):
            raise RuntimeError(f"{name} gave rows back that nobody asked for")
        for column in COLUMNS:
            values = [
                both[column + suffix].to_numpy(zero_copy_only=False) for suffix in ("", "_feast")
            ]
            if not np.array_equal(values[0], values[1], equal_nan=True):
                raise RuntimeError(f"{name} and {OURS} disagree on {column}")
    report.note("values equal wherever both give a row", "yes")


if __name__ == "__main__":
    sys.exit(main())
