"""Later repeats of a slice's events: the order in which slices are loaded must not matter."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, timedelta
from typing import Final, TypeAlias

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from include.handoffs import Interval
from include.ingestion.corrections import CorrectionRule
from include.ingestion.slices import Counted, Remaining, Slices
from include.ingestion.spool import duckdb_in, streamed, write_sorted
from include.storage.canonical import SCHEMAS
from include.storage.lake import Lake
from include.storage.scratch import scratch
from include.tenants.config import Source
from include.tenants.namespace import TenantRef

#: From canonical events with their positions to what is kept of them.
SetAsideRows: TypeAlias = Callable[[pa.Table], Counted]
_KEYS: Final = ["event_id", "created_timestamp"]
#: Rows whose id arrived in the interval: the first arrival stays.
_FOLLOWERS: Final = """
    CREATE TABLE repeats AS SELECT after.event_id, after.created_timestamp
    FROM after SEMI JOIN here USING (event_id)
"""
#: Which of them say something else.
_CHANGED: Final = """
    CREATE TABLE changed AS
    WITH told AS (
        SELECT *, {said} IS DISTINCT FROM first_value({said}) OVER (
            PARTITION BY event_id ORDER BY created_timestamp
        ) AS differs
        FROM own SEMI JOIN repeats USING (event_id) WHERE created_timestamp >= $1
    )
    SELECT * EXCLUDE (differs) FROM told SEMI JOIN repeats USING (event_id, created_timestamp)
    WHERE differs
"""
_SURVIVORS: Final = """
    SELECT * FROM within ANTI JOIN repeats USING (event_id, created_timestamp)
"""
_CHANGED_IN: Final = """
    SELECT *, 0::BIGINT AS position FROM changed
    WHERE created_timestamp >= $1 AND created_timestamp < $2 ORDER BY created_timestamp, event_id
"""
#: Of versions, rows that say what the one before them says.
_UNCHANGED: Final = """
    CREATE TABLE repeats AS
    WITH chain AS (
        SELECT event_id, created_timestamp, {said} AS said, lag({said}) OVER ids AS said_before,
            lag(created_timestamp) OVER ids AS known_before
        FROM own SEMI JOIN (SELECT DISTINCT event_id FROM after) USING (event_id)
        WINDOW ids AS (PARTITION BY event_id ORDER BY created_timestamp)
    )
    SELECT event_id, created_timestamp FROM chain WHERE created_timestamp >= $1
    AND known_before IS NOT NULL AND said IS NOT DISTINCT FROM said_before AND NOT ({hole})
"""


def drop_later_repeats(
    lake: Lake,
    slices: Slices,
    tenant: TenantRef,
    table: str,
    source: Source,
    interval: Interval,
    rule: CorrectionRule,
    set_aside: SetAsideRows,
) -> int:
    """Take rows that arrived after the interval out of the table where their id is in it.

    Such rows were first arrivals when they were loaded, and are repeats now that the interval is
    there; those that say something else are set aside. Where a reload of the interval lacks an id,
    its repeats do not come back: reload those, too. Of versions only those go that change nothing.
    A call that was killed at any instant and is made again ends the same.

    Args:
        set_aside: what the quarantine makes of changed rows.

    Returns:
        how many rows were taken out.
    """
    own = lake.dataset(tenant, table, source=source.name)
    created = ds.field("created_timestamp")
    after = own.filter(created >= interval.end)
    if not after.head(1, columns=["event_id"]).num_rows:
        return 0  # nothing was loaded out of order
    here = own.filter((created >= interval.start) & (created < interval.end))
    with scratch(tenant.id) as folder, duckdb_in(folder) as db:
        db.execute("SET timezone = 'UTC'")
        names = SCHEMAS[table].names
        db.register("after", streamed(after, _KEYS))
        if rule.chained:
            db.register("own", streamed(own, names))
            unchanged = _UNCHANGED.format(said=rule.said, hole=rule.hole)
            db.execute(unchanged, [interval.end])
        else:
            db.register("here", streamed(here, ["event_id"]))
            db.execute(_FOLLOWERS)
        first, last, count = db.execute(
            "SELECT min(created_timestamp), max(created_timestamp), count(*) FROM repeats"
        ).fetchall()[0]
        if not count:
            return 0
        span = Interval(first.astimezone(UTC), last.astimezone(UTC) + timedelta(microseconds=1))
        within = own.filter((created >= first) & (created <= last))
        schema = SCHEMAS[table]
        db.register("within", streamed(within, names))
        survivors = write_sorted(db, _SURVIVORS, folder, schema)
        db.register("own", streamed(own, names))
        # Of versions none is among them, and of facts neither: all that one id has say the same.
        db.execute(_CHANGED.format(said="0" if rule.chained else rule.said), [interval.start])
        # Counts first: they are of what will remain, so a second call comes to the same ones.
        _recount(db, own, slices, tenant, source, span, set_aside)
        lake.replace_slice(tenant, table, source.name, span, survivors.batches())
    return int(count)


def _recount(
    db: duckdb.DuckDBPyConnection,
    own: ds.Dataset,
    slices: Slices,
    tenant: TenantRef,
    source: Source,
    span: Interval,
    set_aside: SetAsideRows,
) -> None:
    """Count afresh what remains of the slices that lose rows."""
    event_time = "event_timestamp" if "event_timestamp" in own.schema.names else _KEYS[1]
    db.register("own", streamed(own, list(dict.fromkeys([*_KEYS, event_time]))))
    db.execute(
        f"CREATE TABLE remaining AS SELECT created_timestamp AS created, {event_time} AS happened "  # noqa: S608
        "FROM own ANTI JOIN repeats USING (event_id, created_timestamp)"
    )
    remaining = []
    for recorded in slices.recorded(tenant):
        start, end = recorded.interval.start, recorded.interval.end
        if recorded.source == source.name and end > span.start and start < span.end:
            rows, late = db.execute(
                "SELECT count(*), count(*) FILTER (happened < $1) FROM remaining "
                "WHERE created >= $1 AND created < $2",
                [start, end],
            ).fetchall()[0]
            changed: pa.Table = db.sql(_CHANGED_IN, params=[start, end]).to_arrow_table()
            aside = set_aside(changed) if changed.num_rows else Counted()
            remaining.append(Remaining(recorded.interval, rows, late, aside))
    slices.recount(tenant, source.name, remaining)
