"""The demo: tenants, a load of their history, a cut, then week after week, all through Airflow.

Seven stores of a grocery chain are the usual tenants; the other story is told by simulated tenants
that together have every template. A second run finds the work done and only shows it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from include import use_cases, wiring
from include.errors import TenantryError
from include.pipeline.report import fleet_status
from include.runtime import control
from include.runtime.airflow_api import OVER, AirflowApi
from include.runtime.logins import airflow_password, describe
from include.runtime.progress import reporter
from include.runtime.tables import print_table
from include.tenants.loader import Fleet, load_fleet, tenants_folder
from include.tenants.namespace import dag_id, global_dag_id
from include.tenants.pooling import shared_use_cases

WEEK: Final = timedelta(days=7)
_PATIENCE: Final = 1_800.0  #: seconds for one phase before the demo gives up


@dataclass(frozen=True)
class Story:
    """What a demo plays."""

    cut: datetime  #: everything before is history; the weeks after it are backfilled one by one
    weeks: int
    prepare: Callable[[], None]  #: makes the outside world: databases and files of the tenants
    ask: str  #: a command that shows what there is to see


def run_demo(console: Console, story: Story) -> None:
    """Start everything, onboard the tenants, run their weeks, print what came out."""
    began = time.monotonic()
    control.up(reporter(console))
    fleet = load_fleet(tenants_folder(), use_cases.names())
    status = control.status()
    api = AirflowApi(status.airflow_url, status.user, airflow_password(status))
    _say(console, *describe(status, console.file))

    step = reporter(console)
    _timed(step, "Onboarding the tenants", lambda: _onboard(fleet, api, story))
    _phase(console, api, "Loading the history", _load(fleet, api, story))
    _phase(console, api, "Training the global models", _train_global(fleet, api, story))
    _phase(console, api, f"Backfilling {story.weeks} weeks", _backfill(fleet, api, story))
    _phase(console, api, "Retraining after drift", _retrains(fleet, api))
    show(console, fleet, status.airflow_url)
    console.print(
        f"Done in {time.monotonic() - began:.0f} s. Next: {story.ask}", markup=False, soft_wrap=True
    )
    _say(console, *describe(status, console.file))
    console.print("`make down` stops it all; `make clean` forgets it.")


def _say(console: Console, *lines: str) -> None:
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def show(console: Console, fleet: Fleet, airflow_url: str) -> None:
    """The closing table: what serves each tenant, how well, and what happened on the way."""
    rows = fleet_status(fleet, wiring.stores(), airflow_url)
    print_table(console, rows, title="What serves each tenant")


def _shared_use_cases(fleet: Fleet) -> list[str]:
    """Those that have a global model: some tenant has them, and consented to pooling."""
    return list(shared_use_cases(fleet.tenants.values()))


def _onboard(fleet: Fleet, api: AirflowApi, story: Story) -> None:
    """Prepare the outside world of the demo, the tenants' databases, and wait for their DAGs."""
    story.prepare()
    for tenant in fleet.tenants.values():
        wiring.provision(tenant.ref)
    wanted = {dag_id(t, "pipeline") for t in fleet.tenants} | {
        global_dag_id(name) for name in _shared_use_cases(fleet)
    }
    deadline = time.monotonic() + _PATIENCE
    while missing := wanted - api.dag_ids():
        if time.monotonic() > deadline:
            raise TenantryError(f"Airflow does not know these DAGs: {', '.join(sorted(missing))}")
        time.sleep(1)


def _load(fleet: Fleet, api: AirflowApi, story: Story) -> set[tuple[str, str]]:
    """The week before the cut; as a tenant's first run it brings the whole history along."""
    before = story.cut - WEEK
    return _backfills(fleet, api, before, before, {"use_cases": []})


def _train_global(fleet: Fleet, api: AirflowApi, story: Story) -> set[tuple[str, str]]:
    run = f"demo__{story.cut:%Y-%m-%d}"
    runs = {(global_dag_id(name), run) for name in _shared_use_cases(fleet)}
    for dag, _ in runs:
        api.trigger(dag, run, {"as_of": story.cut.isoformat()})
    return runs


def _backfill(fleet: Fleet, api: AirflowApi, story: Story) -> set[tuple[str, str]]:
    return _backfills(fleet, api, story.cut, story.cut + (story.weeks - 1) * WEEK, {})


def _backfills(
    fleet: Fleet, api: AirflowApi, first: datetime, last: datetime, conf: dict[str, object]
) -> set[tuple[str, str]]:
    """Airflow's own backfill per tenant, where runs are missing; the ids of all its runs."""
    wanted = {first + n * WEEK for n in range((last - first) // WEEK + 1)}
    runs = set()
    for tenant in fleet.tenants:
        dag = dag_id(tenant, "pipeline")
        if wanted - set(_by_date(api, dag)):
            api.backfill(dag, first, last, conf)
        runs |= {(dag, run) for date, run in _by_date(api, dag).items() if date in wanted}
    return runs


def _by_date(api: AirflowApi, dag: str) -> dict[datetime, str]:
    return {
        datetime.fromisoformat(run["logical_date"]): run["dag_run_id"]
        for run in api.runs(dag)
        if run["logical_date"]
    }


def _retrains(fleet: Fleet, api: AirflowApi) -> set[tuple[str, str]]:
    """Retrain runs that the drift sensors have triggered, once every request has its run."""
    deadline = time.monotonic() + _PATIENCE
    while _open_requests(fleet):
        if time.monotonic() > deadline:
            raise TenantryError("a retrain request was not taken up; look at the drift_watch DAGs")
        time.sleep(1)
    return {
        (dag_id(tenant, "retrain"), run["dag_run_id"])
        for tenant in fleet.tenants
        for run in api.runs(dag_id(tenant, "retrain"))
    }


def _open_requests(fleet: Fleet) -> bool:
    from include import wiring

    retrains = wiring.stores().retrains
    return any(retrains.open_requests(tenant.ref) for tenant in fleet.tenants.values())


def _phase(console: Console, api: AirflowApi, title: str, runs: Iterable[tuple[str, str]]) -> None:
    """Follow the runs until they are over; a failed one stops the demo with its tasks' names."""
    wanted = set(runs)
    bar = Progress(
        TextColumn("{task.description:32}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("runs"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
    )
    began = last = time.monotonic()
    with bar:
        task = bar.add_task(title, total=len(wanted))
        while True:
            states = {
                (run["dag_id"], run["dag_run_id"]): run["state"]
                for run in api.runs()
                if (run["dag_id"], run["dag_run_id"]) in wanted
            }
            done = sum(state in OVER for state in states.values())
            bar.update(task, completed=done)
            if done == len(wanted):
                break
            if time.monotonic() - began > _PATIENCE:
                raise TenantryError(
                    f"{title}: {dict(Counter(states.values()))} after {_PATIENCE} s"
                )
            if not console.is_terminal and time.monotonic() - last > 15:
                last = time.monotonic()
                print(f"{title}: {done} of {len(wanted)} runs done", flush=True)
            time.sleep(1)
    if not console.is_terminal:
        print(f"{title}: {len(wanted)} runs done in {time.monotonic() - began:.0f} s", flush=True)
    failed = sorted(run for run, state in states.items() if state == "failed")
    if failed:
        tasks = "; ".join(f"{d} {r}: {', '.join(api.failed_tasks(d, r))}" for d, r in failed)
        raise TenantryError(f"{title}: runs failed: {tasks}. Their logs are in the Airflow UI.")


def _timed(step: control.Progress, name: str, work: Callable[[], None]) -> None:
    began = time.monotonic()
    step(name, None)
    work()
    step(name, time.monotonic() - began)
