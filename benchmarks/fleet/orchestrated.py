"""An Airflow that runs, its components' processes, and backfills that are waited for."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psutil

from benchmarks.fleet import meters
from benchmarks.fleet.figures import Figures
from benchmarks.fleet.fleet import FleetPlan
from include.runtime import postgres, processes
from include.runtime.airflow_api import AirflowApi
from include.runtime.state import State

#: Count for themselves: their children are components of their own.
_PARENTS: Final = frozenset({"supervisor", "scheduler"})
_ALONE: Final = _PARENTS | {"executor"}
_POLL_SECONDS: Final = 3.0


@dataclass(frozen=True)
class Running:
    """An installation in which Airflow is up."""

    state: State
    api: AirflowApi

    def components(self) -> dict[str, list[psutil.Process]]:
        """Component → its processes; the `executor`'s are the scheduler's children, which supervise
        the `tasks` that they fork."""
        members = {one.name: meters.tree(one.pid) for one in processes.recall(self.state.run)}
        scheduler, *below = members.get("scheduler") or [None]
        members["executor"] = [one for one in below if meters.parent(one) == scheduler]
        members["tasks"] = [one for one in below if one not in members["executor"]]
        members["Postgres"] = meters.tree(getattr(postgres.postmaster(self.state), "pid", None))
        return {n: found[:1] if n in _PARENTS else found for n, found in members.items()}

    def cpu(self) -> dict[str, float]:
        """Component → CPU seconds so far."""
        components = self.components()
        spent = {
            name: meters.cpu_seconds(found, children=name not in _ALONE)
            for name, found in components.items()
        }
        executor = components["executor"]
        spent["tasks"] += meters.cpu_seconds(executor) - spent["executor"]  # those that are over
        return spent

    def left(self) -> dict[str, int]:
        """Place → bytes."""
        return meters.bytes_left(self.state, postgres.address(self.state))

    def await_dags(self, dags: Iterable[str]) -> None:
        """Wait until Airflow has read them all."""
        until(lambda: len(set(dags) - self.api.dag_ids()), "DAGs are not known yet")

    def backfill(self, dags: Sequence[str], dates: Sequence[datetime], **conf: Any) -> int:
        """Run the logical dates of every DAG, each DAG's one after the other; how many failed."""
        for dag in dags:
            self.api.backfill(dag, dates[0], dates[-1], conf)
        return self.await_runs(dags)

    def await_backfills(self, dags: Sequence[str]) -> None:
        """Wait until Airflow has closed the DAGs' backfills, which it does some time after the last
        run: a DAG has one at a time."""
        for dag in dags:
            until(lambda dag=dag: self._open_backfills(dag), f"backfills of {dag} are open")

    def await_runs(self, dags: Sequence[str]) -> int:
        """Wait until no run of these DAGs is open; how many failed."""
        until(lambda: self._count(dags, "queued", "running"), "runs are open")
        return self._count(dags, "failed")

    def _open_backfills(self, dag: str) -> int:
        backfills = self.api.call("GET", "/backfills", params={"dag_id": dag})["backfills"]
        return sum(not backfill["completed_at"] for backfill in backfills)

    def _count(self, dags: Sequence[str], *states: str) -> int:
        asked = {"dag_ids": list(dags), "states": states, "page_limit": 1}
        return int(self.api.call("POST", "/dags/~/dagRuns/list", json=asked)["total_entries"])


def measure(
    side: str,
    plan: FleetPlan,
    running: Running,
    dags: Sequence[str],
    dates: Sequence[datetime],
    *,
    before: Callable[[], None],
    after: Callable[[], None],
) -> Figures:
    """The figures of a backfill of these dates.

    Args:
        before: what is done first, and not measured.
        after: waits for what the runs have set off; measured.
    """
    began = time.monotonic()
    before()
    left_before, cpu_before = running.left(), running.cpu()
    cut = time.monotonic()
    with meters.MemoryWatch(running.components) as memory:
        failed = running.backfill(dags, dates)
        after()
    ended, cpu = time.monotonic(), running.cpu()
    return Figures(
        side=side,
        tenants=plan.tenants,
        use_cases=plan.use_cases,
        pipelines=len(dags) * len(dates),
        failed=failed,
        wall_seconds=ended - cut,
        before_seconds=cut - began,
        cpu_seconds=_minus(cpu, cpu_before),
        stage_seconds={},
        cause_seconds={},
        peak_bytes=memory.peak,
        left_before=left_before,
        left=running.left(),
    )


def _minus(later: Mapping[str, float], earlier: Mapping[str, float]) -> dict[str, float]:
    return {name: value - earlier.get(name, 0.0) for name, value in later.items()}


def until(remaining: Callable[[], int], what: str) -> None:
    """Wait until nothing remains, and say now and then how much does."""
    told = time.monotonic()
    while count := remaining():
        if time.monotonic() - told > 30:
            told = time.monotonic()
            print(f"{count} {what}", file=sys.stderr, flush=True)
        time.sleep(_POLL_SECONDS)
