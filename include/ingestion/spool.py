"""One slice on its way to the lake: spooled to disk, then sorted without duplicates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from include.ingestion.mapping import ROW

_BATCH_ROWS: Final = 65_536
#: Rows of a slice that another row of it, or an earlier slice, has made superfluous. Hashes find
#: the few candidates, so that not every id has to be held; which of several equal arrivals stays
#: is arbitrary, but does not depend on the order of reading.
_DROPPED: Final = """
    CREATE TABLE dropped AS
    WITH repeated AS (
        SELECT hash(event_id) AS id_hash FROM mapped GROUP BY id_hash HAVING count(*) > 1
    ), ranked AS (
        SELECT position, row_number() OVER (
            PARTITION BY event_id ORDER BY created_timestamp, hash({columns}), position
        ) AS place
        FROM mapped SEMI JOIN repeated ON hash(mapped.event_id) = repeated.id_hash
    )
    SELECT position FROM ranked WHERE place > 1
    UNION
    SELECT position FROM mapped SEMI JOIN earlier USING (event_id)
"""


@dataclass(frozen=True)
class Sorted:
    """Rows ordered by `(created_timestamp, event_id)`, in a file."""

    path: Path
    schema: pa.Schema

    @property
    def rows(self) -> int:
        """How many."""
        return int(pq.ParquetFile(self.path).metadata.num_rows)

    def count(self, condition: ds.Expression) -> int:
        """How many meet a condition."""
        return int(ds.dataset(self.path, schema=self.schema).count_rows(condition))

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, in order."""
        for batch in pq.ParquetFile(self.path).iter_batches(_BATCH_ROWS):
            yield batch.cast(self.schema)


class Spool:
    """Mapped rows of one slice in a temporary folder; memory holds one batch."""

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self._folder = folder
        self._schema = schema
        self._file = folder / "mapped.parquet"
        self._writer = pq.ParquetWriter(self._file, schema.append(pa.field(ROW, pa.int64())))
        self.rows = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._writer.close()

    def write(self, rows: pa.Table) -> None:
        """Add rows of the canonical schema and `ROW`."""
        if len(rows):
            self._writer.write_table(rows, row_group_size=_BATCH_ROWS)
            self.rows += len(rows)

    def sorted_once(self, earlier: ds.Dataset) -> Sorted:
        """Each event id once, at its first arrival.

        Args:
            earlier: rows of the same source that arrived before this slice; their ids are dropped.
        """
        self._writer.close()
        columns = ", ".join(f'"{name}"' for name in self._schema.names)
        with duckdb_in(self._folder) as connection:
            connection.execute(
                f'CREATE VIEW mapped AS SELECT {columns}, "{ROW}" AS position '  # noqa: S608
                f"FROM read_parquet('{self._file}')"
            )
            connection.register("earlier", streamed(earlier, ["event_id"]))
            connection.execute(_DROPPED.format(columns=columns))
            return write_sorted(
                connection,
                f"SELECT {columns} FROM mapped ANTI JOIN dropped USING (position)",  # noqa: S608
                self._folder,
                self._schema,
            )


@contextmanager
def duckdb_in(folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB of bounded memory that spills into the folder."""
    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": "false",
        "memory_limit": "400MB",
        "preserve_insertion_order": "false",
        "temp_directory": str(folder / "spill"),
        "threads": "2",
    }
    with duckdb.connect(config=config) as connection:
        yield connection


def streamed(rows: ds.Dataset, columns: list[str]) -> pa.RecordBatchReader:
    """Columns of a dataset, read once and no further ahead than needed."""
    scanner = rows.scanner(
        columns=columns, batch_size=_BATCH_ROWS, batch_readahead=1, fragment_readahead=1
    )
    return scanner.to_reader()


def write_sorted(
    connection: duckdb.DuckDBPyConnection, query: str, folder: Path, schema: pa.Schema
) -> Sorted:
    """The query's rows in `sorted.parquet` of the folder."""
    target = folder / "sorted.parquet"
    connection.execute(
        f"COPY ({query} ORDER BY created_timestamp, event_id) "
        f"TO '{target}' (FORMAT parquet, ROW_GROUP_SIZE {_BATCH_ROWS})"
    )
    return Sorted(target, schema)
