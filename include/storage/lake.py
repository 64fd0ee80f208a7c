"""The lake: one Delta table per tenant and kind, slices replaced atomically, plus plain files.

A slice is what one source delivered in one interval of arrival (`created_timestamp`). Writing a
slice that is already there changes nothing, not even the table version.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
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
from include.storage import delta_log, facts, sources, upkeep
from include.storage.canonical import REPLACED, SCHEMAS, schema_fingerprint
from include.storage.data_files import holds_older, holds_others
from include.storage.delta_log import statistics_of
from include.storage.lake_files import LakeFiles
from include.storage.slices import (
    Spool,
    check_slice,
    in_slice,
    partitions,
    predicate,
    same_rows,
    without,
)
from include.storage.versions import corrects, keep_versions, versioned, with_replaced
from include.tenants.namespace import NAME, TenantRef, lake_table

_PARTITIONS: Final = ["source", "month"]
#: Delta would forget after 30 days which files an older version has; a model names its version.
_CONFIGURATION: Final = {"delta.enableExpiredLogCleanup": "false"}


@dataclass(frozen=True)
class Lake(LakeFiles):
    """Everything under one root folder: the plain files, and the Delta tables beside them."""

    # Delta tables

    def replace_slice(
        self,
        tenant: TenantRef,
        table: str,
        source: str,
        interval: Interval,
        batches: Iterable[pa.RecordBatch],
        *,
        versions: bool = False,
    ) -> TableVersion:
        """Make `batches` all that `table` holds of `source` in `interval`, in one commit.

        Args:
            batches: rows of the table's canonical schema, every `created_timestamp` within the
                interval. Consumed once; memory stays bounded by one batch.
            versions: rows of one event id are versions of the event, from now on and for good.

        Raises:
            IntegrityError: a row belongs to another tenant, source or interval.
        """
        schema, path = SCHEMAS[table], self._table(tenant, table)
        covered = predicate(source, interval)
        with Spool(schema, owner=tenant.id) as new:
            for batch in batches:
                check_slice(batch, tenant, source, interval)
                new.write(pa.Table.from_batches([batch]).cast(schema))
            current = self._open(tenant, table)
            if current is None:
                if not new.rows:
                    return self.version(tenant, table)
                self._make(path.parent)
                DeltaTable.create(
                    str(path),
                    schema=schema,
                    mode="ignore",
                    partition_by=_PARTITIONS,
                    configuration={
                        **_CONFIGURATION,
                        delta_log.PROPERTY: statistics_of(schema.names),
                    },
                )
                current = DeltaTable(str(path))
            if versions:  # first of all: a single version of each event means the same either way
                keep_versions(current, source)
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
        return _rows(self._open(tenant, table, version), table, source)

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

        What a source delivered twice is there once, as it first arrived; of what it corrected, the
        last version known. With `replaced_timestamp` among the columns, all versions are there.

        Args:
            columns: names to return; all when None.
            known_at: only rows with `created_timestamp <= known_at`.

        Raises:
            IntegrityError: the version is gone, as retention has erased rows it held.
        """
        wanted = columns or SCHEMAS[table].names
        order = ["created_timestamp", "source", "event_id"]
        needed = [name for name in dict.fromkeys([*wanted, *order]) if name != REPLACED]
        known = None if known_at is None else ds.field("created_timestamp") <= pa.scalar(known_at)
        current = self._open(tenant, table, version)
        try:
            found = _rows(current, table).to_table(columns=needed, filter=known)
        except FileNotFoundError as error:
            raise _gone(tenant, table, version) from error
        ordered = found.sort_by([(name, "ascending") for name in order])
        all_versions = REPLACED in wanted
        return with_replaced(ordered, versioned(current), all_versions=all_versions).select(wanted)

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
        current = self._open(tenant, table, version)
        created, rows = ds.field("created_timestamp"), _rows(current, table)
        new = (created > pa.scalar(after)) & (created <= pa.scalar(until))
        month = ds.field("month") >= f"{after.astimezone(UTC):%Y-%m}"
        found = rows.to_table(filter=month & new)
        order = ("created_timestamp", "source", "event_id")
        found = found.sort_by([(name, "ascending") for name in order])
        found = with_replaced(found, versioned(current)).select(SCHEMAS[table].names)
        if not len(found):
            return found
        there = (created <= pa.scalar(after)) & ds.field("event_id").isin(found["event_id"])
        earlier = rows.to_table(columns=["source", "event_id"], filter=there)
        return without(found, earlier) if len(earlier) else found

    def versioned(
        self, tenant: TenantRef, table: str, version: int | None = None
    ) -> tuple[str, ...]:
        """The sources of whose events the table has all versions."""
        return versioned(self._open(tenant, table, version))

    def corrects(
        self, tenant: TenantRef, table: str, after: datetime, until: datetime, version: int
    ) -> bool:
        """Whether something known at `after` was replaced in `(after, until]`."""
        current = self._open(tenant, table, version)
        return corrects(_rows(current, table), versioned(current), after, until)

    def same_until(
        self, tenant: TenantRef, table: str, one: int, other: int, known_at: datetime
    ) -> bool:
        """Whether no row known at an instant came or went between two versions, by their files.

        False also where one of the versions is gone.
        """
        try:
            first, second = (
                upkeep.arrivals(self._open(tenant, table, version)) for version in (one, other)
            )
        except IntegrityError:
            return False
        changed = upkeep.changed(self._table(tenant, table), one, other)
        if changed is None:
            changed = dict.fromkeys(first.keys() ^ second.keys())
        arrived = {path: at or upkeep.UNKNOWN for path, at in changed.items()} | first | second
        return all(arrived[path] > known_at for path in changed)

    def compact(self, tenant: TenantRef, table: str, before: datetime) -> int:
        """Put small files of the months before an instant together; by how many there are fewer.

        A new version with the same rows. Called again it changes nothing.
        """
        current = self._open(tenant, table)
        return 0 if current is None else upkeep.compact(current, f"{before.astimezone(UTC):%Y-%m}")

    def vacuum(self, tenant: TenantRef, table: str, named: Collection[int], since: datetime) -> int:
        """Delete files that only versions without a name need, see `upkeep.vacuum`; how many."""
        return upkeep.vacuum(self._table(tenant, table), named, since)

    def sources(self, tenant: TenantRef, table: str) -> dict[str, int]:
        """Rows of each source that the table holds rows of."""
        current = self._open(tenant, table)
        return {} if current is None else sources.rows_of_each(current)

    def rename_source(self, tenant: TenantRef, table: str, former: str, name: str) -> int:
        """Let a source have the rows that came by a former name of its, in one commit.

        What it has by its own name already stays as it is. Called again it changes nothing.

        Returns:
            how many rows there were by the former name.
        """
        current = self._open(tenant, table)
        return 0 if current is None else sources.rename(current, SCHEMAS[table], former, name)

    def keep_sources(self, tenant: TenantRef, table: str, names: Collection[str]) -> dict[str, int]:
        """Take the rows of all other sources out of the newest version; older ones keep them.

        Returns:
            how many rows went, by source; without any there is no new version.
        """
        current = self._open(tenant, table)
        return {} if current is None else sources.keep(current, names)

    def forget(
        self, tenant: TenantRef, table: str, before: datetime, *, unread: bool = False
    ) -> int:
        """Delete the rows that arrived earlier; returns how many there were.

        Files of older versions that hold such a row go a week after it did; versions that need
        them cannot be read from then on. Every other file of an older version stays.

        Args:
            unread: nobody reads the table any more, so that those files go at once.
        """
        current, before = self._open(tenant, table), before.astimezone(UTC)
        if current is None:
            return 0
        created = ds.field("created_timestamp") < pa.scalar(before)
        rows = int(current.to_pyarrow_dataset().filter(created).count_rows())
        if rows:
            # first of all: whoever is killed in between has said too much rather than too little
            note = {delta_log.ERASED: before.isoformat()}
            current.alter.set_table_properties(note, raise_if_not_exists=False)
            current.delete(
                f"month <= '{before:%Y-%m}' AND created_timestamp < '{before.isoformat()}'"
            )
        for path in upkeep.unread_files(self._table(tenant, table), current, at_once=unread):
            if holds_older(path, before):
                path.unlink(missing_ok=True)
        return rows

    def erased_since(self, tenant: TenantRef, table: str, read: int) -> datetime | None:
        """Until which arrival rows have been erased since a version was read; None if none were.

        What the newest version tells of the time before is then not what that one told.
        """
        current = self._open(tenant, table)
        told = None if current is None else current.metadata().configuration.get(delta_log.ERASED)
        if told is None or read == -1:
            return None
        try:
            then = self._open(tenant, table, read)
        except IntegrityError:  # its entry of the log is gone, so it is old
            then = None
        before = None if then is None else then.metadata().configuration.get(delta_log.ERASED)
        return None if before == told else datetime.fromisoformat(told)

    def forget_facts(
        self, tenant: TenantRef, table: str, events: str, before: datetime, *, unread: bool = False
    ) -> int:
        """Delete the facts that have had their time, see `facts.outdated`; returns how many.

        Files of older versions that hold one go as in `forget`.

        Args:
            events: the table whose events say which users and accounts there are.
        """
        current, before = self._open(tenant, table), before.astimezone(UTC)
        if current is None:
            return 0
        rows = current.to_pyarrow_dataset(schema=SCHEMAS[table])
        columns = {"user": "user_id", "account": "account_id"}
        seen = {kind: self._ids(tenant, events, column) for kind, column in columns.items()}
        old = facts.outdated(rows, seen, before)
        places = old.group_by(["source", "month"]).aggregate([]).to_pylist()
        for place in sorted(places, key=lambda one: (one["source"], one["month"])):
            there = (ds.field("source") == place["source"]) & (ds.field("month") == place["month"])
            kept = without(rows.to_table(filter=there), old)
            write_deltalake(
                current,
                kept,
                mode="overwrite",
                predicate=f"source = '{place['source']}' AND month = '{place['month']}'",
            )
        if places:
            rows = current.to_pyarrow_dataset(schema=SCHEMAS[table])
        unneeded = upkeep.unread_files(self._table(tenant, table), current, at_once=unread)
        if unneeded:
            early = ds.field("created_timestamp") < pa.scalar(before)
            there = rows.to_table(columns=["source", "event_id"], filter=early)
            for path in unneeded:
                if holds_others(path, there, before):
                    path.unlink(missing_ok=True)
        return len(old)

    def _ids(self, tenant: TenantRef, table: str, column: str) -> pa.Array:
        """The ids that a column of the newest version holds."""
        found: set[str | None] = set()
        for batch in self.dataset(tenant, table).to_batches(columns=[column]):
            found.update(pc.unique(batch.column(0)).to_pylist())
        return pa.array(sorted(one for one in found if one is not None), pa.string())

    # tables as plain files

    def put_table(self, tenant: TenantRef, path: str, table: pa.Table) -> StoredObject:
        """Write a Parquet file of the tenant's; equal tables give equal bytes."""
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        return self.put(tenant, path, sink.getvalue().to_pybytes(), table.num_rows)

    def get_table(self, tenant: TenantRef, stored: StoredObject) -> pa.Table:
        """The Parquet file as a table, digest checked first."""
        return pq.read_table(pa.BufferReader(self.get(tenant, stored)))

    def _table(self, tenant: TenantRef, table: str) -> Path:
        if table not in SCHEMAS or not NAME.fullmatch(table):
            raise ConfigError(f"unknown lake table {table!r}; known: {', '.join(SCHEMAS)}")
        return self.root / lake_table(tenant, table)

    def _open(self, tenant: TenantRef, table: str, version: int | None = None) -> DeltaTable | None:
        if version == -1:
            return None
        try:
            return DeltaTable(str(self._table(tenant, table)), version=version)
        except DeltaError as error:
            if version is not None:
                raise _gone(tenant, table, version) from error
            if isinstance(error, TableNotFoundError):
                return None
            raise


def _rows(current: DeltaTable | None, table: str, source: str | None = None) -> ds.Dataset:
    if current is None:
        return ds.dataset(SCHEMAS[table].empty_table())
    files = None if source is None else [("source", "=", source)]
    return current.to_pyarrow_dataset(schema=SCHEMAS[table], file_pruning_predicate=files)


def _gone(tenant: TenantRef, table: str, version: int | None) -> IntegrityError:
    return IntegrityError(
        f"version {version} of {tenant.id}'s {table} cannot be read any more: files of it are gone."
        " What the tenant's retention erased is in no older version either; use the newest one"
    )


def _version(tenant: TenantRef, table: str, current: DeltaTable | None) -> TableVersion:
    version, rows = (-1, 0) if current is None else (current.version(), current.count())
    return TableVersion(tenant.id, table, version, rows, schema_fingerprint(SCHEMAS[table]))
