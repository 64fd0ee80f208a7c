"""The memory of a task: what is too much ends the task, with an error that says so."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from include.errors import ConfigError, UnavailableError
from include.pipeline import operators
from include.pipeline.memory import allowed, bounded_memory, first_in_line

#: A task in a process of its own; what it does stands in the place of `{}`.
CHILD = """
import sys
from include.errors import TenantryError
from include.pipeline.memory import bounded_memory
import duckdb, numpy, pyarrow
try:
    with bounded_memory("task ingestion of alder.pipeline"):
        {}
except TenantryError as error:
    print(type(error).__name__, error)
    sys.exit(3)
print("done")
"""


def run(
    work: str, monkeypatch: pytest.MonkeyPatch, memory: str
) -> subprocess.CompletedProcess[str]:
    """The task's end."""
    monkeypatch.setenv("TENANTRY_TASK_MEMORY", memory)
    return subprocess.run(
        [sys.executable, "-c", CHILD.replace("{}", work)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
    )


@pytest.mark.parametrize(
    "work",
    [
        "x = bytearray(4_000_000_000)",
        "x = [bytes(1_000_000) for _ in range(4_000)]",
        "x = numpy.ones(500_000_000)",
        "x = pyarrow.repeat('x' * 1_000, 4_000_000)",
        "x = duckdb.sql('select list(i) from range(400000000) t(i)').fetchall()",
    ],
)
def test_a_task_that_needs_too_much_ends_alone_and_says_so(
    work: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose memory it is, Python's, numpy's, Arrow's or DuckDB's: task and setting are named."""
    ended = run(work, monkeypatch, "512M")
    assert ended.returncode == 3, ended.stderr[-500:]
    assert ended.stdout.startswith(
        "UnavailableError task ingestion of alder.pipeline needs more memory than "
        "TENANTRY_TASK_MEMORY allows (512 MB"
    )


def test_a_task_within_its_memory_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit counts from what the process had when it began."""
    ended = run("x = numpy.ones(20_000_000); y = bytearray(100_000_000)", monkeypatch, "512M")
    assert ended.stdout == "done\n"


def test_the_limit_goes_with_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the process does afterwards is as free as before."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    monkeypatch.setenv("TENANTRY_TASK_MEMORY", "1G")
    with bounded_memory("task"):
        assert resource.getrlimit(resource.RLIMIT_DATA) != before
    with pytest.raises(UnavailableError, match="needs more memory"), bounded_memory("task"):
        raise MemoryError
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


@pytest.mark.parametrize(
    ("told", "size"),
    [("", None), ("2G", 2 << 30), ("1500 MiB", 1500 << 20), ("70000000", 70_000_000)],
)
def test_a_limit_is_a_size(told: str, size: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """In bytes or with a unit; unset, there is none."""
    monkeypatch.setenv("TENANTRY_TASK_MEMORY", told)
    assert allowed() == size


@pytest.mark.parametrize("told", ["much", "-1G", "0", "1T", "10M", "1.5G", "G"])
def test_what_is_no_size_is_an_error(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before the task does anything."""
    monkeypatch.setenv("TENANTRY_TASK_MEMORY", told)
    with pytest.raises(ConfigError, match="TENANTRY_TASK_MEMORY"), bounded_memory("task"):
        pytest.fail("the task ran")


def test_every_stage_in_airflow_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """And stands first in line for the kernel while it runs."""
    monkeypatch.setenv("TENANTRY_TASK_MEMORY", "1G")
    seen: list[Any] = []
    score = Path("/proc/self/oom_score_adj")

    def stage(*_: Any) -> None:
        seen.append(int(score.read_text()) if score.exists() else 500)
        raise MemoryError

    monkeypatch.setattr(operators, "_run_stage_bounded", stage)
    context: Any = {"dag": SimpleNamespace(dag_id="alder.pipeline")}
    operator: Any = SimpleNamespace(task_id="ingestion")
    with pytest.raises(UnavailableError, match=r"task ingestion of alder\.pipeline needs"):
        operators._run_stage(operator, context)
    assert seen == [500]
    with first_in_line():
        pass
    assert not score.exists() or int(score.read_text()) < 500
