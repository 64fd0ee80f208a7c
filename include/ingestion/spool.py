"""One slice on its way to the lake: spooled, then in order and without what came before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from include.storage.scratch import PLATFORM
from include.storage.slices import BATCH_ROWS, FEW, Spool

_POSITION: Final = "position"
_ORDER: Final = ("created_timestamp", "event_id")
#: Rows of a slice that another row of it, or an earlier slice, has made superfluous. Hashes find
#: the few candidates, so that not every id has to be held.
_DROPPED: Final = """
    CREATE TABLE dropped AS
    WITH repeated AS (
        SELECT hash(event_id) AS id_hash FROM mapped GROUP BY id_hash HAVING count(*) > 1
    ), ranked AS (
        SELECT position, row_number() OVER (
            PARTITION BY event_id ORDER BY created_timestamp, position
        ) AS place
        FROM mapped SEMI JOIN repeated ON hash(mapped.event_id) = repeated.id_hash
    )
    SELECT position FROM ranked WHERE place > 1
    UNION
    SELECT position FROM mapped SEMI JOIN earlier USING (event_id)
"""


@dataclass(frozen=True)
class Sorted:
    """Rows ordered by `(created_timestamp, event_id)`, in memory or in a file."""

    content: pa.Table | Path
    schema: pa.Schema

    @property
    def rows(self) -> int:
        """How many."""
        return self.count(ds.scalar(True))

    def count(self, condition: ds.Expression) -> int:
        """How many meet a condition."""
        if isinstance(self.content, Path):
            return int(ds.dataset(self.content, schema=self.schema).count_rows(condition))
        return int(self.content.filter(condition).num_rows)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, in order."""
        if not isinstance(self.content, Path):
            yield from self.content.to_batches(max_chunksize=BATCH_ROWS)
            return
        with pq.ParquetFile(self.content) as file:
            for batch in file.iter_batches(BATCH_ROWS):
                yield batch.cast(self.schema)


class SliceSpool(Spool):
    """Mapped rows of one slice, in the order they were read."""

    def __init__(self, schema: pa.Schema, few: int = FEW, owner: str = PLATFORM) -> None:
        super().__init__(schema.append(pa.field(_POSITION, pa.int64())), few, owner)
        self._mapped = schema

    def add(self, rows: pa.Table) -> None:
        """Add rows of the canonical schema."""
        position = pa.array(range(self.rows, self.rows + len(rows)), pa.int64())
        self.write(rows.select(self._mapped.names).append_column(self.schema.field(-1), position))

    def sorted_once(self, earlier: ds.Dataset) -> Sorted:
        """Each event id once, at its first arrival; of several at once, as it was read first.

        Args:
            earlier: rows that the source delivered before this slice; their ids are dropped.
        """
        if self.in_memory:
            return Sorted(self._few_once(earlier), self._mapped)
        columns = ", ".join(f'"{name}"' for name in self._mapped.names)
        with duckdb_in(self.folder) as connection:
            connection.execute(f"CREATE VIEW mapped AS FROM read_parquet({_one_file(self.file())})")
            connection.register("earlier", streamed(earlier, ["event_id"]))
            connection.execute(_DROPPED)
            return write_sorted(
                connection,
                f"SELECT {columns} FROM mapped ANTI JOIN dropped USING (position)",  # noqa: S608
                self.folder,
                self._mapped,
            )

    def _few_once(self, earlier: ds.Dataset) -> pa.Table:
        rows = self.table()
        if not len(rows):
            return rows.select(self._mapped.names)
        known = earlier.scanner(
            columns=["event_id"],
            filter=ds.field("event_id").isin(rows["event_id"].combine_chunks()),
        ).to_table()["event_id"]
        rows = rows.filter(pc.invert(pc.is_in(rows["event_id"], value_set=known.combine_chunks())))
        rows = rows.sort_by([(name, "ascending") for name in (*_ORDER, _POSITION)])
        if pc.count_distinct(rows["event_id"]).as_py() < len(rows):
            place = pa.array(range(len(rows)), pa.int64())
            first = rows.select(["event_id"]).append_column("place", place).group_by("event_id")
            rows = rows.take(first.aggregate([("place", "min")])["place_min"].sort())
        return rows.select(self._mapped.names)


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
        columns=columns, batch_size=BATCH_ROWS, batch_readahead=1, fragment_readahead=1
    )
    return scanner.to_reader()


def write_sorted(
    connection: duckdb.DuckDBPyConnection, query: str, folder: Path, schema: pa.Schema
) -> Sorted:
    """The query's rows in `sorted.parquet` of the folder."""
    target = folder / "sorted.parquet"
    connection.execute(
        f"COPY ({query} ORDER BY {', '.join(_ORDER)}) "
        f"TO {_quoted(str(target))} (FORMAT parquet, ROW_GROUP_SIZE {BATCH_ROWS})"
    )
    return Sorted(target, schema)


def _one_file(path: Path) -> str:
    """A path as DuckDB reads it: nothing in it is a pattern for other files."""
    return _quoted("".join(f"[{sign}]" if sign in "*?[" else sign for sign in str(path)))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
