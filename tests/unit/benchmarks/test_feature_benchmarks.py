"""The benchmarks of the feature store run, and would notice what they are there to notice."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.features import leakage, windows
from benchmarks.features.cases import Cases, generate
from benchmarks.features.rounds import Report, alternate, percentile, ratios
from include.features import in_memory

#: So that no benchmark takes processors away from the tests after it.
ALL = str(os.cpu_count())


def test_rounds_alternate_after_one_that_does_not_count() -> None:
    """Both sides warm up, then take turns, and ratios are taken round by round."""
    order: list[str] = []

    def side(name: str, *seconds: float) -> tuple[str, object]:
        left = iter(seconds)

        def run() -> float:
            order.append(name)
            return next(left)

        return name, run

    found = alternate(dict([side("a", 9, 4, 6), side("b", 9, 2, 1)]), rounds=2)  # type: ignore[list-item]
    assert order == ["a", "b"] * 3
    assert ratios(found["a"], found["b"]) == [2, 6]


def test_a_percentile_is_a_value_that_was_seen() -> None:
    """The smallest that at least this share does not exceed."""
    values = list(range(1, 201))
    assert [percentile(values, share) for share in (0.5, 0.99, 1.0)] == [100, 198, 200]
    assert percentile([7.0], 0.99) == 7.0


def test_a_missed_bound_is_the_exit_status(tmp_path: Path) -> None:
    """The report says which bounds were missed, in words, in JSON and to the shell."""
    report = Report("title")
    report.ratio("fast", [6.0, 5.0, 4.0], ">= 5 times")
    report.judge("slow", 2.5, "<= 2 ms")
    assert report.finish(tmp_path / "figures.json") == 1
    written = json.loads((tmp_path / "figures.json").read_text())
    assert written["missed"] == ["slow: 2.5, wanted <= 2 ms"]
    assert written["figures"]["fast"] == [6.0, 5.0, 4.0]


def test_windows_runs_on_little_data(tmp_path: Path) -> None:
    """The range joins and the engine agree, and every figure is there."""
    target = tmp_path / "figures.json"
    sizes = ["--events", "2000", "--users", "20", "--rows", "200", "--growth", "1"]
    windows.main([*sizes, "--rounds", "1", "--threads", ALL, "--json", str(target)])
    figures = json.loads(target.read_text())["figures"]
    assert set(figures["peak MB above the loaded tables"]) == {
        windows.OURS,
        windows.PLAIN,
        windows.TUNED,
    }
    assert len(figures[f"{windows.PLAIN} / {windows.OURS}"]) == 1


def test_a_hot_user_has_a_tenth_of_events_and_spine(tmp_path: Path) -> None:
    """Otherwise it would burden nobody."""
    files = windows.write_events(tmp_path, events=5_000, users=50, rows=2_000, hot=True, seed=0)
    for file in files:
        users = pq.read_table(file)["user_id"].to_pylist()
        assert 0.09 < users.count("u0000000") / len(users) < 0.15


def test_no_engine_leaks_on_a_few_cases(tmp_path: Path) -> None:
    """The reference and the fast engine, on two cases of every instant."""
    target = tmp_path / "figures.json"
    engines = ["--engines", "in_memory", "vectorized"]
    arguments = ["--cases", "24", *engines, "--threads", ALL, "--json", str(target)]
    assert leakage.main(arguments) == 0
    assert json.loads(target.read_text())["missed"] == []


class Careless:
    """An engine that believes whatever it is given, up to some delay."""

    def __init__(self, delay: timedelta) -> None:
        self.delay = delay

    def compute(
        self,
        service: object,
        spine: object,
        events: pa.Table,
        attributes: pa.Table,
        timezone: str,
        shared: pa.Table | None = None,
    ) -> pa.Table:
        """The reference's answer for events that seem to be known earlier than they are."""
        rows = [
            row | {"created_timestamp": row["created_timestamp"] - self.delay}
            for row in events.to_pylist()
        ]
        early = pa.Table.from_pylist(rows, schema=events.schema)
        return in_memory.compute(service, spine, early, attributes, timezone)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("delay", "leaks"), [(timedelta(0), False), (timedelta(microseconds=1), True)]
)
def test_a_leak_of_a_microsecond_is_noticed(delay: timedelta, leaks: bool) -> None:
    """Rows that become known just after `as_of` are among the cases."""
    compute = leakage.of_module(Careless(delay))
    batches = generate(60, seed=0)
    given = compute(batches)
    for changed in (Cases.knowable, Cases.tampered):
        assert bool(leakage.differing(given, compute([changed(b) for b in batches]))) == leaks


def test_a_row_out_of_order_is_noticed() -> None:
    """The spine is compared row by row."""
    batches = generate(24, seed=0)
    spines: Sequence[pa.Table] = [one.spine() for one in batches]
    spine = pa.concat_tables(spines)
    assert leakage.kept_in_order(spine, batches) == 24
    assert leakage.kept_in_order(spine.take([1, 0, *range(2, 24)]), batches) == 22
    assert leakage.kept_in_order(spine.slice(1), batches) == 0
