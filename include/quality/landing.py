"""What lies in the landing tables: which slice a run has to check, and facts about it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from include.handoffs import Interval
from include.quality.needs import DataNeeds
from include.quality.volume import Delivered
from include.storage.lake import Lake
from include.storage.scratch import scratch
from include.tenants.config import TenantConfig

#: From this many events on, a share of them is judged and not only noted.
MANY: Final = 100

#: An event that takes something back, and is none of its name.
_RETURNED: Final = "coalesce(quantity, 0) < 0 OR coalesce(amount, 0) < 0"

Facts = dict[str, float | None]


@dataclass(frozen=True)
class Landing:
    """One version of a tenant's landing tables, as streams of rows."""

    events: ds.Dataset
    attributes: ds.Dataset
    connection: duckdb.DuckDBPyConnection
    #: Sources of whose events the table has all versions.
    versioned: tuple[str, ...] = ()

    def table(self, kind: str) -> ds.Dataset:
        """`events` or `attributes`."""
        return {"events": self.events, "attributes": self.attributes}[kind]

    def slice(self, kind: str, source: str | None, interval: Interval) -> ds.Dataset:
        """Rows of one source (or all) that became known within the interval."""
        return self.table(kind).filter(arrived(source, interval))

    def query(self, sql: str, rows: ds.Dataset, *parameters: object) -> list[tuple[object, ...]]:
        """Rows that a query over `landed` returns."""
        self.connection.register("landed", rows)
        try:
            found: list[tuple[object, ...]] = self.connection.execute(sql, parameters).fetchall()
            return found
        finally:
            self.connection.unregister("landed")


@contextmanager
def open_landing(tenant: TenantConfig, lake: Lake) -> Iterator[Landing]:
    """The landing tables as they are now, of the sources that the tenant's file names.

    Now, and not as they were when the hand-off was written: a rerun must never put back what a
    later ingestion of the same slice has replaced.
    """
    named = ds.field("source").isin([source.name for source in tenant.sources])
    events = lake.dataset(tenant.ref, "landing_events").filter(named)
    attributes = lake.dataset(tenant.ref, "landing_attributes").filter(named)
    with scratch(tenant.id) as spill:
        config: dict[str, str | bool | int | float | list[str]] = {
            "autoinstall_known_extensions": "false",
            "threads": "2",
            "memory_limit": "256MB",
            "temp_directory": str(spill),
        }
        with duckdb.connect(config=config) as connection:
            versioned = lake.versioned(tenant.ref, "landing_events")
            yield Landing(events, attributes, connection, versioned)


def arrived(source: str | None, interval: Interval) -> ds.Expression:
    """Rows that became known within the interval, with the partitions they can be in."""
    created, month = ds.field("created_timestamp"), ds.field("month")
    within = (month >= f"{interval.start:%Y-%m}") & (month <= f"{interval.end:%Y-%m}")
    within &= (created >= pa.scalar(interval.start)) & (created < pa.scalar(interval.end))
    return within if source is None else (ds.field("source") == source) & within


def slice_to_check(
    tenant: TenantConfig,
    interval: Interval,
    delivered: Sequence[Delivered],
    landed: ds.Dataset,
    accepted: ds.Dataset,
    source: str,
) -> Interval:
    """The slice of one source that a run for `interval` is responsible for.

    A run answers for its interval and for the history that was loaded along with it. History is
    taken in when ingestion recorded a first load that ends with this interval or at its start, so
    that a rerun of the first run checks the same slice again, or when nothing of the source was
    accepted before this interval although something landed, so that whichever run comes first
    after a refused or killed one brings the history along. The slice is written in one commit:
    either all of it is accepted afterwards or none. An interval that was refused stays out until
    it is run again itself.
    """
    history_start = tenant.history_start.astimezone(UTC)
    starts = [interval.start]
    for slice_ in delivered:
        begins, ends = slice_.interval.start, slice_.interval.end
        with_this = ends == interval.end or (ends == interval.start and begins <= history_start)
        if begins < interval.start and with_this:
            starts.append(begins)
    earlier = (ds.field("source") == source) & (
        ds.field("created_timestamp") < pa.scalar(interval.start)
    )
    if len(starts) == 1 and not _any(accepted.filter(earlier)) and _any(landed.filter(earlier)):
        starts.append(history_start)
    return Interval(min(starts), interval.end)


def holes_to_check(
    history_start: datetime, interval: Interval, delivered: Mapping[str, Sequence[Delivered]]
) -> list[Interval]:
    """What ingestion loaded before a run's interval as no run had, in order; without the history.

    Each of these is judged as the run of its own would have judged it.
    """
    holes = {
        one.interval
        for slices in delivered.values()
        for one in slices
        if one.along_with == interval
        and (one.interval.start, one.interval.end) != (history_start, interval.start)
    }
    return sorted(holes, key=lambda hole: (hole.start, hole.end))


def never_judged(
    tenant: TenantConfig,
    interval: Interval,
    delivered: Mapping[str, Sequence[Delivered]],
    judged: Collection[tuple[str, Interval]],
) -> list[Interval]:
    """Intervals before a run's that were loaded and never judged, in order.

    Their run was killed after ingestion, and nobody ran it again. What was refused was judged, and
    waits for a run of its own; a first load is judged with the interval that follows it. What is
    older than the tenant keeps events may have been judged in a time that nobody remembers.

    Args:
        judged: suites with the intervals that they are on record for.
    """
    begun = {(suite, one.start) for suite, one in judged}
    kept, history = interval.end - tenant.retention.events, tenant.history_start
    left = {
        one.interval
        for source in tenant.sources
        for one in delivered.get(source.name, ())
        for suite in (f"{'events' if source.events else 'attributes'}.{source.name}",)
        if one.rows
        and one.along_with != interval
        and kept <= one.interval.start
        and one.interval.end <= interval.start
        and not (one.interval.start <= history and one.interval.end == interval.start)
        and (suite, one.interval) not in judged
        and (suite, one.interval.end) not in begun
    }
    return sorted(left, key=lambda one: (one.start, one.end))


def repeated_ids(landing: Landing, rows: ds.Dataset) -> Mapping[str, datetime]:
    """Every `event_id` that stands more than once in the rows, with its earliest arrival."""
    found = landing.query(
        "SELECT event_id, epoch_us(min(created_timestamp)) FROM landed "
        "GROUP BY event_id HAVING count(*) > 1 ORDER BY event_id",
        rows,
    )
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    return {str(name): epoch + timedelta(microseconds=_integer(at)) for name, at in found}


def row_count(landing: Landing, kind: str, source: str, interval: Interval) -> int:
    """Rows of the source that became known within the interval."""
    return int(landing.slice(kind, source, interval).count_rows())


def lag_days(landing: Landing, source: str, interval: Interval) -> float | None:
    """Days from the newest event known to the end of the interval; None without any event."""
    newest = (
        "SELECT epoch_us(max(event_timestamp)) FROM landed "
        "WHERE event_timestamp <= created_timestamp"
    )
    past = landing.events.filter(
        (ds.field("source") == source) & (ds.field("created_timestamp") < pa.scalar(interval.end))
    )
    for rows in (landing.slice("events", source, interval), past):  # the past only when needed
        ((micros,),) = landing.query(newest, rows)
        if micros is not None:
            return (interval.end.timestamp() * 1e6 - _integer(micros)) / 86_400e6
    return None


def orphan_share(landing: Landing, rows: ds.Dataset, interval: Interval) -> float | None:
    """Share of the events with an item whose item no attribute is known of at the interval's end.

    None when no event has an item.
    """
    items = (ds.field("entity") == "item") & (
        ds.field("created_timestamp") < pa.scalar(interval.end)
    )
    landing.connection.register("facts", landing.attributes.filter(items))
    ((events, orphans),) = landing.query(
        "SELECT count(item_id), count(item_id) FILTER "
        "(item_id NOT IN (SELECT DISTINCT entity_id FROM facts)) FROM landed",
        rows,
    )
    landing.connection.unregister("facts")
    return _integer(orphans) / _integer(events) if events else None


def needs_facts(landing: Landing, needs: DataNeeds, interval: Interval) -> Facts:
    """What the interval's events and the attributes known at its end offer a use case."""
    columns = ", ".join(f"count({column})" for column in needs.entity_columns)
    names = ", ".join("?" for _ in needs.events)
    ((events, labels, active, *present),) = landing.query(
        f"SELECT count(*), count(*) FILTER (event = ?), "  # noqa: S608
        f"count(DISTINCT {needs.entity_columns[0]}), {columns} FROM landed "
        f"WHERE event IN ({names}) AND NOT ({_RETURNED})",
        landing.slice("events", None, interval),
        needs.label_event,
        *needs.events,
    )
    facts: Facts = {
        "needed_events": float(_integer(events)),
        "label_rate": _integer(labels) / _integer(active) if active else None,
    }
    for column, count in zip(needs.entity_columns, present, strict=True):
        share = _integer(count) / _integer(events) if events else None
        facts[f"{column}_share"] = share
        facts[f"{column}_share_of_many"] = share if _integer(events) >= MANY else None
    known = ds.field("created_timestamp") < pa.scalar(interval.end)
    for position, name in enumerate(needs.attributes):
        facts[f"attribute_{position}"] = float(
            _any(landing.attributes.filter(known & (ds.field("name") == name)))
        )
    return facts


def _any(rows: ds.Dataset) -> bool:
    return bool(rows.head(1, columns=["created_timestamp"]).num_rows)


def _integer(value: object) -> int:
    return int(str(value))
