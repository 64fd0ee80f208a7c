"""The benchmark of fleets: its tenants, its meters, and what its figures add up to."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
import pytest

from benchmarks.fleet import causes, figures, meters
from benchmarks.fleet.__main__ import main
from benchmarks.fleet.figures import Figures
from benchmarks.fleet.fleet import FleetPlan, stores, write
from include import use_cases
from include.tenants.intervals import last_interval
from include.tenants.loader import load_fleet

MEASURED = Figures(
    side="bare",
    tenants=2,
    use_cases=1,
    pipelines=4,
    failed=0,
    wall_seconds=120.0,
    before_seconds=10.0,
    cpu_seconds={"stages": 30.0, "Postgres": 10.0},
    stage_seconds={},
    cause_seconds={},
    peak_bytes={},
    left_before={"logs": 100},
    left={"logs": 500, "lake": 40},
)


def test_stores_are_taken_evenly_and_never_twice() -> None:
    """Few stores span those of many, from the largest on; all 113 are different ones."""
    everybody = stores(113)
    assert len(set(everybody)) == 113
    few = [everybody.index(store) for store in stores(7)]
    assert few[0] == 0
    assert all(15 <= later - earlier <= 17 for earlier, later in pairwise(few))


def test_more_stores_than_there_are_are_refused() -> None:
    """The error says how many stores are large enough."""
    with pytest.raises(ValueError, match="113 stores have 1,000 rows"):
        stores(114)


@pytest.mark.parametrize("simulated", [False, True])
@pytest.mark.parametrize("daily", [False, True])
def test_a_written_fleet_is_good_and_has_the_planned_intervals(
    tmp_path: Path, simulated: bool, daily: bool
) -> None:
    """Tenant files have no problems, and their schedules tick where the plan's intervals end."""
    plan = FleetPlan(2, 2, simulated=simulated, daily=daily)
    write(plan, tmp_path)
    read = load_fleet(tmp_path, use_cases.names())
    assert not read.problems
    assert len(read.tenants) == 2
    assert len(plan.starts) == (14 if daily else 2)
    for tenant in read.tenants.values():
        assert list(tenant.use_cases) == ["churn", "recommendation"]
        for start in plan.starts:
            interval = last_interval(tenant, start + plan.step)
            assert (interval.start, interval.end) == (start, start + plan.step)
            assert tenant.history_until is None or interval.end <= tenant.history_until
    assert plan.cut.weekday() == 0
    assert plan.cut - datetime(plan.cut.year, 1, 1, tzinfo=UTC) > timedelta(days=150)


def _frame(*files: str) -> FrameType:
    """A frame within calls of functions of these files, the outermost first."""
    kept: dict[str, Any] = {"sys": sys}
    source = "def f(*rest): return rest[0](*rest[1:]) if rest else sys._getframe()"
    functions = []
    for file in files:
        exec(compile(source, file, "exec"), kept)  # noqa: S102
        functions.append(kept["f"])
    frame: FrameType = functions[0](*functions[1:])
    return frame


@pytest.mark.parametrize(
    ("files", "place"),
    [
        (["/p/include/quality/stage.py"], ("own code, Arrow, numpy", "quality.stage:f")),
        (
            ["/p/include/a.py", "/p/include/b.py", "/v/site-packages/mlflow/c.py"],
            ("MLflow", "b:f"),
        ),
        # who asked for the work is the cause, not what was used for it
        (
            ["/p/include/a.py", "/v/site-packages/evidently/c.py", "/v/site-packages/sklearn/d.py"],
            ("Evidently", "a:f"),
        ),
        # a library that calls back does not make our code its own
        (
            ["/p/include/a.py", "/v/site-packages/evidently/c.py", "/p/include/b.py"],
            ("Evidently", "a:f"),
        ),
        (["/p/include/a.py", "/v/site-packages/pandas/c.py"], ("own code, Arrow, numpy", "a:f")),
    ],
)
def test_cpu_belongs_to_whoever_asked_for_the_work(
    files: list[str], place: tuple[str, str]
) -> None:
    """The cause is the outermost library, the place the last function of `include` before it."""
    assert causes._place(_frame(*files)) == place


def test_a_child_that_is_over_counts_with_its_parent() -> None:
    """Seconds of a process tree include those of waited-for children, unless left out."""
    burn = "import time\nwhile time.process_time() < 0.6: pass"
    me = [psutil.Process()]
    alone, whole = meters.cpu_seconds(me, children=False), meters.cpu_seconds(me)
    subprocess.run([sys.executable, "-c", burn], check=True)
    assert meters.cpu_seconds(me) - whole >= 0.5
    assert meters.cpu_seconds(me, children=False) - alone < 0.5


def test_memory_is_that_of_living_processes() -> None:
    """This process has some; one that is gone has none and is no error."""
    assert meters.memory_bytes([psutil.Process()]) > 1 << 20
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        gone = psutil.Process(child.pid)
    assert meters.memory_bytes([gone]) == 0
    assert meters.tree(child.pid) == []


def test_figures_are_told_per_pipeline() -> None:
    """Pipelines per minute, CPU and bytes since the cut, and ratios between the sides."""
    assert MEASURED.per_minute == 2.0
    assert MEASURED.cpu_per_pipeline == 10.0
    assert MEASURED.grown == {"logs": 100.0, "lake": 10.0}
    slow = replace(MEASURED, wall_seconds=240.0, cpu_seconds={"tasks": 160.0})
    compared = figures.ratios({"bare": MEASURED, "airflow": slow, "naive": slow})
    assert compared["wall time, airflow / bare"] == 2.0
    assert compared["CPU per pipeline, airflow / bare"] == 4.0
    assert compared["pipelines per minute, airflow / naive"] == 1.0


def test_a_comparison_runs_every_side_on_the_same_fleet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each side is a process with the sizes that were asked for; ratios are printed and written."""
    asked: list[list[str]] = []

    def run(command: list[str], *, check: bool) -> subprocess.CompletedProcess[str]:
        asked.append(command[3:-2])
        Path(command[-1]).write_text(json.dumps(asdict(replace(MEASURED, side=command[3]))))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", run)
    written = tmp_path / "compared.json"
    assert main(["compare", "--tenants", "3", "--json", str(written)]) == 0
    sizes = ["--tenants", "3", "--json", str(written)]
    assert sorted(asked) == sorted([side, *sizes] for side in ("airflow", "bare", "naive"))
    assert "1.00  wall time, airflow / bare" in capsys.readouterr().out
    document = json.loads(written.read_text())
    assert document["sides"]["naive"]["side"] == "naive"
    assert set(document["ratios"].values()) == {1.0}
