"""One slice on its way to the lake: spooled to disk, then sorted without duplicates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from include.ingestion.mapping import ROW

_BATCH_ROWS: Final = 65_536


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

    def sorted_once(self, earlier: ds.Dataset) -> tuple[int, Iterator[pa.RecordBatch]]:
        """How many rows remain, and the rows: each event id once, at its first arrival.

        Ordered by `(created_timestamp, event_id)`.

        Args:
            earlier: rows of the same source that arrived before this slice; their ids are dropped.
        """
        self._writer.close()
        target = self._folder / "sorted.parquet"
        columns = ", ".join(f'mapped."{name}"' for name in self._schema.names)
        with duckdb.connect(
            config={
                "autoinstall_known_extensions": "false",
                "memory_limit": "512MB",
                "temp_directory": str(self._folder / "spill"),
                "threads": "2",
            }
        ) as connection:
            connection.register("mapped", ds.dataset(self._file))
            connection.register("earlier", earlier)
            connection.execute(
                f'CREATE TABLE kept AS SELECT arg_min("{ROW}", (created_timestamp, "{ROW}")) '  # noqa: S608
                f'AS "{ROW}" FROM mapped ANTI JOIN earlier USING (event_id) GROUP BY event_id'
            )
            connection.execute(
                f'COPY (SELECT {columns} FROM mapped JOIN kept USING ("{ROW}") '  # noqa: S608
                f"ORDER BY created_timestamp, event_id) TO '{target}' (FORMAT parquet)"
            )
        file = pq.ParquetFile(target)
        batches = (batch.cast(self._schema) for batch in file.iter_batches(_BATCH_ROWS))
        return file.metadata.num_rows, batches
