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

from include.ingestion.corrections import POSITION, CorrectionRule
from include.storage.scratch import PLATFORM
from include.storage.slices import BATCH_ROWS, FEW, Spool

_ORDER: Final = ("created_timestamp", "event_id")
#: Rows of the slice that the source gives no more.
_REMAINED: Final = """
    CREATE TABLE remained AS SELECT * FROM there
    ANTI JOIN mapped USING (event_id, created_timestamp)
"""
#: Whether what remained has ids made of other columns: none is read, and its rows are by new ids.
_RENUMBERED: Final = """
    SELECT NOT EXISTS (FROM remained SEMI JOIN mapped USING (event_id)) AND EXISTS (
        FROM (SELECT created_timestamp, {said} AS said FROM remained)
        SEMI JOIN (SELECT created_timestamp, {said} AS said FROM mapped)
        USING (created_timestamp, said)
    )
"""
#: Rows whose id stands more than once, in the slice or before it. Hashes find the few candidates,
#: so that not every id has to be held.
_POOL: Final = """
    CREATE TABLE suspects AS
    SELECT hash(event_id) AS id_hash FROM mapped GROUP BY id_hash HAVING count(*) > 1
    UNION SELECT hash(event_id) FROM mapped SEMI JOIN known USING (event_id)
    UNION SELECT hash(event_id) FROM remained;
    CREATE TABLE pool AS
    SELECT {columns}, position, 1 AS origin FROM mapped
    SEMI JOIN suspects ON hash(mapped.event_id) = suspects.id_hash
    UNION ALL SELECT {columns}, NULL, 0 FROM remained
"""
_EARLIER: Final = """
    INSERT INTO pool SELECT {columns}, NULL, -1 FROM earlier
    SEMI JOIN (SELECT DISTINCT event_id FROM pool) USING (event_id)
"""
#: What was there stays as it is; of the others, the first arrival where nothing was there.
_FIRST_STAYS: Final = """
    CREATE TABLE judged AS SELECT {columns}, position, origin, CASE
        WHEN origin < 1 OR row_number() OVER ids = 1 THEN 'kept'
        WHEN {said} IS NOT DISTINCT FROM first_value({said}) OVER ids THEN 'repeated'
        ELSE 'changed' END AS verdict
    FROM pool
    WINDOW ids AS (
        PARTITION BY event_id ORDER BY origin = 1,
            CASE WHEN origin = 1 THEN created_timestamp END,
            created_timestamp DESC, position
    )
"""
#: Every row stays that says something else than the one before; of one instant, the first read.
_VERSIONS_STAY: Final = """
    CREATE TABLE judged AS WITH told AS (
        SELECT *, {said} AS said, row_number() OVER instants AS turn,
            first_value({said}) OVER instants AS first_said
        FROM pool WINDOW instants AS (
            PARTITION BY event_id, created_timestamp ORDER BY origin, position
        )
    ), chain AS (
        SELECT *, lag(said) OVER ids AS said_before, lag(created_timestamp) OVER ids AS known_before
        FROM told WHERE turn = 1
        WINDOW ids AS (PARTITION BY event_id ORDER BY created_timestamp)
    )
    SELECT {columns}, position, origin, CASE
        WHEN known_before IS NULL OR said IS DISTINCT FROM said_before OR {hole} THEN 'kept'
        ELSE 'repeated' END AS verdict
    FROM chain
    UNION ALL SELECT {columns}, position, origin, CASE
        WHEN said IS NOT DISTINCT FROM first_said THEN 'repeated' ELSE 'changed' END
    FROM told WHERE turn > 1
"""
_KEPT: Final = """
    SELECT {columns} FROM mapped
    ANTI JOIN (FROM judged WHERE origin = 1 AND verdict <> 'kept') USING (position)
    UNION ALL SELECT {columns} FROM judged WHERE origin = 0 AND verdict = 'kept'
"""
_CHANGED: Final = """
    SELECT {columns}, position FROM judged WHERE origin = 1 AND verdict = 'changed'
"""
_REPEATED: Final = "SELECT count(*) FROM judged WHERE origin = 1 AND verdict = 'repeated'"


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


@dataclass(frozen=True)
class Sifted:
    """What became of the rows of a slice."""

    kept: Sorted  #: all that the table is to hold of the slice
    repeated: int  #: rows read that say what another one says
    changed: Sorted  #: rows read that say something else, to be set aside; with their position


class SliceSpool(Spool):
    """Mapped rows of one slice, in the order they were read."""

    def __init__(self, schema: pa.Schema, few: int = FEW, owner: str = PLATFORM) -> None:
        super().__init__(schema.append(pa.field(POSITION, pa.int64())), few, owner)
        self._mapped = schema

    def add(self, rows: pa.Table, positions: pa.Array | None = None) -> None:
        """Add rows of the canonical schema, in ascending positions in what is read."""
        if positions is None:
            positions = pa.array(range(self.rows, self.rows + len(rows)), pa.int64())
        rows = rows.select(self._mapped.names)
        self.write(rows.append_column(self.schema.field(-1), positions))

    def sifted(self, earlier: ds.Dataset, there: ds.Dataset, rule: CorrectionRule) -> Sifted:
        """Each event id once, at its first arrival; or each of its versions, if the rule says so.

        Args:
            earlier: rows that the source delivered before this slice.
            there: rows of this slice that stay although the source gives them no more, unless their
                ids are made of other columns than those of the rows.
        """
        if self.in_memory and (alone := self._few_alone(earlier, there)) is not None:
            return Sifted(Sorted(alone, self._mapped), 0, Sorted(self.table()[:0], self.schema))
        columns = ", ".join(f'"{name}"' for name in self._mapped.names)
        with duckdb_in(self.folder) as db:
            db.execute("SET timezone = 'UTC'")
            if self.in_memory:
                db.register("mapped", self.table())
            else:
                db.execute(f"CREATE VIEW mapped AS FROM read_parquet({_one_file(self.file())})")
            db.register("known", streamed(earlier, ["event_id"]))
            db.register("there", streamed(there, self._mapped.names))
            (remained,) = db.execute(_REMAINED).fetchall()[0]
            if rule.values and remained and remained == there.count_rows():
                ((renumbered,),) = db.execute(_RENUMBERED.format(said=rule.said)).fetchall()
                if renumbered:
                    db.execute("TRUNCATE remained")
            db.execute(_POOL.format(columns=columns))
            if db.execute("FROM pool LIMIT 1").fetchall():
                db.register("earlier", streamed(earlier, self._mapped.names))
                db.execute(_EARLIER.format(columns=columns))
            judged = _VERSIONS_STAY if rule.versions else _FIRST_STAYS
            db.execute(judged.format(columns=columns, said=rule.said, hole=rule.hole))
            kept = write_sorted(db, _KEPT.format(columns=columns), self.folder, self._mapped)
            changed = write_sorted(
                db, _CHANGED.format(columns=columns), self.folder, self.schema, "changed"
            )
            repeated = db.execute(_REPEATED).fetchall()[0][0]
        return Sifted(kept, int(repeated), changed)

    def _few_alone(self, earlier: ds.Dataset, there: ds.Dataset) -> pa.Table | None:
        """The rows in order, where none has an id that is there already; else None."""
        rows = self.table()
        ids = rows["event_id"].combine_chunks()
        if pc.count_distinct(ids).as_py() < len(rows) or there.head(1).num_rows:
            return None
        if len(rows) and earlier.filter(ds.field("event_id").isin(ids)).head(1).num_rows:
            return None
        ordered = rows.sort_by([(name, "ascending") for name in (*_ORDER, POSITION)])
        return ordered.select(self._mapped.names)


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
    connection: duckdb.DuckDBPyConnection,
    query: str,
    folder: Path,
    schema: pa.Schema,
    name: str = "sorted",
) -> Sorted:
    """The query's rows in a file of the folder."""
    target = folder / f"{name}.parquet"
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
