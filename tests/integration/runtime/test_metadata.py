"""Airflow's own database: what is over for long goes, and what the schedule needs stays."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.errors import ConfigError, UnavailableError
from include.runtime import housekeeping, metadata, postgres
from include.runtime.state import State

pytestmark = pytest.mark.integration
NOW = datetime(2026, 3, 1, tzinfo=UTC)
BEFORE = NOW - timedelta(days=90)
Connection = psycopg.Connection[tuple[object, ...]]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Airflow's database as this version of Airflow makes it, for SQLAlchemy."""
    state = State(tmp_path_factory.mktemp("home"))
    for folder in state.folders:
        folder.mkdir(parents=True, exist_ok=True)
    server = postgres.start(state)
    address = server.sqlalchemy_url("airflow", "airflow")
    environment = {
        **os.environ,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": address,
        "AIRFLOW_HOME": str(state.airflow),
    }
    make = "from airflow.utils.db import initdb; initdb()"
    subprocess.run([sys.executable, "-c", make], env=environment, check=True, capture_output=True)
    yield address
    postgres.stop(state)


@pytest.fixture(scope="module")
def dsn(url: str) -> str:
    """The same for libpq."""
    return housekeeping.libpq_url(url)


@pytest.fixture(scope="module")
def connection(dsn: str) -> Iterator[Connection]:
    """A look into it."""
    with psycopg.connect(dsn, autocommit=True) as opened:
        opened.execute("INSERT INTO dag_bundle (name) VALUES ('dags-folder')")
        yield opened


def clear(connection: Connection) -> None:
    """Nothing but an empty `dag_bundle`."""
    connection.execute("TRUNCATE dag, dag_version, dag_run, task_instance, log, job CASCADE")


def add_dag(connection: Connection, dag: str) -> None:
    """A DAG that nothing is known of yet."""
    connection.execute(
        "INSERT INTO dag (dag_id, is_paused, is_stale, bundle_name, max_active_tasks, "
        "max_consecutive_failed_dag_runs, has_task_concurrency_limits, timetable_type, "
        "partition_mapper_info) VALUES (%s, false, false, 'dags-folder', 4, 0, false, 'x', '{}')",
        [dag],
    )


def add_version(connection: Connection, dag: str, number: int, age: int) -> str:
    """A version of a DAG, with its code and its serialised form."""
    version, made = str(uuid4()), NOW - timedelta(days=age)
    connection.execute(
        "INSERT INTO dag_version (id, version_number, dag_id, created_at, last_updated) "
        "VALUES (%s, %s, %s, %s, %s)",
        [version, number, dag, made, made],
    )
    connection.execute(
        "INSERT INTO dag_code (id, dag_id, fileloc, created_at, last_updated, source_code, "
        "source_code_hash, dag_version_id) VALUES (%s, %s, 'x', now(), now(), '', '', %s)",
        [str(uuid4()), dag, version],
    )
    connection.execute(
        "INSERT INTO serialized_dag (id, dag_id, data, created_at, last_updated, dag_hash, "
        "dag_version_id) VALUES (%s, %s, '{}', now(), now(), '', %s)",
        [str(uuid4()), dag, version],
    )
    return version


def add_run(
    connection: Connection,
    dag: str,
    version: str,
    *,
    age: int,
    state: str = "success",
    kind: str = "scheduled",
    ended: int | None = None,
) -> int:
    """A run of some days ago with one task, and all that a task leaves behind."""
    after = NOW - timedelta(days=age)
    end = None if state == "running" else NOW - timedelta(days=age if ended is None else ended)
    name = f"{kind}__{uuid4()}"
    row = connection.execute(
        "INSERT INTO dag_run (dag_id, run_id, run_type, run_after, logical_date, start_date, "
        "end_date, state, clear_number, created_dag_version_id) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, 0, %s) RETURNING id",
        [dag, name, kind, after, after, after, end, state, version],
    ).fetchone()
    assert row is not None
    connection.execute(
        "INSERT INTO task_instance (id, task_id, dag_id, run_id, map_index, start_date, state, "
        "try_number, pool, pool_slots, dag_version_id) "
        "VALUES (%s, 't', %s, %s, -1, %s, %s, 1, 'default_pool', 1, %s)",
        [str(uuid4()), dag, name, after, state, version],
    )
    connection.execute(
        "INSERT INTO xcom (dag_run_id, task_id, map_index, key, dag_id, run_id, value, timestamp) "
        "VALUES (%s, 't', -1, 'handoff', %s, %s, '{}', %s)",
        [row[0], dag, name, after],
    )
    connection.execute(
        "INSERT INTO rendered_task_instance_fields (dag_id, task_id, run_id, rendered_fields) "
        "VALUES (%s, 't', %s, '{}')",
        [dag, name],
    )
    return int(str(row[0]))


def ids(connection: Connection, table: str, column: str = "id") -> set[object]:
    """A column of all rows that are left."""
    return {row[0] for row in connection.execute(f"SELECT {column} FROM {table}").fetchall()}


RUN = st.tuples(
    st.sampled_from(["a.pipeline", "b.pipeline"]),
    st.integers(0, 400),  # how long ago it began, days
    st.integers(0, 400),  # how long ago it ended
    st.sampled_from(["success", "failed", "running", "queued"]),
    st.sampled_from(["scheduled", "backfill", "manual"]),
)


@settings(max_examples=40, deadline=None)
@given(runs=st.lists(RUN, max_size=14, unique_by=lambda run: run[:2]))
def test_runs_go_that_are_over_for_long_but_for_the_newest(
    connection: Connection, dsn: str, runs: list[tuple[str, int, int, str, str]]
) -> None:
    """Of each DAG the newest stays, and the newest that the schedule made: it goes on from there.
    With a run goes all that its tasks left; nothing of other runs does."""
    clear(connection)
    versions = {}
    for dag in ("a.pipeline", "b.pipeline"):
        add_dag(connection, dag)
        versions[dag] = add_version(connection, dag, 1, 400)
    kept = set()
    for dag, age, ended, state, kind in runs:
        run = add_run(connection, dag, versions[dag], age=age, state=state, kind=kind, ended=ended)
        of_dag = [other for other in runs if other[0] == dag]
        automatic = [other[1] for other in of_dag if other[4] != "manual"]
        newest = age == min(other[1] for other in of_dag)
        goes_on = kind != "manual" and age == min(automatic)
        if newest or goes_on or state not in ("success", "failed") or ended <= 90:
            kept.add(run)
    gone = metadata.forget(dsn, BEFORE)
    assert gone["dag_run"] == len(runs) - len(kept)
    assert ids(connection, "dag_run") == kept
    assert ids(connection, "xcom", "dag_run_id") == kept
    for table in ("task_instance", "rendered_task_instance_fields"):
        assert len(ids(connection, table, "run_id")) == len(kept)
    assert metadata.forget(dsn, BEFORE)["dag_run"] == 0


def test_a_watch_that_has_waited_for_longer_than_runs_are_kept_waits_on(
    connection: Connection, dsn: str
) -> None:
    """Its run, task and trigger stay, however old; `airflow db clean` deletes the last two."""
    clear(connection)
    add_dag(connection, "a.drift_watch")
    version = add_version(connection, "a.drift_watch", 1, 300)
    run = add_run(connection, "a.drift_watch", version, age=300, state="running")
    connection.execute(
        "WITH t AS (INSERT INTO trigger (classpath, kwargs, created_date) "
        "VALUES ('x', '{}', %s) RETURNING id) "
        "UPDATE task_instance SET state = 'deferred', trigger_id = t.id FROM t",
        [NOW - timedelta(days=300)],
    )
    metadata.forget(dsn, BEFORE)
    assert ids(connection, "dag_run") == {run}
    assert len(ids(connection, "trigger")) == len(ids(connection, "task_instance")) == 1


def test_a_version_goes_once_no_run_is_of_it_and_takes_code_and_graph_along(
    connection: Connection, dsn: str
) -> None:
    """The newest stays, and what is younger than runs are kept; nothing else grows with changes."""
    clear(connection)
    add_dag(connection, "a.pipeline")
    unused, used, young, newest = (
        add_version(connection, "a.pipeline", number, age)
        for number, age in ((1, 300), (2, 200), (3, 10), (4, 9))
    )
    add_run(connection, "a.pipeline", unused, age=300)
    add_run(connection, "a.pipeline", used, age=20)
    assert metadata.forget(dsn, BEFORE)["dag_version"] == 1
    for table, column in (
        ("dag_version", "id"),
        ("dag_code", "dag_version_id"),
        ("serialized_dag", "dag_version_id"),
    ):
        assert {str(version) for version in ids(connection, table, column)} == {used, young, newest}


def test_more_than_a_batch_goes_in_batches(
    connection: Connection, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is a transaction of its own: what was deleted before a kill stays deleted."""
    clear(connection)
    at = NOW - timedelta(days=100)
    connection.execute(
        "INSERT INTO log (dttm, event) SELECT %s, 'running' FROM generate_series(1, 25000)", [at]
    )
    connection.execute("INSERT INTO log (dttm, event) VALUES (%s, 'success')", [NOW])
    sizes = []
    waits: list[float] = []

    def look(seconds: float) -> None:
        waits.append(seconds)
        sizes.append(len(ids(connection, "log")))

    clock = SimpleNamespace(monotonic=time.monotonic, sleep=look)  # other threads keep theirs
    monkeypatch.setattr(metadata, "time", clock)
    assert metadata.forget(dsn, BEFORE)["log"] == 25_000
    assert sizes == [15_001, 5_001]
    assert all(seconds > 0 for seconds in waits)
    assert ids(connection, "log", "event") == {"success"}


def test_every_foreign_key_that_deleting_follows_has_an_index(
    connection: Connection, dsn: str
) -> None:
    """What Airflow has none for gets one of ours; again nothing happens, and what a killed attempt
    left invalid is made anew."""
    made = metadata.create_indices(dsn)
    assert "tenantry_backfill_dag_run_dag_run_id" in made
    assert metadata.create_indices(dsn) == []
    with psycopg.connect(dsn.replace("airflow@", "postgres@"), autocommit=True) as superuser:
        superuser.execute(
            "UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass",
            ["tenantry_backfill_dag_run_dag_run_id"],
        )
    assert metadata.create_indices(dsn) == ["tenantry_backfill_dag_run_dag_run_id"]
    valid = connection.execute(
        "SELECT bool_and(i.indisvalid) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid "
        "WHERE starts_with(c.relname, 'tenantry_')"
    ).fetchone()
    assert valid == (True,)


def test_what_a_run_leaves_is_deleted_without_reading_whole_tables(
    connection: Connection, dsn: str
) -> None:
    """Postgres has a way by an index from every row that goes to every row that goes along."""
    metadata.create_indices(dsn)
    unindexed = connection.execute(metadata._UNINDEXED, [list(metadata._LEFT)]).fetchall()
    assert unindexed == []


def test_an_environment_without_a_database_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name of the variable; a database that does not answer, by what to look at."""
    with pytest.raises(ConfigError, match="AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"):
        housekeeping.keep_house({}, NOW)
    nowhere = {
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": "postgresql+psycopg2://x:secret@127.0.0.1:1/y"
    }
    with pytest.raises(UnavailableError, match="does not answer") as told:
        housekeeping.keep_house(nowhere, NOW)
    assert "secret" not in str(told.value)


def test_results_of_celery_go_by_their_own_date(connection: Connection, url: str, dsn: str) -> None:
    """In the database that Celery's setting names, written as Celery writes it."""
    clear(connection)
    connection.execute("CREATE TABLE celery_taskmeta (id int PRIMARY KEY, date_done timestamp)")
    try:
        for number, age in enumerate((100, 10)):
            connection.execute(
                "INSERT INTO celery_taskmeta VALUES (%s, %s)", [number, NOW - timedelta(days=age)]
            )
        environment = {
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url,
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{url}",
        }
        assert housekeeping.keep_house(environment, NOW)["celery_taskmeta"] == 1
        assert metadata.create_indices(dsn) == []
        assert ids(connection, "celery_taskmeta") == {1}
    finally:
        connection.execute("DROP TABLE celery_taskmeta")


def test_a_component_is_healthy_while_rounds_succeed(tmp_path: Path) -> None:
    """One round may fail; after two, or before the first, something is wrong."""
    stamp = tmp_path / "housekept"
    assert not housekeeping.is_healthy(stamp, 0.0)
    stamp.touch()
    at = stamp.stat().st_mtime
    assert housekeeping.is_healthy(stamp, at + 3700)
    assert not housekeeping.is_healthy(stamp, at + 7300)
