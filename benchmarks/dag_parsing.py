"""What 1,000 tenants cost Airflow: executing every DAG file, and one task's own load of its DAG.

Run alone: `python benchmarks/dag_parsing.py [--tenants 1000] [--rounds 5]`. Every round is a fresh
process pinned to one core. It imports Airflow first, as the parent does from which Airflow forks
its parsing and task processes, and then executes the DAG files as Airflow does.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
DAG_FILES = tuple(sorted((PROJECT / "dags").glob("*.py")))
TASK_LOADS = 20


def measure() -> dict[str, float]:
    """One round in this process: seconds per file and in all, milliseconds per task's load."""
    import include.pipeline.dags  # noqa: F401
    from tests.fleet import tenant_id

    found: dict[str, float] = {}
    tasks = 0
    for file in DAG_FILES:
        cpu, wall = time.process_time(), time.perf_counter()
        names = runpy.run_path(str(file))
        found[f"cpu {file.name}"] = time.process_time() - cpu
        found[f"wall {file.name}"] = time.perf_counter() - wall
        tasks += sum(len(dag.tasks) for dag in names.values() if hasattr(dag, "tasks"))
    for clock in ("cpu", "wall"):
        found[clock] = sum(found[f"{clock} {file.name}"] for file in DAG_FILES)
    found["tasks"] = tasks
    os.environ["_AIRFLOW_PARSING_CONTEXT_DAG_ID"] = f"{tenant_id(7)}.pipeline"
    loads = []
    for _ in range(TASK_LOADS):
        wall = time.perf_counter()
        runpy.run_path(str(PROJECT / "dags" / "tenant_dags.py"))
        loads.append(time.perf_counter() - wall)
    found["task load ms"] = 1000 * statistics.median(loads)
    return found


def main() -> None:
    """Print minimum and median over the rounds."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--tenants", type=int, default=1000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    wanted = arguments.parse_args()
    sys.path.insert(0, str(PROJECT))
    if wanted.measure:
        print(json.dumps(measure()))
        return
    from tests.fleet import write_fleet

    with tempfile.TemporaryDirectory() as scratch:
        fleet = write_fleet(Path(scratch) / "tenants", wanted.tenants)
        rounds = [_round(fleet, Path(scratch) / "airflow") for _ in range(wanted.rounds)]
    tasks = f"{wanted.tenants:,} tenants, {rounds[0]['tasks']:,.0f} tasks"
    print(f"{tasks}, one core, {len(rounds)} rounds")
    print(f"{'':34}{'minimum':>9}{'median':>9}")
    for name in rounds[0]:
        if name != "tasks":
            values = [found[name] for found in rounds]
            label = name if name.endswith("ms") else f"{name}, seconds"
            print(f"{label:34}{min(values):9.2f}{statistics.median(values):9.2f}")


def _round(fleet: Path, airflow_home: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, __file__, "--measure"],
        env={**os.environ, "TENANTRY_TENANTS": str(fleet), "AIRFLOW_HOME": str(airflow_home)},
        preexec_fn=_pin_to_one_core if hasattr(os, "sched_setaffinity") else None,
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _pin_to_one_core() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


if __name__ == "__main__":
    main()
