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
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError, TableNotFoundError

from include.errors import ConfigError, IntegrityError
from include.handoffs import Interval, StoredObject, TableVersion
from include.storage.canonical import SCHEMAS, TIMESTAMP, schema_fingerprint
from include.storage.slices import (
    Spool,
    check_slice,
    first_arrivals,
    in_slice,
    partitions,
    predicate,
    same_rows,
    without,
)
from include.tenants.namespace import NAME, TenantRef, lake_prefix, lake_table

_PARTITIONS: Final = ["source", "month"]
#: Delta would forget after 30 days which files an older version has; a model names its version.
_CONFIGURATION: Final = {"delta.enableExpiredLogCleanup": "false"}


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
        schema, path = SCHEMAS[table], self._table(tenant, table)
        covered = predicate(source, interval)
        with Spool(schema) as new:
            for batch in batches:
                check_slice(batch, tenant, source, interval)
                new.write(pa.Table.from_batches([batch]).cast(schema))
            current = self._open(tenant, table)
            if current is None:
                if not new.rows:
                    return self.version(tenant, table)
                path.parent.mkdir(parents=True, exist_ok=True)
                DeltaTable.create(
                    str(path),
                    schema=schema,
                    mode="ignore",
                    partition_by=_PARTITIONS,
                    configuration=_CONFIGURATION,
                )
                current = DeltaTable(str(path))
            there = current.to_pyarrow_dataset(
                schema=schema, file_pruning_predicate=partitions(source, interval)
            )
            if not same_rows(there.filter(in_slice(source, interval)), new):
                write_deltalake(
                    current,
                    pa.RecordBatchReader.from_batches(schema, new.batches()),
                    mode="overwrite",
                    predicate=covered,
                    target_file_size=128 * 1024 * 1024,
                )
        return _version(tenant, table, current)

    def version(self, tenant: TenantRef, table: str) -> TableVersion:
        """The table's newest version; version -1 and no rows where it does not exist."""
        return _version(tenant, table, self._open(tenant, table))

    def dataset(
        self,
        tenant: TenantRef,
        table: str,
        version: int | None = None,
        *,
        source: str | None = None,
    ) -> ds.Dataset:
        """The table for streaming reads; an empty one where it does not exist.

        Args:
            version: a version recorded before; None reads the newest.
            source: only the files of this source.
        """
        current = None if version == -1 else self._open(tenant, table, version)
        if current is None:
            return ds.dataset(SCHEMAS[table].empty_table())
        files = None if source is None else [("source", "=", source)]
        return current.to_pyarrow_dataset(schema=SCHEMAS[table], file_pruning_predicate=files)

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

        What a source delivered twice is there once, as it first arrived.

        Args:
            columns: names to return; all when None.
            known_at: only rows with `created_timestamp <= known_at`.

        Raises:
            IntegrityError: the version is gone, as retention has erased rows it held.
        """
        wanted = columns or SCHEMAS[table].names
        order = ["created_timestamp", "source", "event_id"]
        needed = list(dict.fromkeys([*wanted, *order]))
        known = None if known_at is None else ds.field("created_timestamp") <= pa.scalar(known_at)
        try:
            found = self.dataset(tenant, table, version).to_table(columns=needed, filter=known)
        except FileNotFoundError as error:
            raise _gone(tenant, table, version) from error
        ordered = found.sort_by([(name, "ascending") for name in order])
        return first_arrivals(ordered).select(wanted)

    def arrivals(
        self,
        tenant: TenantRef,
        table: str,
        after: datetime,
        until: datetime,
        *,
        version: int | None = None,
    ) -> pa.Table:
        """Rows created in `(after, until]`, as `read` gives them, that had not arrived before.

        Reads the months from `after` on, and of earlier ones no more than the ids.
        """
        created, rows = ds.field("created_timestamp"), self.dataset(tenant, table, version)
        new = (created > pa.scalar(after)) & (created <= pa.scalar(until))
        month = ds.field("month") >= f"{after.astimezone(UTC):%Y-%m}"
        found = rows.to_table(filter=month & new)
        order = ("created_timestamp", "source", "event_id")
        found = first_arrivals(found.sort_by([(name, "ascending") for name in order]))
        if not len(found):
            return found
        there = (created <= pa.scalar(after)) & ds.field("event_id").isin(found["event_id"])
        earlier = rows.to_table(columns=["source", "event_id"], filter=there)
        return without(found, earlier) if len(earlier) else found

    def same_until(
        self, tenant: TenantRef, table: str, one: int, other: int, known_at: datetime
    ) -> bool:
        """Whether no file that two versions differ in holds a row known at an instant.

        False also where one of the versions is gone.
        """
        try:
            first, second = (self._files(tenant, table, version) for version in (one, other))
        except IntegrityError:
            return False
        changed = first.keys() ^ second.keys()
        return all((first | second)[path] > known_at for path in changed)

    def _files(self, tenant: TenantRef, table: str, version: int) -> dict[str, datetime]:
        """A version's data files, each with when its first row was created."""
        current = None if version == -1 else self._open(tenant, table, version)
        if current is None:
            return {}
        files = pa.table(current.get_add_actions(flatten=True))
        created = files["min.created_timestamp"].cast(TIMESTAMP).to_pylist()
        unknown = datetime.min.replace(tzinfo=UTC)  # of a file without statistics
        return dict(zip(files["path"].to_pylist(), (c or unknown for c in created), strict=True))

    def forget(self, tenant: TenantRef, table: str, before: datetime) -> int:
        """Delete the rows that arrived earlier; returns how many there were.

        Files of older versions that hold such a row go a week after it did; versions that need
        them cannot be read from then on. Every other file of an older version stays.
        """
        current, before = self._open(tenant, table), before.astimezone(UTC)
        if current is None:
            return 0
        created = ds.field("created_timestamp") < pa.scalar(before)
        rows = int(current.to_pyarrow_dataset().filter(created).count_rows())
        if rows:
            current.delete(
                f"month <= '{before:%Y-%m}' AND created_timestamp < '{before.isoformat()}'"
            )
        for name in current.vacuum(dry_run=True, full=True):
            path = self._table(tenant, table) / name
            if _holds_older(path, before):
                path.unlink(missing_ok=True)
        return rows

    def forget_files(self, tenant: TenantRef, folder: str, before: datetime) -> int:
        """Delete the folder's files that are named after an earlier instant; returns how many."""
        home = self._file(tenant, folder)
        old = [
            path
            for path in sorted(home.rglob("*.parquet"))
            if path.stem < f"{before.astimezone(UTC):%Y-%m-%dT%H%M%S}"
        ]
        for path in old:
            path.unlink(missing_ok=True)
        return len(old)

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
        except DeltaError as error:
            if version is not None:
                raise _gone(tenant, table, version) from error
            if isinstance(error, TableNotFoundError):
                return None
            raise


def _holds_older(path: Path, before: datetime) -> bool:
    """Whether a data file has a row that arrived before; a broken one may have."""
    month, last = path.parent.name.removeprefix("month="), f"{before:%Y-%m}"
    if month != last:
        return month < last
    try:
        with pq.ParquetFile(path) as file:
            created = file.read(["created_timestamp"])["created_timestamp"]
    except (OSError, pa.ArrowException):
        return True
    return bool(pc.any(pc.less(created, pa.scalar(before))).as_py())


def _gone(tenant: TenantRef, table: str, version: int | None) -> IntegrityError:
    return IntegrityError(
        f"version {version} of {tenant.id}'s {table} cannot be read any more: files of it are gone."
        " What the tenant's retention erased is in no older version either; use the newest one"
    )


def _version(tenant: TenantRef, table: str, current: DeltaTable | None) -> TableVersion:
    version, rows = (-1, 0) if current is None else (current.version(), current.count())
    return TableVersion(tenant.id, table, version, rows, schema_fingerprint(SCHEMAS[table]))
