"""The ingestion stage: what arrived in the interval, from every source to the landing tables."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from include.errors import IsolationError, SourceError
from include.handoffs import Ingested, Interval, TableVersion
from include.ingestion.grants import Grants, grants_of
from include.ingestion.mapping import constant_arrival, map_rows
from include.ingestion.opening import Connect
from include.ingestion.personal import hashed_columns, hiding, keep_key
from include.ingestion.quarantine import Quarantine
from include.ingestion.reading import read_source
from include.ingestion.repeats import drop_later_repeats
from include.ingestion.spool import SliceSpool
from include.ingestion.text_files import UNPARSED
from include.storage.canonical import SCHEMAS, TIMESTAMP
from include.storage.lake import Lake
from include.storage.postgres import tenant_transaction
from include.tenants.config import Source, TenantConfig

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


def ingest(
    tenant: TenantConfig,
    interval: Interval,
    *,
    lake: Lake,
    connect: Connect,
    pii_secret: str | None = None,
) -> Ingested:
    """Read every source's slice of the interval into `landing_events` or `landing_attributes`.

    A slice is what arrived (`created_timestamp`) in the interval. The first time a source is read
    its history comes along, from `history_from` to the interval, as a slice of its own. Running the
    same interval again gives the same rows, and then not even a new table version.

    Args:
        pii_secret: what the key of tenants that hash PII columns is derived from.

    Raises:
        IsolationError: a source names what the tenant may not read.
        SourceError: a source cannot be reached or lacks a column; names it and says what to do.
        ConfigError: columns are to be hashed, and there is no secret.
        IntegrityError: the secret is not the one that earlier rows were hashed with.
    """
    done: list[Slice] = []
    grants = grants_of(tenant.id, lake.root)
    if any(hashed_columns(tenant, source) for source in tenant.sources):
        keep_key(tenant, pii_secret, lake)
    read_before = _read_before(tenant, interval)
    for source in tenant.sources:
        for part in _due(tenant, source, interval, read_before):
            try:
                done.append(_ingest_slice(tenant, source, part, lake, connect, grants, pii_secret))
            except (IsolationError, SourceError) as error:
                raise type(error)(
                    f"tenant {tenant.id}, source {source.name}, {part.start:%Y-%m-%d %H:%M} to "
                    f"{part.end:%Y-%m-%d %H:%M}: {error}"
                ) from None
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
    tenant: TenantConfig,
    source: Source,
    interval: Interval,
    lake: Lake,
    connect: Connect,
    grants: Grants,
    pii_secret: str | None,
) -> Slice:
    table = "landing_events" if source.events else "landing_attributes"
    hide = hiding(tenant, source, pii_secret)
    quarantine = Quarantine(frozenset((*tenant.pii_columns, *hashed_columns(tenant, source))))
    with SliceSpool(SCHEMAS[table], owner=tenant.id) as spool:
        for rows in _read(tenant, source, interval, connect, grants):
            if UNPARSED in rows.column_names:
                quarantine.add(rows)
                continue
            mapped = map_rows(hide(rows), tenant, source)
            spool.add(mapped.accepted.filter(_arrived(mapped.accepted, interval)))
            quarantine.add(mapped.rejected.filter(_arrived(mapped.rejected, interval)))
        once = spool.sorted_once(_earlier(tenant, source, table, interval, lake, spool))
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
    tenant: TenantConfig, source: Source, interval: Interval, connect: Connect, grants: Grants
) -> Iterator[pa.Table]:
    arrival = constant_arrival(tenant, source)
    if arrival is not None and not interval.start <= arrival < interval.end:
        return iter(())
    return read_source(source, interval, grants, connect)


def _earlier(
    tenant: TenantConfig,
    source: Source,
    table: str,
    interval: Interval,
    lake: Lake,
    spool: SliceSpool,
) -> ds.Dataset:
    """What the source delivered before: whatever comes again is a duplicate.

    That is also what came by another name, whenever it arrived: a source that is renamed in the
    tenant's file brings its history along once more.
    """
    created, name = ds.field("created_timestamp"), ds.field("source")
    before = (name == source.name) & (created < pa.scalar(interval.start, TIMESTAMP))
    former = _former_names(tenant, source, table, lake, spool)
    if not former:
        return lake.dataset(tenant.ref, table, source=source.name).filter(before)
    return lake.dataset(tenant.ref, table).filter(before | name.isin(former))


def _former_names(
    tenant: TenantConfig, source: Source, table: str, lake: Lake, spool: SliceSpool
) -> list[str]:
    """Sources that the tenant's file names no more, and that delivered the same events.

    Ids alone do not tell: two sources may both number their rows from 1. Where most of the ids that
    both have stand at the same instant, they are one.
    """
    if not spool.rows:
        return []
    named = {one.name for one in tenant.sources}
    with tenant_transaction(tenant.ref) as connection:
        known = connection.execute(
            "SELECT DISTINCT source FROM slices WHERE tenant_id = %s ORDER BY source",
            [tenant.ref.id],
        ).fetchall()
    instant = "event_timestamp" if source.events else "valid_from"
    found = []
    for former in (row["source"] for row in known if row["source"] not in named):
        both, same = spool.shared(lake.dataset(tenant.ref, table, source=former), instant)
        if 2 * same > both:
            found.append(former)
            log.info(
                "ingestion: %s/%s delivers what %s did, %d rows of it here",
                *(tenant.id, source.name, former, same),
            )
    return found


def _arrived(rows: pa.Table, interval: Interval) -> pa.Array:
    """Rows of the interval, and those whose arrival nobody can tell."""
    created = rows["created_timestamp"]
    inside = pc.and_(
        pc.greater_equal(created, pa.scalar(interval.start, TIMESTAMP)),
        pc.less(created, pa.scalar(interval.end, TIMESTAMP)),
    )
    return pc.fill_null(inside, True)
