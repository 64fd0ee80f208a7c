"""The lake: one Delta table per tenant and kind, slices replaced atomically, plus plain files.

A slice is what one source delivered in one interval of arrival (`created_timestamp`). Writing a
slice that is already there changes nothing, not even the table version.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import TableNotFoundError

from include.errors import ConfigError, IntegrityError
from include.handoffs import Interval, StoredObject, TableVersion
from include.storage.canonical import SCHEMAS, schema_fingerprint
from include.tenants.namespace import NAME, TenantRef, lake_prefix, lake_table

_PARTITIONS: Final = ["source", "month"]
_DUCKDB: Final[dict[str, str | bool | int | float | list[str]]] = {
    "autoinstall_known_extensions": "false",
    "threads": "2",
    "memory_limit": "512MB",
}


@dataclass(frozen=True)
class Lake:
    """Everything under one root folder."""

    root: Path

    @classmethod
    def from_environment(cls) -> Lake:
        """The lake at `$TENANTRY_LAKE`."""
        root = os.environ.get("TENANTRY_LAKE")
        if not root:
            raise ConfigError("TENANTRY_LAKE is not set; `make up` sets it for the embedded lake")
        return cls(Path(root))

    # Delta tables

    def replace_slice(
        self,
        tenant: TenantRef,
        table: str,
        source: str,
        interval: Interval,
        batches: Iterable[pa.RecordBatch],
    ) -> TableVersion:
        """Make `batches` all that `table` holds of `source` in `interval`, in one commit.

        Args:
            batches: rows of the table's canonical schema, every `created_timestamp` within the
                interval. Consumed once; memory stays bounded by one batch.

        Raises:
            IntegrityError: a row belongs to another tenant, source or interval.
        """
        schema = SCHEMAS[table]
        path = self._table(tenant, table)
        with tempfile.NamedTemporaryFile(suffix=".parquet") as spool:
            with pq.ParquetWriter(spool.name, schema) as writer:
                for batch in batches:
                    _check_slice(batch, tenant, source, interval)
                    writer.write_batch(batch.cast(schema))
            new = ds.dataset(spool.name, schema=schema)
            current = self._open(tenant, table)
            if current is not None:
                there = current.to_pyarrow_dataset().filter(_in_slice(source, interval))
                if _digest(there) == _digest(new):
                    return self.version(tenant, table)
            path.parent.mkdir(parents=True, exist_ok=True)
            if current is None:
                DeltaTable.create(str(path), schema=schema, mode="ignore", partition_by=_PARTITIONS)
            write_deltalake(
                str(path),
                pa.RecordBatchReader.from_batches(schema, new.to_batches()),
                mode="overwrite",
                predicate=_predicate(source, interval),
                target_file_size=128 * 1024 * 1024,
            )
        return self.version(tenant, table)

    def version(self, tenant: TenantRef, table: str) -> TableVersion:
        """The table's newest version; version -1 and no rows where it does not exist."""
        current = self._open(tenant, table)
        fingerprint = schema_fingerprint(SCHEMAS[table])
        if current is None:
            return TableVersion(tenant.id, table, -1, 0, fingerprint)
        return TableVersion(tenant.id, table, current.version(), current.count(), fingerprint)

    def dataset(self, tenant: TenantRef, table: str, version: int | None = None) -> ds.Dataset:
        """The table for streaming reads; an empty one where it does not exist.

        Args:
            version: a version recorded before; None reads the newest.
        """
        current = None if version == -1 else self._open(tenant, table, version)
        if current is None:
            return ds.dataset(SCHEMAS[table].empty_table())
        return current.to_pyarrow_dataset(schema=SCHEMAS[table])

    def read(
        self,
        tenant: TenantRef,
        table: str,
        *,
        version: int | None = None,
        columns: list[str] | None = None,
        known_at: datetime | None = None,
    ) -> pa.Table:
        """Rows known at an instant, ordered by `(created_timestamp, source, event_id)`.

        Args:
            columns: names to return; all when None.
            known_at: only rows with `created_timestamp <= known_at`.
        """
        wanted = columns or SCHEMAS[table].names
        order = ["created_timestamp", "source", "event_id"]
        needed = list(dict.fromkeys([*wanted, *order]))
        known = None if known_at is None else ds.field("created_timestamp") <= pa.scalar(known_at)
        found = self.dataset(tenant, table, version).to_table(columns=needed, filter=known)
        return found.sort_by([(name, "ascending") for name in order]).select(wanted)

    # plain files

    def put(self, tenant: TenantRef, path: str, content: bytes, rows: int = 0) -> StoredObject:
        """Write a file of the tenant's atomically; the same bytes again change nothing."""
        target = self._file(tenant, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256(content).hexdigest()
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as part:
            try:
                part.write(content)
                part.flush()
                os.fsync(part.fileno())
                Path(part.name).chmod(0o644)
                Path(part.name).replace(target)
            except BaseException:
                Path(part.name).unlink(missing_ok=True)
                raise
        return StoredObject(tenant.id, path, digest, rows)

    def put_table(self, tenant: TenantRef, path: str, table: pa.Table) -> StoredObject:
        """Write a Parquet file of the tenant's; equal tables give equal bytes."""
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        return self.put(tenant, path, sink.getvalue().to_pybytes(), table.num_rows)

    def get(self, tenant: TenantRef, stored: StoredObject) -> bytes:
        """The file's bytes, checked against the recorded digest before anyone parses them.

        Raises:
            IntegrityError: the file is missing, another tenant's, or not what was written.
        """
        if stored.tenant != tenant.id:
            raise IntegrityError(f"{stored.path} belongs to {stored.tenant}, not to {tenant.id}")
        target = self._file(tenant, stored.path)
        if not target.is_file():
            raise IntegrityError(f"{target} is gone; run the stage that wrote it again")
        content = target.read_bytes()
        if hashlib.sha256(content).hexdigest() != stored.digest:
            raise IntegrityError(f"{target} is not what was recorded; run its stage again")
        return content

    def get_table(self, tenant: TenantRef, stored: StoredObject) -> pa.Table:
        """The Parquet file as a table, digest checked first."""
        return pq.read_table(pa.BufferReader(self.get(tenant, stored)))

    def file_path(self, tenant: TenantRef, path: str) -> Path:
        """Where a file of the tenant's lies, for people to open (reports)."""
        return self._file(tenant, path)

    def _file(self, tenant: TenantRef, path: str) -> Path:
        home = (self.root / lake_prefix(tenant)).resolve()
        target = (home / path).resolve()
        if not target.is_relative_to(home):
            raise IntegrityError(f"path {path[:80]!r} leads out of the tenant's folder")
        return target

    def _table(self, tenant: TenantRef, table: str) -> Path:
        if table not in SCHEMAS or not NAME.fullmatch(table):
            raise ConfigError(f"unknown lake table {table!r}; known: {', '.join(SCHEMAS)}")
        return self.root / lake_table(tenant, table)

    def _open(self, tenant: TenantRef, table: str, version: int | None = None) -> DeltaTable | None:
        try:
            return DeltaTable(str(self._table(tenant, table)), version=version)
        except TableNotFoundError:
            return None


def _in_slice(source: str, interval: Interval) -> ds.Expression:
    created = ds.field("created_timestamp")
    months = (ds.field("month") >= f"{interval.start:%Y-%m}") & (
        ds.field("month") <= f"{interval.end:%Y-%m}"
    )
    here = (created >= pa.scalar(interval.start)) & (created < pa.scalar(interval.end))
    return (ds.field("source") == source) & months & here


def _predicate(source: str, interval: Interval) -> str:
    """`_in_slice` in Delta's SQL; `source` has matched `NAME` and needs no quoting."""
    if not NAME.fullmatch(source):
        raise ConfigError(f"source {source[:60]!r} must match {NAME.pattern}")
    return (
        f"source = '{source}' AND month >= '{interval.start:%Y-%m}' "
        f"AND month <= '{interval.end:%Y-%m}' "
        f"AND created_timestamp >= '{interval.start.isoformat()}' "
        f"AND created_timestamp < '{interval.end.isoformat()}'"
    )


def _check_slice(batch: pa.RecordBatch, tenant: TenantRef, source: str, interval: Interval) -> None:
    """Refuse rows that the replace would not cover: they would pile up on every rerun."""
    if batch.num_rows == 0:
        return
    created = pc.min_max(batch["created_timestamp"])
    inside = interval.start <= created["min"].as_py() and created["max"].as_py() < interval.end
    owners = pc.unique(batch["tenant_id"]).to_pylist()
    sources = pc.unique(batch["source"]).to_pylist()
    if not inside or owners != [tenant.id] or sources != [source]:
        raise IntegrityError(
            f"rows of {owners[:3]}/{sources[:3]} do not belong to slice {tenant.id}/{source} "
            f"[{interval.start}, {interval.end})"
        )


def _digest(rows: ds.Dataset) -> tuple[int, int, int]:
    """Row count and two sums of row hashes: equal exactly when the bags of rows are equal."""
    columns = ", ".join(f'"{name}"' for name in rows.schema.names)
    with duckdb.connect(config=_DUCKDB) as connection:
        connection.register("bag", rows)
        found = connection.execute(
            f"SELECT count(*), coalesce(sum(hash({columns})::HUGEINT), 0), "  # noqa: S608
            f"coalesce(sum(hash('second', {columns})::HUGEINT), 0) FROM bag"
        ).fetchone()
    assert found is not None  # an aggregate without GROUP BY always has one row
    return int(found[0]), int(found[1]), int(found[2])
