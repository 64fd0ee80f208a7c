"""Slices of lake tables: what one source delivered in one interval, and rows on their way there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from include.errors import ConfigError, IntegrityError
from include.handoffs import Interval
from include.storage.scratch import PLATFORM, scratch
from include.tenants.namespace import NAME, TenantRef

BATCH_ROWS: Final = 65_536
#: Rows that stay in memory; more are written to a temporary file.
FEW: Final = 131_072

Partitions = list[tuple[str, str, str | list[str]]]


class Spool:
    """Rows of one schema: in memory while they are few, then in a file of a temporary folder.

    Args:
        owner: the tenant whose rows they are.
    """

    def __init__(self, schema: pa.Schema, few: int = FEW, owner: str = PLATFORM) -> None:
        self.schema = schema
        self.rows = 0
        self._few = few
        self._owner = owner
        self._parts: list[pa.Table] = []
        self._writer: pq.ParquetWriter | None = None
        self._temporary = ExitStack()
        self._folder: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._writer is not None:
            self._writer.close()
        self._temporary.close()

    @property
    def folder(self) -> Path:
        """A temporary folder that goes with the spool."""
        if self._folder is None:
            self._folder = self._temporary.enter_context(scratch(self._owner))
        return self._folder

    @property
    def in_memory(self) -> bool:
        """Whether the rows are few."""
        return self._writer is None

    def write(self, rows: pa.Table) -> None:
        """Add rows of the spool's schema."""
        if not len(rows):
            return
        self.rows += len(rows)
        self._parts.append(rows)
        if self._writer is None and self.rows > self._few:
            self._writer = pq.ParquetWriter(self.folder / "spool.parquet", self.schema)
        if self._writer is not None:
            for part in self._parts:
                self._writer.write_table(part, row_group_size=BATCH_ROWS)
            self._parts = []

    def table(self) -> pa.Table:
        """All rows, while they are few."""
        return pa.concat_tables([self.schema.empty_table(), *self._parts])

    def file(self) -> Path:
        """The file of all rows, once they are many; nothing can be added afterwards."""
        assert self._writer is not None  # `in_memory` tells
        self._writer.close()
        return self.folder / "spool.parquet"

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows in the order they came; nothing can be added afterwards."""
        if self.in_memory:
            yield from self.table().to_batches(max_chunksize=BATCH_ROWS)
        else:
            with pq.ParquetFile(self.file()) as file:
                yield from file.iter_batches(BATCH_ROWS)


def in_slice(source: str, interval: Interval) -> ds.Expression:
    """Rows of the slice, with the partitions they can be in."""
    created, month = ds.field("created_timestamp"), ds.field("month")
    months = (month >= f"{interval.start:%Y-%m}") & (month <= f"{interval.end:%Y-%m}")
    here = (created >= pa.scalar(interval.start)) & (created < pa.scalar(interval.end))
    return (ds.field("source") == source) & months & here


def partitions(source: str, interval: Interval) -> Partitions:
    """Partitions that can hold rows of the slice, as Delta filters."""
    first = interval.start.year * 12 + interval.start.month - 1
    last = interval.end.year * 12 + interval.end.month - 1
    months = [f"{one // 12:04}-{one % 12 + 1:02}" for one in range(first, last + 1)]
    return [("source", "=", source), ("month", "in", months)]


def predicate(source: str, interval: Interval) -> str:
    """`in_slice` in Delta's SQL; `source` has matched `NAME` and needs no quoting."""
    if not NAME.fullmatch(source):
        raise ConfigError(f"source {source[:60]!r} must match {NAME.pattern}")
    return (
        f"source = '{source}' AND month >= '{interval.start:%Y-%m}' "
        f"AND month <= '{interval.end:%Y-%m}' "
        f"AND created_timestamp >= '{interval.start.isoformat()}' "
        f"AND created_timestamp < '{interval.end.isoformat()}'"
    )


def check_slice(rows: pa.RecordBatch, tenant: TenantRef, source: str, interval: Interval) -> None:
    """Refuse rows that the replace would not cover: they would pile up on every rerun."""
    if rows.num_rows == 0:
        return
    created = pc.min_max(rows["created_timestamp"])
    inside = interval.start <= created["min"].as_py() and created["max"].as_py() < interval.end
    owners = pc.unique(rows["tenant_id"]).to_pylist()
    sources = pc.unique(rows["source"]).to_pylist()
    if not inside or owners != [tenant.id] or sources != [source]:
        raise IntegrityError(
            f"rows of {owners[:3]}/{sources[:3]} do not belong to slice {tenant.id}/{source} "
            f"[{interval.start}, {interval.end})"
        )


def same_rows(there: ds.Dataset, new: Spool) -> bool:
    """Whether a table holds exactly the spooled rows, in whatever order."""
    if there.count_rows() != new.rows:
        return False
    return new.rows == 0 or _digest(there.schema, there) == _digest(
        there.schema, new.table() if new.in_memory else ds.dataset(new.file(), schema=new.schema)
    )


def first_arrivals(rows: pa.Table) -> pa.Table:
    """Each `(source, event_id)` once, where it stands first; order kept.

    A repeated delivery is only found among the rows of its own slice and of earlier ones when it is
    written; a slice that is loaded later can make a row that is already there the second one.
    """
    if pc.count_distinct(rows["event_id"]).as_py() == len(rows):
        return rows
    position = pa.array(range(len(rows)), pa.int64())
    first = (
        rows.select(["source", "event_id"])
        .append_column("position", position)
        .group_by(["source", "event_id"])
        .aggregate([("position", "min")])["position_min"]
    )
    return rows if len(first) == len(rows) else rows.take(pc.take(first, pc.sort_indices(first)))


def without(rows: pa.Table, others: pa.Table) -> pa.Table:
    """The rows whose `(source, event_id)` is not among the others'; order kept."""
    keys = ["source", "event_id"]
    numbered = rows.select(keys).append_column("row", pa.array(range(len(rows)), pa.int64()))
    kept = numbered.join(others.select(keys), keys, join_type="left anti")["row"]
    return rows.take(pc.take(kept, pc.sort_indices(kept)))


def _digest(schema: pa.Schema, rows: ds.Dataset | pa.Table) -> tuple[int, int]:
    """Two sums of row hashes: of equally many rows, equal exactly when the bags are equal."""
    columns = ", ".join(f'"{name}"' for name in schema.names)
    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        "threads": "2",
        "memory_limit": "512MB",
    }
    with duckdb.connect(config=config) as connection:
        connection.register("bag", rows)
        found = connection.execute(
            f"SELECT coalesce(sum(hash({columns})::HUGEINT), 0), "  # noqa: S608
            f"coalesce(sum(hash('second', {columns})::HUGEINT), 0) FROM bag"
        ).fetchone()
    assert found is not None  # an aggregate without GROUP BY always has one row
    return int(found[0]), int(found[1])
