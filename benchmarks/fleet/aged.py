"""Airflow's database after a year of daily runs, before and after housekeeping.

`python -m benchmarks.fleet.aged --instances 3000000` starts a Postgres of its own, lets Airflow
read a fleet of one use case per tenant, writes a year of history into its database (`INSERT …
SELECT generate_series`, with what a task really leaves behind), and asks the real scheduler,
without an executor, to make runs and queue tasks: on the fresh database, on the aged one, and once
housekeeping has been there. Prints the milliseconds of each of the scheduler's steps, the size of
the database, and what housekeeping took, the first time and for a day more. Nothing stays on disk.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

PROJECT = Path(__file__).resolve().parents[2]
DAYS: Final = 365
KEPT: Final = timedelta(days=90)
#: How often the fleet's DAGs changed in the year: each time every DAG has a new version.
VERSIONS: Final = 12
ROUNDS: Final = 10
TASKS: Final = 9  #: of a pipeline with one use case

_VERSIONS: Final = """
    WITH old AS (
        INSERT INTO dag_version (id, version_number, dag_id, bundle_name, created_at, last_updated)
        SELECT uuidv7(), -n, dag_id, bundle_name, now() - n * interval '30 days', now()
        FROM dag_version, generate_series(1, {versions}) n RETURNING id, dag_id
    ), code AS (
        INSERT INTO dag_code (id, dag_id, fileloc, created_at, last_updated, source_code,
            source_code_hash, dag_version_id)
        SELECT uuidv7(), o.dag_id, c.fileloc, c.created_at, now(), c.source_code,
            c.source_code_hash, o.id
        FROM old o JOIN dag_code c USING (dag_id)
    )
    INSERT INTO serialized_dag (id, dag_id, data, data_compressed, created_at, last_updated,
        dag_hash, dag_version_id)
    SELECT uuidv7(), o.dag_id, s.data, s.data_compressed, s.created_at, now(), s.dag_hash, o.id
    FROM old o JOIN serialized_dag s USING (dag_id)
"""
_RUNS: Final = """
    INSERT INTO dag_run (dag_id, queued_at, logical_date, start_date, end_date, state, run_id,
        run_type, triggered_by, conf, data_interval_start, data_interval_end, run_after,
        last_scheduling_decision, log_template_id, created_at, updated_at, clear_number,
        created_dag_version_id)
    SELECT dag_id, at, at - interval '1 day', at, at + interval '1 minute', 'success',
        'scheduled__' || at::text, 'scheduled', 'TIMETABLE', '{{}}', at - interval '1 day', at, at,
        at, (SELECT max(id) FROM log_template), at, at, 0,
        (SELECT v.id FROM dag_version v WHERE v.dag_id = dag.dag_id
         AND v.version_number = -least({versions}, greatest(1, n / 30)))
    FROM generate_series({days}, 2, -1) n, dag,
        LATERAL (SELECT date_trunc('day', now()) - n * interval '1 day' AS at) a
    WHERE dag_id LIKE '%.pipeline'
"""
_INSTANCES: Final = """
    INSERT INTO task_instance (id, task_id, dag_id, run_id, map_index, start_date, end_date,
        duration, state, try_number, max_tries, hostname, unixname, pool, pool_slots, queue,
        priority_weight, operator, queued_dttm, scheduled_dttm, last_heartbeat_at, pid, updated_at,
        context_carrier, task_display_name, dag_version_id)
    SELECT uuidv7(), task, r.dag_id, r.run_id, -1, r.start_date, r.end_date, 4.2, 'success', 1, 3,
        'worker', 'tenantry', 'default_pool', 1, 'default', 1, 'StageOperator', r.start_date,
        r.start_date, r.end_date, 4711, r.end_date, '{{}}', task, r.created_dag_version_id
    FROM dag_run r, unnest(%s::text[]) task WHERE r.state = 'success' ORDER BY r.id
"""
_LEFT_BEHIND: Final = (
    """
    INSERT INTO xcom (dag_run_id, task_id, map_index, key, dag_id, run_id, value, timestamp)
    SELECT r.id, t.task_id, -1, 'handoff', t.dag_id, t.run_id,
        jsonb_build_object('handoff', 'Scored', 'tenant', t.dag_id,
            'text', repeat(md5(t.run_id), 12)),
        t.end_date
    FROM dag_run r JOIN task_instance t USING (dag_id, run_id) WHERE r.state = 'success'
    """,
    """
    INSERT INTO rendered_task_instance_fields (dag_id, task_id, run_id, map_index, rendered_fields)
    SELECT dag_id, task_id, run_id, -1, '{}' FROM task_instance WHERE state = 'success'
    """,
    """
    INSERT INTO log (dttm, dag_id, task_id, map_index, event, logical_date, run_id, owner, extra,
        try_number)
    SELECT start_date, dag_id, task_id, -1, event, start_date - interval '1 day', run_id,
        'tenantry', '{"host_name": "worker"}', 1
    FROM task_instance, unnest(ARRAY['running', 'success']) event WHERE state = 'success'
    ORDER BY start_date
    """,
)
#: A watch per tenant that has waited for drift all the year.
_WATCHES: Final = (
    """
    INSERT INTO dag_run (dag_id, queued_at, start_date, state, run_id, run_type, triggered_by, conf,
        run_after, log_template_id, created_at, updated_at, clear_number, created_dag_version_id)
    SELECT v.dag_id, at, at, 'running', 'scheduled__watch', 'scheduled', 'TIMETABLE', '{}', at,
        (SELECT max(id) FROM log_template), at, at, 0, v.id
    FROM dag_version v, (SELECT now() - interval '300 days' AS at) a
    WHERE v.dag_id LIKE '%.drift_watch' AND v.version_number > 0
    AND NOT EXISTS (SELECT FROM dag_run r WHERE r.dag_id = v.dag_id)
    """,
    """
    INSERT INTO trigger (classpath, kwargs, created_date)
    SELECT 'include.pipeline.drift_sensor.DriftTrigger', dag_id, created_at FROM dag_run
    WHERE run_id = 'scheduled__watch'
    """,
    """
    INSERT INTO task_instance (id, task_id, dag_id, run_id, map_index, start_date, state,
        try_number, max_tries, pool, pool_slots, queue, priority_weight, operator, trigger_id,
        context_carrier, task_display_name, dag_version_id)
    SELECT uuidv7(), 'churn.drift', r.dag_id, r.run_id, -1, r.start_date, 'deferred', 1, 3,
        'default_pool', 1, 'default', 1, 'DriftSensor', t.id, '{}', 'drift',
        r.created_dag_version_id
    FROM dag_run r JOIN trigger t ON t.kwargs = r.dag_id WHERE r.run_id = 'scheduled__watch'
    """,
)
_COUNTED: Final = ("dag_run", "task_instance", "xcom", "log", "dag_version", "serialized_dag")


@dataclass(frozen=True)
class Database:
    """Airflow's, on a server of its own."""

    url: str
    dsn: str
    environment: dict[str, str]
    home: Path

    def sizes(self) -> dict[str, int]:
        """Bytes on the disk, in all and of the largest tables; rows of some."""
        import psycopg
        from psycopg import sql

        with psycopg.connect(self.dsn, autocommit=True) as connection:
            total = connection.execute("SELECT pg_database_size('airflow')").fetchone()
            rows = {
                f"rows of {table}": connection.execute(
                    sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table))
                ).fetchone()
                for table in _COUNTED
            }
        return {name: int(row[0]) for name, row in {"bytes": total, **rows}.items() if row}

    def execute(self, *statements: str, values: Sequence[object] | None = None) -> None:
        """As its owner's superior, without foreign keys: what is written here keeps them."""
        import psycopg

        options = "-c session_replication_role=replica -c synchronous_commit=off"
        options += " -c maintenance_work_mem=512MB"
        with psycopg.connect(self.dsn, autocommit=True, options=options) as connection:
            for statement in statements:
                connection.execute(statement, values)


def server_seconds(home: Path) -> float:
    """CPU time of a Postgres so far, with that of all its sessions."""
    import psutil

    from include.runtime import postgres
    from include.runtime.state import State

    server = postgres.postmaster(State(home))
    assert server is not None
    mine = server.cpu_times()
    seconds = mine.user + mine.system + mine.children_user + mine.children_system
    for child in server.children():
        try:
            times = child.cpu_times()
            seconds += times.user + times.system
        except psutil.Error:
            continue
    return float(seconds)


@contextmanager
def fleet_database(tenants: int) -> Iterator[Database]:
    """Airflow's database, as it is once it has read the fleet's DAGs."""
    from include.runtime import postgres
    from include.runtime.state import State

    with tempfile.TemporaryDirectory(prefix="tenantry-aged-") as scratch:
        state = State(Path(scratch) / "home")
        for folder in state.folders:
            folder.mkdir(parents=True, exist_ok=True)
        server = postgres.start(state)
        try:
            environment = {
                **os.environ,
                "AIRFLOW_HOME": f"{scratch}/airflow",
                "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": server.sqlalchemy_url("airflow", "airflow"),
                "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
                "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
                "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "1200",
                "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
                "AIRFLOW__SCHEDULER__CREATE_CRON_DATA_INTERVALS": "True",
                "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
                "TENANTRY_TENANTS": f"{scratch}/tenants",
                "TENANTRY_HOME": str(state.home),
            }
            write_tenants(Path(scratch) / "tenants", tenants)
            in_airflow("read", environment)
            url = environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]
            yield Database(url, server.dsn("airflow"), environment, state.home)
        finally:
            postgres.stop(state)


def write_tenants(folder: Path, tenants: int) -> None:
    """Files of tenants with one use case each."""
    from tests.fleet import tenant_id, tenant_yaml

    folder.mkdir(parents=True)
    for number in range(tenants):
        text = tenant_yaml(number).replace("  recommendation:\n", "")
        (folder / f"{tenant_id(number)}.yaml").write_text(text, encoding="utf-8")


def in_airflow(step: str, environment: dict[str, str]) -> Any:
    """Do a step in a process of its own, with Airflow set up as the environment says."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fleet.aged", "--step", step],
        env=environment,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr[-4000:])
    return json.loads(done.stdout.splitlines()[-1])


def read_dags() -> list[str]:
    """Make the schema, and let Airflow read the DAG files; returns the tasks of a pipeline."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.pool import Pool
    from airflow.utils.db import initdb

    initdb()
    DagBundlesManager().sync_bundles_to_db()
    bag = DagBag(dag_folder=PROJECT / "dags", bundle_name="dags-folder")
    sync_bag_to_db(bag, "dags-folder", None)
    for pool in ("default_pool", "training"):
        Pool.create_or_update_pool(pool, 100_000, "", False)
    return _pipeline_tasks(bag.dags)


def _pipeline_tasks(dags: Any) -> list[str]:
    return next(list(dag.task_ids) for name, dag in dags.items() if name.endswith(".pipeline"))


def scheduler_steps() -> dict[str, tuple[float, float]]:
    """The scheduler's steps: median milliseconds, and those of CPU, Postgres' and its own.

    Runs are made and tasks queued, ten runs a round, as the fleet's DAGs are due.
    """
    from airflow.executors.base_executor import BaseExecutor
    from airflow.jobs.job import Job
    from airflow.jobs.scheduler_job_runner import SchedulerJobRunner
    from airflow.utils.session import create_session

    class Idle(BaseExecutor):  # type: ignore[misc]
        """Takes everything, and runs nothing."""

        def sync(self) -> None:
            """Nothing to ask."""

        def _process_workloads(self, workloads: Any) -> None:
            self.queued_tasks.clear()

    with create_session() as session:
        job = Job()
        session.add(job)
        session.commit()
        session.expunge_all()
    runner = SchedulerJobRunner(job, executors=[Idle(parallelism=1_000_000)])
    job.executors = runner.executors

    def schedule() -> None:
        with create_session() as session:
            runner._do_scheduling(session)
            session.expunge_all()

    timed = {
        "make runs, queue tasks": schedule,
        "orphaned tasks": runner.adopt_or_reset_orphaned_tasks,
        "lost heartbeats": runner._find_and_purge_task_instances_without_heartbeats,
        "trigger timeouts": runner.check_trigger_timeouts,
        "awaited input": runner.check_awaiting_input_timeouts,
        "open backfills": runner._mark_backfills_complete,
        "paused DAGs": runner._update_dag_run_state_for_paused_dags,
        "stuck in queued": runner._handle_tasks_stuck_in_queued,
        "unused triggers": runner._remove_unreferenced_triggers,
        "pool metrics": runner._emit_pool_metrics,
    }
    schedule()  # what is done once in a process
    return {name: _milliseconds(step) for name, step in timed.items()}


def _milliseconds(step: Any) -> tuple[float, float]:
    seconds, home = [], Path(os.environ["TENANTRY_HOME"])
    spent = -time.process_time() - server_seconds(home)
    for _ in range(ROUNDS):
        began = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - began)
    spent += time.process_time() + server_seconds(home)
    return statistics.median(seconds) * 1000, spent * 1000 / ROUNDS


def age(database: Database, tasks: Sequence[str]) -> None:
    """Write the year: indices go first and come back last, which is several times faster."""
    import psycopg

    with psycopg.connect(database.dsn, autocommit=True) as connection:
        indices = connection.execute(
            """
            SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid)
            FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
            WHERE c.relname = ANY(%s) AND NOT i.indisunique
            """,
            [["task_instance", "xcom", "log"]],
        ).fetchall()
    database.execute(*(f"DROP INDEX {name}" for name, _ in indices))
    database.execute(
        _VERSIONS.format(versions=VERSIONS), _RUNS.format(versions=VERSIONS, days=DAYS)
    )
    database.execute(_INSTANCES.replace("{{}}", "{}"), values=[list(tasks)])
    database.execute(*_LEFT_BEHIND, *_WATCHES)
    database.execute(*(definition for _, definition in indices))
    database.execute("VACUUM ANALYZE")


def main() -> None:
    """Measure, and print a table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--instances", type=int, default=300_000, help="task instances")
    arguments.add_argument("--step", choices=("read", "schedule"), help=argparse.SUPPRESS)
    wanted = arguments.parse_args()
    sys.path.insert(0, str(PROJECT))
    if wanted.step:
        print(json.dumps(read_dags() if wanted.step == "read" else scheduler_steps()))
        return
    _measure(wanted.instances)


def _measure(instances: int) -> None:
    from include.runtime import metadata

    tenants = max(1, round(instances / (TASKS * (DAYS - 1))))
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if free < instances * 6_000:
        raise SystemExit(f"{instances:,} task instances need {instances * 6_000 / 1e9:.0f} GB free")
    with fleet_database(tenants) as database:
        tasks = in_airflow("read", database.environment)
        print(f"{tenants:,} tenants, {len(tasks)} tasks a run, {DAYS} days", flush=True)
        look("fresh", database)
        began = time.perf_counter()
        age(database, tasks)
        print(f"history written in {time.perf_counter() - began:.0f} s")
        look("aged", database)
        began = time.perf_counter()
        made = metadata.create_indices(database.dsn)
        print(f"indices: {len(made)} in {time.perf_counter() - began:.1f} s: {', '.join(made)}")
        before = datetime.now(UTC) - KEPT
        _told("a day of a year", database, datetime.now(UTC) - timedelta(days=DAYS - 1))
        _told("first time", database, before)
        database.execute("VACUUM ANALYZE")
        look("kept", database)
        _told("a day more", database, before + timedelta(days=1))
        database.execute("VACUUM FULL")
        print(f"packed: {database.sizes()['bytes'] / 1e6:,.0f} MB")


def look(state: str, database: Database) -> None:
    """Print how large the database is, and what the scheduler takes on it."""
    sizes = database.sizes()
    rows = ", ".join(f"{count:,} {name}" for name, count in sizes.items() if name != "bytes")
    print(f"{state}: {sizes['bytes'] / 1e6:,.0f} MB, {rows}")
    for name, (wall, processor) in in_airflow("schedule", database.environment).items():
        print(f"    {name:24}{wall:10.1f} ms {processor:10.1f} ms of CPU", flush=True)


def _told(what: str, database: Database, before: datetime) -> None:
    from include.runtime import metadata

    began, spent = time.perf_counter(), server_seconds(database.home)
    gone = metadata.forget(database.dsn, before)
    seconds = time.perf_counter() - began
    time.sleep(1)  # a session's time is its parent's once that has seen it end
    spent = server_seconds(database.home) - spent
    told = ", ".join(f"{count:,} of {table}" for table, count in gone.items() if count)
    print(f"housekeeping, {what}: {seconds:.1f} s, {spent:.1f} s of CPU: {told}", flush=True)


if __name__ == "__main__":
    main()
