"""All rows of a source in a lake table: counted, put under another name, or taken out."""

from __future__ import annotations

from collections.abc import Collection

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from deltalake import DeltaTable, write_deltalake

from include.errors import ConfigError
from include.storage.slices import BATCH_ROWS, Spool
from include.storage.versions import keep_versions, versioned
from include.tenants.namespace import NAME


def rows_of_each(table: DeltaTable) -> dict[str, int]:
    """How many rows each source has, without those that have none."""
    files = pa.table(table.get_add_actions(flatten=True))
    rows = table.to_pyarrow_dataset()
    counts = {
        name: int(rows.filter(ds.field("source") == name).count_rows())
        for name in sorted(pc.unique(files["partition.source"]).to_pylist())
    }
    return {name: count for name, count in counts.items() if count}


def rename(table: DeltaTable, schema: pa.Schema, former: str, name: str) -> int:
    """Write the former source's rows once more as the other's, and it is gone, in one commit.

    Where both have an id, the row stays that has the name already; of an id's versions, where both
    have one of an instant.
    """
    both = _among([former, name])
    rows = table.to_pyarrow_dataset(schema=schema)
    before = rows.filter(ds.field("source") == former)
    if not (count := int(before.count_rows())):
        return 0
    own = rows.filter(ds.field("source") == name)
    if versions := former in versioned(table):
        keep_versions(table, name)
    columns = ", ".join(
        f"'{name}' AS source" if column == "source" else f'"{column}"' for column in schema.names
    )
    with Spool(schema) as renamed, duckdb.connect() as connection:
        connection.execute("SET autoinstall_known_extensions = false")
        connection.execute("SET memory_limit = '400MB'")
        connection.execute("SET timezone = 'UTC'")
        connection.execute(f"SET temp_directory = '{renamed.folder}'")
        keys = ["event_id", "created_timestamp"] if versions else ["event_id"]
        connection.register("own", own.scanner(columns=keys).to_reader())
        connection.register("before", before.scanner(batch_size=BATCH_ROWS).to_reader())
        new: pa.RecordBatchReader = connection.sql(
            f"SELECT {columns} FROM before ANTI JOIN own USING ({', '.join(keys)})"  # noqa: S608
        ).to_arrow_reader(BATCH_ROWS)
        for batch in new:
            renamed.write(pa.Table.from_batches([batch]).cast(schema))
        for batch in own.to_batches():
            renamed.write(pa.Table.from_batches([batch]).cast(schema))
        write_deltalake(
            table,
            pa.RecordBatchReader.from_batches(schema, renamed.batches()),
            mode="overwrite",
            predicate=both,
            target_file_size=128 * 1024 * 1024,
        )
    return count


def keep(table: DeltaTable, names: Collection[str]) -> dict[str, int]:
    """Delete the rows of all other sources; how many each had."""
    others = {name: rows for name, rows in rows_of_each(table).items() if name not in names}
    if others:
        table.delete(_among(others))
    return others


def _among(names: Collection[str]) -> str:
    """Rows of the sources, in Delta's SQL; a name that has matched needs no quoting."""
    for name in names:
        if not NAME.fullmatch(name):
            raise ConfigError(f"source {name[:60]!r} must match {NAME.pattern}")
    return " OR ".join(f"source = '{name}'" for name in names)
