"""Through Airflow: tasks, scheduler and Postgres killed in the middle; intervals reprocessed."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import airflow_stack
import end_state
import psutil
import pytest
from airflow_stack import WEEK, Stack, eventually
from generated import Shop

from include.errors import TenantryError
from include.pipeline.stages import TENANT_STAGES, USE_CASE_STAGES
from include.runtime import postgres, processes
from include.tenants.namespace import dag_id

pytestmark = pytest.mark.soak

SHOP = Shop("pool-shop", dearer_from=date(2024, 7, 8))
PIPELINE, RETRAIN = dag_id(SHOP.id, "pipeline"), dag_id(SHOP.id, "retrain")
FIRST, LAST = datetime(2024, 7, 1, tzinfo=UTC), datetime(2024, 7, 15, tzinfo=UTC)
WEEKS = (LAST - FIRST) // WEEK + 1
STAGES = {stage.name for stage in (*TENANT_STAGES, *USE_CASE_STAGES)}
#: Of the four tries that a task has, so many are killed at most.
KILLS_PER_TASK = 2


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the shop's files lie, for both installations."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def calm(data: Path) -> Iterator[tuple[Stack, dict[str, Any]]]:
    """An undisturbed installation after three weeks and the retrain that drift asked for."""
    with airflow_stack.stack(data, SHOP) as stack:
        _three_weeks(stack)
        yield stack, stack.end_state()


def _three_weeks(stack: Stack) -> None:
    stack.backfill(PIPELINE, FIRST, LAST, "none")
    stack.finish(RETRAIN, 1, {})


def _bytes(stack: Stack) -> dict[str, Any]:
    lake = end_state.files(stack.state.lake)
    return {**stack.end_state(), **{f"bytes: {path}": one for path, one in lake.items()}}


def test_an_interval_reprocessed_through_rest_and_cli_stays_as_it_is(
    calm: tuple[Stack, dict[str, Any]],
) -> None:
    """Backfilled twice more with `completed`, through the REST API and the command line: the same
    bytes in the lake, the same rows, no version more."""
    stack, _ = calm
    before = _bytes(stack)
    stack.backfill(PIPELINE, FIRST, LAST, "completed")
    once = _bytes(stack)
    changed = end_state.differences(before, once)
    # the newest run of a stage is on record, and that of the retrain's instant was the retrain
    assert [line for line in changed if "stage_runs" not in line] == []
    began = stack.started(PIPELINE)
    stack.tenantry(
        *("airflow", "backfill", "create", "--dag-id", PIPELINE),
        *("--from-date", (FIRST - WEEK).isoformat(), "--to-date", (LAST - WEEK).isoformat()),
        *("--dag-run-conf", json.dumps({"use_cases": ["churn"]})),
        *("--reprocess-behavior", "completed", "--max-active-runs", "1"),
    )
    stack.finish(PIPELINE, WEEKS, began)
    assert end_state.differences(once, _bytes(stack)) == []


@dataclass
class Killer:
    """Kills processes of running tasks, each a while after it was seen."""

    stack: Stack
    draw: random.Random
    kills: Counter[str] = field(default_factory=Counter)
    over: bool = False

    def work(self) -> None:
        """Until it is over."""
        tries: Counter[tuple[str, str]] = Counter()
        seen: set[tuple[str, str, int]] = set()
        while not self.over:
            for dag in (PIPELINE, RETRAIN):
                with suppress(TenantryError):
                    for task in self.stack.running(dag):
                        self._strike(task, tries, seen)
            time.sleep(0.05)

    def _strike(
        self,
        task: dict[str, Any],
        tries: Counter[tuple[str, str]],
        seen: set[tuple[str, str, int]],
    ) -> None:
        key = (task["dag_run_id"], task["task_id"])
        this = (*key, task["try_number"])
        if this in seen or not task["pid"] or tries[key] >= KILLS_PER_TASK:
            return
        seen.add(this)
        time.sleep(self.draw.choice([0.0, 0.2, 0.5, 0.9]))
        with suppress(psutil.Error):
            process = psutil.Process(task["pid"])
            if task["id"] in process.cmdline()[0]:  # its title, else the pid is somebody else's
                process.kill()
                tries[key] += 1
                self.kills[task["task_id"].rpartition(".")[2]] += 1


@contextmanager
def _killing(stack: Stack) -> Iterator[Killer]:
    killer = Killer(stack, random.Random(20_170_101))
    thread = threading.Thread(target=killer.work)
    thread.start()
    try:
        yield killer
    finally:
        killer.over = True
        thread.join()


def _kill_scheduler_and_postgres(stack: Stack) -> None:
    """One after the other, each while a task runs."""
    eventually(lambda: bool(stack.running(PIPELINE)))
    (scheduler,) = [r for r in processes.recall(stack.state.run) if r.name == "scheduler"]
    psutil.Process(scheduler.pid).kill()
    eventually(lambda: _successes(stack) >= 1)
    eventually(lambda: bool(stack.running(PIPELINE)))
    postmaster = postgres.postmaster(stack.state)
    assert postmaster is not None
    postmaster.kill()


def _successes(stack: Stack) -> int:
    return sum(run["state"] == "success" for run in stack.api.runs(PIPELINE))


def test_killed_tasks_scheduler_and_postgres_leave_no_trace(
    calm: tuple[Stack, dict[str, Any]], data: Path
) -> None:
    """With tasks of every stage killed up to twice, and the scheduler and Postgres once each,
    Airflow's retries end in the tables, lake, registry and ledger of the undisturbed weeks."""
    _, expected = calm
    with airflow_stack.stack(data, SHOP) as stack, _killing(stack) as killer:
        other = threading.Thread(target=_kill_scheduler_and_postgres, args=[stack])
        other.start()
        _three_weeks(stack)
        other.join()
        assert {*killer.kills} >= STAGES, killer.kills
        assert end_state.differences(expected, stack.end_state()) == []
    print(dict(killer.kills))
