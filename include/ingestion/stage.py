"""The ingestion stage: what arrived in the interval, from every source to the landing tables."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from include.errors import IsolationError, SourceError
from include.handoffs import Hole, Ingested, Interval
from include.ingestion import zone_store
from include.ingestion.corrections import rule_of
from include.ingestion.coverage import due, is_first_load
from include.ingestion.grants import Grants, grants_of
from include.ingestion.mapping import Mapped, constant_arrival, map_rows
from include.ingestion.opening import Connect
from include.ingestion.personal import hashed_columns, hiding, keep_key
from include.ingestion.quarantine import Quarantine
from include.ingestion.reading import read_source
from include.ingestion.renaming import take_over
from include.ingestion.repeats import drop_later_repeats
from include.ingestion.rows import BlockEnd, LeftOut, Rows, Unread
from include.ingestion.slices import Counted, Slice, Slices
from include.ingestion.spool import SliceSpool
from include.ingestion.zone_maps import Survey
from include.storage.canonical import SCHEMAS, TIMESTAMP
from include.storage.lake import Lake
from include.storage.slices import in_slice
from include.tenants.config import Source, TenantConfig
from include.tenants.intervals import next_end
from include.wall_clock import local

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Reading:
    """What all slices that one run reads have in common."""

    tenant: TenantConfig
    interval: Interval  #: of the run
    lake: Lake
    slices: Slices
    connect: Connect
    grants: Grants
    pii_secret: str | None


def ingest(
    tenant: TenantConfig,
    interval: Interval,
    *,
    lake: Lake,
    slices: Slices,
    connect: Connect,
    pii_secret: str | None = None,
) -> Ingested:
    """Read every source's slice of the interval into `landing_events` or `landing_attributes`.

    A slice is what arrived (`created_timestamp`) in the interval. The first time a source is read
    its history comes along, from `history_from` to the interval, as a slice of its own, and later
    whatever no run has loaded: see `coverage`. Running the same interval again gives the same rows,
    and then not even a new table version.

    Rows that came by a former name of a source are its own from now on.

    Args:
        pii_secret: what the key of tenants that hash PII columns is derived from.

    Raises:
        IsolationError: a source names what the tenant may not read.
        SourceError: a source cannot be reached or lacks a column; names it and says what to do.
        ConfigError: columns are to be hashed, and there is no secret.
        IntegrityError: the secret is not the one that earlier rows were hashed with.
    """
    grants = grants_of(tenant.id, lake.root)
    if any(hashed_columns(tenant, source) for source in tenant.sources):
        keep_key(tenant, pii_secret, lake)
    for source in tenant.sources:
        for former in source.formerly:
            take_over(lake, slices, tenant.ref, _table(source), former, source.name)
    reading = _Reading(tenant, interval, lake, slices, connect, grants, pii_secret)
    recorded = slices.recorded(tenant.ref)
    done: list[Slice] = []
    for source in tenant.sources:
        for part in _due(tenant, source, interval, recorded):
            try:
                done.append(_ingest_slice(reading, source, part))
            except (IsolationError, SourceError) as error:
                start, end = (local(at, tenant.timezone) for at in (part.start, part.end))
                raise type(error)(
                    f"tenant {tenant.id}, source {source.name}, {start} to {end}: {error}"
                ) from None
    # A source that was read for several slices holds what it was read for most: each slice has the
    # others' rows outside.
    read = [
        max(
            *(one.read for one in done if one.source == source.name),
            sum(one.taken + one.quarantined for one in done if one.source == source.name),
        )
        for source in tenant.sources
    ]
    return Ingested(
        tenant=tenant.id,
        interval=interval,
        events=lake.version(tenant.ref, "landing_events"),
        attributes=lake.version(tenant.ref, "landing_attributes"),
        rows=sum(one.rows for one in done),
        duplicates=sum(one.duplicates for one in done),
        quarantined=sum(one.quarantined for one in done),
        late=sum(one.late for one in done),
        read=sum(read),
        outside=sum(read) - sum(one.taken + one.quarantined for one in done),
        holes=tuple(
            Hole(one.source, one.interval.start, one.interval.end)
            for one in done
            if one.along_with and not is_first_load(tenant.history_start, interval, one.interval)
        ),
    )


def _due(
    tenant: TenantConfig, source: Source, interval: Interval, recorded: Sequence[Slice]
) -> list[Interval]:
    """What is to be read of the source, in order; says so where a hole is among that."""
    own = [one for one in recorded if one.source == source.name]
    parts = due(tenant.history_start, interval, partial(next_end, tenant), own)
    for part in parts[:-1]:
        if not is_first_load(tenant.history_start, interval, part):
            log.warning(
                "ingestion: %s/%s [%s, %s) was never loaded, and is now, before [%s, %s)",
                *(tenant.id, source.name, part.start, part.end, interval.start, interval.end),
            )
    return parts


def _table(source: Source) -> str:
    return "landing_events" if source.events else "landing_attributes"


def _ingest_slice(reading: _Reading, source: Source, interval: Interval) -> Slice:
    """Read a slice; what of text files is known to be of other times is passed over.

    The slice is as it is when everything is read, and so is an error.
    """
    tenant, lake = reading.tenant, reading.lake
    known = zone_store.kept(lake, tenant.ref, source.name)
    digest = zone_store.reading_of(tenant, source, reading.pii_secret)
    survey = Survey(digest, interval, known)
    try:
        recorded = _ingested(reading, source, interval, survey)
    except SourceError:
        if not survey.passed:
            raise
        survey = survey.again(whole=True)
        recorded = _ingested(reading, source, interval, survey)
    if recorded.undated and survey.passed["undated"]:  # they may be this slice's own
        survey = survey.again(whole=False)
        recorded = _ingested(reading, source, interval, survey)
    if survey.met != known:
        zone_store.keep(lake, tenant.ref, source.name, survey.met)
    _log(tenant, recorded)
    return recorded


def _ingested(reading: _Reading, source: Source, interval: Interval, survey: Survey) -> Slice:
    tenant, lake = reading.tenant, reading.lake
    table = _table(source)
    quarantine = _quarantine(tenant, source)
    versioned = lake.versioned(tenant.ref, table)
    rule = rule_of(source, interval, reading.slices.recorded(tenant.ref), versioned)
    with SliceSpool(SCHEMAS[table], owner=tenant.id) as spool:
        read = outside = 0
        for part in _read(reading, source, interval, survey):
            if isinstance(part, BlockEnd):
                survey.end(part)
                continue
            if isinstance(part, LeftOut):
                read, outside = read + part.rows, outside + part.count
                quarantine.count_undated(part.undated)
                continue
            read += len(part)
            if isinstance(part, Unread):
                quarantine.add_unread(part)
                survey.add_unread(part)
                continue
            mapped = map_rows(part, tenant, source)
            survey.add(part, mapped)
            inside = _arrived(mapped.accepted["created_timestamp"], interval)
            arrived = mapped.accepted.filter(inside)
            refused = mapped.refused.filter(_arrived(mapped.refused.created, interval))
            spool.add(arrived, _numbers(part, mapped).filter(inside) if source.events else None)
            quarantine.add(refused)
            outside += len(part) - len(arrived) // mapped.per_row - len(refused)
        earlier = _earlier(reading, source, table, interval)
        sifted = spool.sifted(earlier, _still_there(reading, source, table, interval), rule)
        for batch in sifted.changed.batches():
            quarantine.add_changed(pa.Table.from_batches([batch]), source)
        once = sifted.kept
        kept = once.rows
        late = once.count(ds.field("event_timestamp") < interval.start) if source.events else 0
        version = lake.replace_slice(
            tenant.ref, table, source.name, interval, once.batches(), versions=rule.versions
        )
    set_aside = partial(_changed, tenant, source)
    if drop_later_repeats(
        lake, reading.slices, tenant.ref, table, source, interval, rule, set_aside
    ):
        version = lake.version(tenant.ref, table)
    delivered = Slice(
        *(source.name, interval, kept, late, sifted.repeated, version.version),
        read=read,
        outside=outside,
        along_with=None if interval == reading.interval else reading.interval,
    )
    return reading.slices.record(tenant.ref, delivered, quarantine.rejected)


def _log(tenant: TenantConfig, recorded: Slice) -> None:
    interval = recorded.interval
    log.info(
        "ingestion: %s/%s [%s, %s): %d rows read: %d taken in, %d quarantined, %d outside; "
        "%d new, %d late, %d duplicates",
        *(tenant.id, recorded.source, interval.start, interval.end),
        *(recorded.read, recorded.taken, recorded.quarantined, recorded.outside),
        *(recorded.rows, recorded.late, recorded.duplicates),
    )


def _read(
    reading: _Reading, source: Source, interval: Interval, survey: Survey
) -> Iterator[Rows | Unread | LeftOut | BlockEnd]:
    arrival = constant_arrival(reading.tenant, source)
    if arrival is not None and not interval.start <= arrival < interval.end:
        survey.met.update(survey.known)  # no file is opened
        return iter(())
    hide = hiding(reading.tenant, source, reading.pii_secret)
    return read_source(source, interval, reading.grants, reading.connect, hide, survey)


def _quarantine(tenant: TenantConfig, source: Source) -> Quarantine:
    return Quarantine(frozenset((*tenant.pii_columns, *hashed_columns(tenant, source))))


def _changed(tenant: TenantConfig, source: Source, events: pa.Table) -> Counted:
    """Events of one slice that say something else than one of their id, as they are set aside."""
    quarantine = _quarantine(tenant, source)
    quarantine.add_changed(events, source)
    return quarantine.rejected.dated


def _numbers(rows: Rows, mapped: Mapped) -> pa.Array:
    """The positions, in what was read, of the rows that became events."""
    refused = pc.is_in(rows.numbers, value_set=mapped.refused.rows.numbers)
    return rows.numbers.filter(pc.invert(refused))


def _still_there(reading: _Reading, source: Source, table: str, interval: Interval) -> ds.Dataset:
    """What the table holds of the slice, where rows may move out of it: they stay in the table.

    A row of a source with a cursor moves to a later interval when it is changed. A file is what it
    says now, and replaces its slice.
    """
    if source.connector.cursor_column is None:
        return ds.dataset(SCHEMAS[table].empty_table())
    own = reading.lake.dataset(reading.tenant.ref, table, source=source.name)
    return own.filter(in_slice(source.name, interval))


def _earlier(reading: _Reading, source: Source, table: str, interval: Interval) -> ds.Dataset:
    """What the source delivered before: whatever comes again is a duplicate."""
    before = ds.field("created_timestamp") < pa.scalar(interval.start, TIMESTAMP)
    rows = reading.lake.dataset(reading.tenant.ref, table, source=source.name)
    return rows.filter((ds.field("source") == source.name) & before)


def _arrived(created: pa.ChunkedArray | pa.Array, interval: Interval) -> pa.Array:
    """For each instant, whether it is of the interval, or none."""
    inside = pc.and_(
        pc.greater_equal(created, pa.scalar(interval.start, TIMESTAMP)),
        pc.less(created, pa.scalar(interval.end, TIMESTAMP)),
    )
    return pc.fill_null(inside, True)
