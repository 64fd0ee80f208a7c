"""The ingestion stage: what arrived in the interval, from every source to the landing tables."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from include.errors import SourceError
from include.handoffs import Ingested, Interval, TableVersion
from include.ingestion.databases import Connect, read_postgres
from include.ingestion.files import read_files
from include.ingestion.mapping import columns_read, constant_arrival, map_rows
from include.ingestion.quarantine import Quarantine
from include.ingestion.repeats import drop_later_repeats
from include.ingestion.spool import SliceSpool
from include.ingestion.text_files import UNPARSED
from include.storage.canonical import SCHEMAS, TIMESTAMP
from include.storage.lake import Lake
from include.storage.postgres import tenant_transaction
from include.tenants.config import PostgresConnector, Source, TenantConfig

log = logging.getLogger(__name__)

_RECORD: Final = """
    INSERT INTO slices (tenant_id, source, interval_start, interval_end, rows, late, duplicates,
                        quarantined, undated, table_version)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (tenant_id, source, interval_start, interval_end) DO UPDATE SET
        rows = excluded.rows, late = excluded.late, duplicates = excluded.duplicates,
        quarantined = excluded.quarantined, undated = excluded.undated,
        table_version = excluded.table_version, recorded_at = now()
"""


@dataclass(frozen=True)
class Slice:
    """What one source gave for one interval."""

    version: TableVersion
    rows: int
    late: int
    duplicates: int
    quarantined: int


def ingest(tenant: TenantConfig, interval: Interval, *, lake: Lake, connect: Connect) -> Ingested:
    """Read every source's slice of the interval into `landing_events` or `landing_attributes`.

    A slice is what arrived (`created_timestamp`) in the interval. The first time a source is read
    its history comes along, from `history_from` to the interval, as a slice of its own. Running the
    same interval again gives the same rows, and then not even a new table version.

    Raises:
        SourceError: a source cannot be reached or lacks a column; names it and says what to do.
    """
    done: list[Slice] = []
    read_before = _read_before(tenant, interval)
    for source in tenant.sources:
        for part in _due(tenant, source, interval, read_before):
            try:
                done.append(_ingest_slice(tenant, source, part, lake, connect))
            except SourceError as error:
                raise SourceError(
                    f"tenant {tenant.id}, source {source.name}, {part.start:%Y-%m-%d %H:%M} to "
                    f"{part.end:%Y-%m-%d %H:%M}: {error}"
                ) from error
    return Ingested(
        tenant=tenant.id,
        interval=interval,
        events=lake.version(tenant.ref, "landing_events"),
        attributes=lake.version(tenant.ref, "landing_attributes"),
        rows=sum(one.rows for one in done),
        duplicates=sum(one.duplicates for one in done),
        quarantined=sum(one.quarantined for one in done),
        late=sum(one.late for one in done),
    )


def _read_before(tenant: TenantConfig, interval: Interval) -> set[str]:
    """Sources that a slice before the interval, or one from the beginning on, was read of.

    Not counting the history that came along with this very interval: a rerun does all of the first
    run again, whether that one was killed half-way or not.
    """
    with tenant_transaction(tenant.ref) as connection:
        found = connection.execute(
            "SELECT DISTINCT source FROM slices WHERE tenant_id = %(tenant)s "
            "AND (interval_end <= %(start)s OR interval_start <= %(first)s) "
            "AND NOT (interval_start = %(first)s AND interval_end = %(start)s)",
            {"tenant": tenant.id, "start": interval.start, "first": tenant.history_start},
        ).fetchall()
    return {row["source"] for row in found}


def _due(
    tenant: TenantConfig, source: Source, interval: Interval, read_before: set[str]
) -> list[Interval]:
    """The interval, after the history before it where none of that was ever read."""
    if source.name in read_before or tenant.history_start >= interval.start:
        return [interval]
    return [Interval(tenant.history_start, interval.start), interval]


def _ingest_slice(
    tenant: TenantConfig, source: Source, interval: Interval, lake: Lake, connect: Connect
) -> Slice:
    table = "landing_events" if source.events else "landing_attributes"
    quarantine = Quarantine(frozenset(tenant.pii_columns))
    with SliceSpool(SCHEMAS[table]) as spool:
        for rows in _read(tenant, source, interval, lake, connect):
            if UNPARSED in rows.column_names:
                quarantine.add(rows)
                continue
            mapped = map_rows(rows, tenant, source)
            spool.add(mapped.accepted.filter(_arrived(mapped.accepted, interval)))
            quarantine.add(mapped.rejected.filter(_arrived(mapped.rejected, interval)))
        once = spool.sorted_once(_earlier(tenant, source, table, interval, lake))
        kept = once.rows
        late = once.count(ds.field("event_timestamp") < interval.start) if source.events else 0
        version = lake.replace_slice(tenant.ref, table, source.name, interval, once.batches())
    if drop_later_repeats(lake, tenant.ref, table, source.name, interval):
        version = lake.version(tenant.ref, table)
    with tenant_transaction(tenant.ref) as connection:
        quarantined, undated = quarantine.store(connection, tenant.ref, source.name, interval)
        found = Slice(version, kept, late, spool.rows - kept, quarantined)
        connection.execute(
            _RECORD,
            [
                *(tenant.id, source.name, interval.start, interval.end),
                *(found.rows, found.late, found.duplicates, found.quarantined, undated),
                version.version,
            ],
        )
    log.info(
        "ingestion: %s/%s [%s, %s): %d rows, %d late, %d duplicates, %d quarantined",
        *(tenant.id, source.name, interval.start, interval.end),
        *(found.rows, found.late, found.duplicates, found.quarantined),
    )
    return found


def _read(
    tenant: TenantConfig, source: Source, interval: Interval, lake: Lake, connect: Connect
) -> Iterator[pa.Table]:
    arrival = constant_arrival(tenant, source)
    if arrival is not None and not interval.start <= arrival < interval.end:
        return iter(())
    return read_source(source, interval, lake.root, connect)


def read_source(
    source: Source, interval: Interval, forbidden: Path, connect: Connect
) -> Iterator[pa.Table]:
    """The source's rows of the interval, or more; see `read_files` and `read_postgres`."""
    columns = columns_read(source)
    if isinstance(source.connector, PostgresConnector):
        return read_postgres(source, source.connector, columns, interval, connect)
    return read_files(source, source.connector, columns, interval, forbidden)


def _earlier(
    tenant: TenantConfig, source: Source, table: str, interval: Interval, lake: Lake
) -> ds.Dataset:
    """What the source delivered before: whatever comes again is a duplicate."""
    before = ds.field("created_timestamp") < pa.scalar(interval.start, TIMESTAMP)
    return lake.dataset(tenant.ref, table, source=source.name).filter(before)


def _arrived(rows: pa.Table, interval: Interval) -> pa.Array:
    """Rows of the interval, and those whose arrival nobody can tell."""
    created = rows["created_timestamp"]
    inside = pc.and_(
        pc.greater_equal(created, pa.scalar(interval.start, TIMESTAMP)),
        pc.less(created, pa.scalar(interval.end, TIMESTAMP)),
    )
    return pc.fill_null(inside, True)
