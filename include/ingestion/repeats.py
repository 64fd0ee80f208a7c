"""Later repeats of a slice's events: the order in which slices are loaded must not matter."""

from __future__ import annotations

from datetime import UTC, timedelta
from typing import Final

import duckdb
import pyarrow.dataset as ds

from include.handoffs import Interval
from include.ingestion.slices import Remaining, Slices
from include.ingestion.spool import duckdb_in, streamed, write_sorted
from include.storage.canonical import SCHEMAS
from include.storage.lake import Lake
from include.storage.scratch import scratch
from include.tenants.namespace import TenantRef

_KEYS: Final = ["event_id", "created_timestamp"]


def drop_later_repeats(
    lake: Lake, slices: Slices, tenant: TenantRef, table: str, source: str, interval: Interval
) -> int:
    """Take rows that arrived after the interval out of the table where their id is in it.

    Such rows were first arrivals when they were loaded, and are repeats now that the interval is
    there. Where a reload of the interval lacks an id, its repeats do not come back: reload those,
    too. A call that was killed at any instant and is made again ends the same.

    Returns:
        how many rows were taken out.
    """
    own = lake.dataset(tenant, table, source=source)
    created = ds.field("created_timestamp")
    after = own.filter(created >= interval.end)
    if not after.head(1, columns=["event_id"]).num_rows:
        return 0  # nothing was loaded out of order
    here = own.filter((created >= interval.start) & (created < interval.end))
    with scratch(tenant.id) as folder, duckdb_in(folder) as db:
        db.execute("SET timezone = 'UTC'")
        db.register("here", streamed(here, ["event_id"]))
        db.register("after", streamed(after, _KEYS))
        db.execute(
            "CREATE TABLE repeats AS SELECT after.event_id, after.created_timestamp "
            "FROM after SEMI JOIN here USING (event_id)"
        )
        first, last, count = db.execute(
            "SELECT min(created_timestamp), max(created_timestamp), count(*) FROM repeats"
        ).fetchall()[0]
        if not count:
            return 0
        span = Interval(first.astimezone(UTC), last.astimezone(UTC) + timedelta(microseconds=1))
        within = own.filter((created >= first) & (created <= last))
        schema = SCHEMAS[table]
        db.register("within", streamed(within, schema.names))
        survivors = write_sorted(
            db, "SELECT * FROM within ANTI JOIN repeats USING (event_id)", folder, schema
        )
        # Counts first: they are of what will remain, so a second call comes to the same ones.
        _recount(db, own, slices, tenant, source, span)
        lake.replace_slice(tenant, table, source, span, survivors.batches())
    return int(count)


def _recount(
    db: duckdb.DuckDBPyConnection,
    own: ds.Dataset,
    slices: Slices,
    tenant: TenantRef,
    source: str,
    span: Interval,
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
        if recorded.source == source and end > span.start and start < span.end:
            rows, late = db.execute(
                "SELECT count(*), count(*) FILTER (happened < $1) FROM remaining "
                "WHERE created >= $1 AND created < $2",
                [start, end],
            ).fetchall()[0]
            remaining.append(Remaining(recorded.interval, rows, late))
    slices.recount(tenant, source, remaining)
