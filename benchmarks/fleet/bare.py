"""The limit: Tenantry's stages in a plain loop, one process per core, and no Airflow.

Every process has all libraries imported before the clock starts. A week of the whole fleet is over
before the next begins, as in life; retrains that drift asks for are done at once.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from benchmarks.fleet import causes, fleet, meters
from benchmarks.fleet.figures import Figures
from include.runtime import control, postgres
from include.runtime.state import locate

_FORK: Final = multiprocessing.get_context("fork")


@dataclass
class Spent:
    """CPU seconds of one tenant's interval."""

    stages: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    failed: str = ""

    def add(self, other: Spent) -> None:
        """Count another one's, too."""
        self.stages.update(other.stages)
        self.causes.update(other.causes)


def run(plan: fleet.FleetPlan, home: Path) -> Figures:
    """Load the history, train the global models, then run the intervals after the cut."""
    folder = home / "tenants"
    os.environ |= {"TENANTRY_HOME": str(home), "TENANTRY_TENANTS": str(folder)}
    here, _, _ = control.activate()
    server = postgres.start(here)
    try:
        _in_child(_prepare, plan, folder)
        return _measure(plan, server)
    finally:
        postgres.stop(here)


def _measure(plan: fleet.FleetPlan, server: postgres.Postgres) -> Figures:
    from include.runtime.preload import preload
    from include.tenants.loader import load_fleet

    preload()
    here, known = locate(), frozenset(fleet.USE_CASES)
    tenants = sorted(load_fleet(here.home / "tenants", known).tenants)

    def look() -> meters.Processes:
        servers = meters.tree(getattr(postgres.postmaster(here), "pid", None))
        return {
            "loop": [p for p in meters.tree(os.getpid()) if p not in servers],
            "Postgres": servers,
        }

    began = time.monotonic()
    total, failures = Spent(), []
    with ProcessPoolExecutor(os.cpu_count(), _FORK, _begin) as pool:
        _all(pool, _load, [(tenant, plan.cut) for tenant in tenants])
        _all(pool, _train_global, [(case, plan.cut) for case in plan.cases])
        left_before = meters.bytes_left(here, server)
        cut, cpu = time.monotonic(), meters.cpu_seconds(look()["Postgres"])
        with meters.MemoryWatch(look) as memory:
            for start in plan.starts:
                done = _all(pool, _pipeline, [(tenant, start + plan.step) for tenant in tenants])
                for spent in done:
                    total.add(spent)
                failures += [spent.failed for spent in done if spent.failed]
                print(f"{start:%Y-%m-%d}: {len(done)} pipelines", file=sys.stderr, flush=True)
        ended = time.monotonic()
        cpu = meters.cpu_seconds(look()["Postgres"]) - cpu
    for failure in failures[:5]:
        print(f"failed: {failure}", file=sys.stderr)
    return Figures(
        side="bare",
        tenants=len(tenants),
        use_cases=plan.use_cases,
        pipelines=len(tenants) * len(plan.starts),
        failed=len(failures),
        wall_seconds=ended - cut,
        before_seconds=cut - began,
        cpu_seconds={"stages": total.stages.total(), "Postgres": cpu},
        stage_seconds=dict(total.stages),
        cause_seconds=dict(total.causes),
        peak_bytes=memory.peak,
        left_before=left_before,
        left=meters.bytes_left(here, server),
    )


def _all(pool: ProcessPoolExecutor, work: Callable[..., Any], jobs: Sequence[Any]) -> list[Any]:
    return list(pool.map(work, *zip(*jobs, strict=True)))


def _in_child(work: Callable[..., None], *arguments: Any) -> None:
    """In a process of its own: what used Arrow or a database must not be forked from."""
    with ProcessPoolExecutor(1, _FORK) as pool:
        pool.submit(work, *arguments).result()


def _begin() -> None:
    logging.disable(logging.INFO)
    causes.start()


def _prepare(plan: fleet.FleetPlan, folder: Path) -> None:
    from include import use_cases
    from include.registry import mlflow_registry
    from include.storage.migrate import migrate_all
    from include.tenants.loader import load_fleet

    fleet.write(plan, folder)
    mlflow_registry.prepare(os.environ["MLFLOW_TRACKING_URI"])
    migrate_all(one.ref for one in load_fleet(folder, use_cases.names()).tenants.values())


def _load(tenant: str, as_of: datetime) -> None:
    from include.pipeline import steps
    from include.pipeline.runs import open_pipeline
    from include.pipeline.stages import TENANT_STAGES

    received: dict[str, Any] = {}
    share = open_pipeline(tenant, "", start=None, end=as_of, connect=_connect())
    for stage in TENANT_STAGES:
        received[stage.name] = steps.execute(stage, share, received)


def _train_global(use_case: str, as_of: datetime) -> None:
    from include import use_cases
    from include.pipeline import in_process
    from include.tenants.loader import load_fleet, tenants_folder
    from include.tenants.pooling import shared_use_cases

    tenants = load_fleet(tenants_folder(), use_cases.names()).tenants.values()
    owners = shared_use_cases(tenants).get(use_case, ())
    in_process.run_global(use_case, owners, as_of, now=as_of, connect=_connect())


def _pipeline(tenant: str, as_of: datetime) -> Spent:
    """One interval, and the retrains that it asks for."""
    from include import use_cases, wiring
    from include.errors import TenantryError
    from include.pipeline import in_process
    from include.tenants.loader import find_tenant, tenants_folder

    config = find_tenant(tenants_folder(), tenant, use_cases.names())
    clock = [time.process_time()]
    sampled = [causes.take()]

    def note(_: str) -> None:
        clock.append(time.process_time())
        sampled.append(causes.take())

    spent = Spent()
    try:
        rows = in_process.run(config, as_of, None, _connect(), note)
        names = [row["stage"] for row in rows]
        for asked in wiring.stores().retrains.open_requests(config.ref):
            _retrain(tenant, asked.use_case, asked.as_of)
            note("")
            names.append("retrain")
    except TenantryError as error:
        return Spent(failed=f"{tenant} at {as_of}: {error}")
    for name, (earlier, later), places in zip(names, pairwise(clock), sampled[1:], strict=True):
        spent.stages[name] += later - earlier  # type: ignore[assignment]
        for (cause, place), seconds in places.items():
            spent.causes[f"{name} | {cause} | {place}"] += seconds
    return spent


def _retrain(tenant: str, use_case: str, as_of: datetime) -> None:
    """The stages of `{tenant}.retrain`."""
    from include.pipeline import runs, steps
    from include.pipeline.stages import RETRAIN_STAGES

    received: dict[str, Any] = {}
    for stage in RETRAIN_STAGES:
        share = runs.open_retrain(
            tenant,
            use_case,
            as_of=as_of,
            trigger="drift",
            run_id=f"drift__{use_case}__{as_of.isoformat()}",
            begun=bool(received),
            connect=_connect(),
        )
        received[stage.name] = steps.execute(stage, share, received)


def _connect() -> Any:
    from include import wiring

    return wiring.connect_from_environment
