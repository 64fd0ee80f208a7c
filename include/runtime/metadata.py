"""What Airflow keeps in its database, and forgets only where somebody asks: SQL of our own.

`airflow db clean` goes by when a row began, whatever became of it: it would end a `drift_watch`
that has waited for longer than runs are kept, by deleting its trigger. Here a run goes once it has
been over for so long, with all that hangs on it; a DAG's newest stays, as the schedule goes on
from there. Every batch is a transaction of its own, so that nobody waits for long, and being
killed costs nothing but the batch.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import psycopg
from psycopg import sql

from include.errors import UnavailableError


@dataclass(frozen=True)
class Forgotten:
    """Rows of a table that go once they are too old, a batch at a time."""

    table: str
    key: str  #: its primary key
    doomed: str  #: SQL about `t`: which rows; `%(before)s` is the oldest instant that is kept
    batch: int  #: rows
    celery: bool = False  #: of the database of Celery's results, not of Airflow's


#: Runs come before versions of DAGs, which task instances hold fast. Foreign keys take along task
#: instances with their history, XCom, rendered fields, reschedules and notes, and deadlines; with a
#: version go its code and the serialised DAG.
FORGOTTEN: Final = (
    Forgotten(
        "dag_run",
        "id",
        """
        t.state IN ('success', 'failed') AND t.end_date < %(before)s
        AND EXISTS (SELECT FROM dag_run later
            WHERE later.dag_id = t.dag_id AND later.run_after > t.run_after)
        AND (t.run_type NOT IN ('scheduled', 'backfill') OR EXISTS (SELECT FROM dag_run later
            WHERE later.dag_id = t.dag_id AND later.run_type IN ('scheduled', 'backfill')
            AND later.logical_date > t.logical_date))
        """,
        batch=200,
    ),
    Forgotten(
        "dag_version",
        "id",
        """
        t.created_at < %(before)s
        AND EXISTS (SELECT FROM dag_version later
            WHERE later.dag_id = t.dag_id AND later.version_number > t.version_number)
        AND NOT EXISTS (SELECT FROM task_instance WHERE dag_version_id = t.id)
        AND NOT EXISTS (SELECT FROM dag_run WHERE created_dag_version_id = t.id)
        """,
        batch=200,
    ),
    Forgotten(
        "callback",
        "id",
        """
        t.created_at < %(before)s AND t.state IN ('success', 'failed')
        AND NOT EXISTS (SELECT FROM deadline WHERE callback_id = t.id)
        """,
        batch=1_000,
    ),
    Forgotten("log", "id", "t.dttm < %(before)s", batch=10_000),
    Forgotten("job", "id", "t.latest_heartbeat < %(before)s", batch=1_000),
    Forgotten("session", "id", "t.expiry < now() AT TIME ZONE 'UTC'", batch=1_000),
    Forgotten("revoked_token", "jti", "t.exp < now()", batch=1_000),
    Forgotten("celery_taskmeta", "id", "t.date_done < %(before)s", batch=10_000, celery=True),
)

#: Foreign keys that point at rows which go, and that Postgres would look for in the whole table.
_UNINDEXED: Final = """
    SELECT child.relname, array_agg(att.attname::text ORDER BY k.place)
    FROM pg_constraint con
    JOIN pg_class child ON child.oid = con.conrelid
    JOIN pg_class parent ON parent.oid = con.confrelid
    CROSS JOIN unnest(con.conkey) WITH ORDINALITY k(number, place)
    JOIN pg_attribute att ON att.attrelid = con.conrelid AND att.attnum = k.number
    WHERE con.contype = 'f' AND parent.relname = ANY(%s)
    AND con.connamespace = current_schema()::regnamespace
    AND NOT EXISTS (
        SELECT FROM pg_index i WHERE i.indrelid = con.conrelid AND i.indisvalid
        AND (i.indkey::int2[])[0:cardinality(con.conkey) - 1] @> con.conkey
    )
    GROUP BY con.oid, child.relname ORDER BY 1, 2
"""
#: Tables whose rows go, by themselves or along a foreign key.
_LEFT: Final = (
    *(rows.table for rows in FORGOTTEN),
    *("task_instance", "task_instance_history", "serialized_dag", "deadline", "deadline_alert"),
    "trigger",  # Airflow deletes those by itself
)
_PREFIX: Final = "tenantry_"  #: so that no migration of Airflow's meets a name of its own
_INVALID: Final = """
    SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
    WHERE NOT i.indisvalid AND starts_with(c.relname, %s)
"""


def create_indices(dsn: str) -> list[str]:
    """Make the indices that deleting needs and Airflow has not; their names.

    Nobody who writes has to wait for it. What a killed attempt left is made anew; where they are
    all there, nothing is done.
    """
    made = []
    with _connected(dsn) as connection:
        for (name,) in connection.execute(_INVALID, [_PREFIX]).fetchall():
            connection.execute(
                sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(sql.Identifier(name))
            )
        for table, columns in connection.execute(_UNINDEXED, [list(_LEFT)]).fetchall():
            name = "_".join((_PREFIX + table, *columns))[:63]
            connection.execute(
                sql.SQL("CREATE INDEX CONCURRENTLY IF NOT EXISTS {} ON {} ({})").format(
                    sql.Identifier(name),
                    sql.Identifier(table),
                    sql.SQL(", ").join(map(sql.Identifier, columns)),
                )
            )
            made.append(name)
    return made


def forget(dsn: str, before: datetime, *, celery: bool = False) -> dict[str, int]:
    """Delete what is older, and return how many rows went of each table.

    After each batch it rests for as long as that took: half of Postgres is for the others.

    Args:
        celery: the database is that of Celery's results.
    """
    gone = {}
    with _connected(dsn) as connection:
        for rows in FORGOTTEN:
            there = connection.execute("SELECT to_regclass(%s)", [rows.table]).fetchone()
            if rows.celery == celery and there is not None and there[0] is not None:
                gone[rows.table] = _forget(connection, rows, before)
    return gone


def _forget(connection: psycopg.Connection, rows: Forgotten, before: datetime) -> int:
    table, key = sql.Identifier(rows.table), sql.Identifier(rows.key)
    delete = sql.SQL(
        "DELETE FROM {table} WHERE {key} IN (SELECT t.{key} FROM {table} t WHERE {doomed} "
        "LIMIT {batch} FOR UPDATE SKIP LOCKED)"
    ).format(table=table, key=key, doomed=sql.SQL(rows.doomed), batch=sql.Literal(rows.batch))
    gone = 0
    while True:
        began = time.monotonic()
        count = connection.execute(delete, {"before": before}).rowcount
        gone += count
        if count < rows.batch:
            return gone
        time.sleep(time.monotonic() - began)


def _connected(dsn: str) -> psycopg.Connection:
    try:
        return psycopg.connect(
            dsn, autocommit=True, connect_timeout=10, options="-c lock_timeout=10s"
        )
    except psycopg.OperationalError as error:
        reason = str(error).strip().splitlines()[-1]
        raise UnavailableError(
            f"Airflow's database does not answer ({reason}); is it up (`make up`), and does "
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN point at it?"
        ) from error
