"""Parquet, with `where` and the interval pushed down to the reader."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import fsspec
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow.fs import FSSpecHandler, PyFileSystem

from include.errors import SourceError
from include.handoffs import Interval
from include.ingestion.columns import ENDS, require
from include.ingestion.conditions import is_integer, listed
from include.ingestion.lines import NOT_UTF8
from include.ingestion.text_files import unparsed
from include.tenants.config import Source

_BATCH_ROWS: Final = 65_536
_BUFFER_BYTES: Final = 1 << 20  #: of each column, held while reading


def read_parquet(
    fs: fsspec.AbstractFileSystem,
    paths: Sequence[str],
    source: Source,
    columns: list[str],
    interval: Interval,
) -> Iterator[pa.Table]:
    """Tables of the columns, without most rows that cannot be the interval's."""
    for path in paths:
        try:
            yield from _read_one(fs, path, source, columns, interval)
        except (pa.ArrowException, OSError) as error:
            raise SourceError(f"{path}: cannot be read as Parquet: {error}") from error


def _read_one(
    fs: fsspec.AbstractFileSystem,
    path: str,
    source: Source,
    columns: list[str],
    interval: Interval,
) -> Iterator[pa.Table]:
    """One file, decoded page by page: a scanner would decode a row group as a whole."""
    dataset = ds.dataset([path], format="parquet", filesystem=PyFileSystem(FSSpecHandler(fs)))
    require(columns, dataset.schema.names, path)
    wanted = _pushed_down(source, dataset.schema, interval)
    (fragment,) = dataset.get_fragments()
    groups = [
        group.id
        for group in (fragment.subset(wanted) if wanted is not None else fragment).row_groups
    ]
    with (
        fs.open(path, "rb") as opened,
        pq.ParquetFile(opened, buffer_size=_BUFFER_BYTES, pre_buffer=False) as file,
    ):
        for batch in file.iter_batches(_BATCH_ROWS, row_groups=groups, columns=columns):
            rows = pa.Table.from_batches([batch]).select(columns)
            rows = rows if wanted is None else rows.filter(wanted)
            if len(rows):
                plain = [_plain(column) for column in rows.combine_chunks().columns]
                yield from _texts_checked(pa.table(plain, columns))


def _pushed_down(source: Source, schema: pa.Schema, interval: Interval) -> ds.Expression | None:
    """What can be decided while reading; it keeps too many rows rather than too few.

    That is `where`, if the column has the type of its values, and the interval, if one column of
    instants tells the arrival.
    """
    conditions = []
    for name, wanted in source.where.items():
        kind, values = schema.field(name).type, listed(wanted)
        if pa.types.is_signed_integer(kind) and all(map(is_integer, values)):
            there = ds.field(name).cast(pa.int64())
            conditions.append(there.isin(pa.array(values, pa.int64())))
        elif pa.types.is_string(kind) and all(isinstance(value, str) for value in values):
            conditions.append(ds.field(name).isin(pa.array(values, pa.string())))
    mapping = source.events
    column = mapping and (mapping.arrival.column or mapping.event_timestamp)
    if mapping and column and pa.types.is_timestamp(schema.field(column).type):
        kind = schema.field(column).type
        # Local times are at most 14 hours off; the mapping looks again.
        slack = timedelta(0) if kind.tz or mapping.timezone == "UTC" else timedelta(days=1)
        delay = mapping.arrival.delay
        when = ds.field(column)
        start, end = interval.start - delay - slack, interval.end - delay + slack
        within = (when >= _as(kind, start)) & (when < _as(kind, end))
        # Rows without a usable instant stay: they have to be set aside with a reason.
        first, last = _as(kind, ENDS[0] + slack), _as(kind, ENDS[1] - delay - slack)
        conditions.append(within | when.is_null() | (when < first) | (when >= last))
    found: ds.Expression | None = None
    for condition in conditions:
        found = condition if found is None else found & condition
    return found


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Text and categories in their one plain form."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _plain(column.cast(kind.value_type))
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return column.cast(pa.string())
    return column


def _as(kind: pa.DataType, instant: datetime) -> pa.Scalar:
    value = instant.astimezone(UTC) if kind.tz else instant.astimezone(UTC).replace(tzinfo=None)
    return pa.scalar(value, pa.timestamp("us", kind.tz)).cast(kind, safe=False)


def _texts_checked(table: pa.Table) -> Iterator[pa.Table]:
    """The rows whose texts are texts; Parquet's writers promise UTF-8, nobody checks it."""
    texts = [name for name in table.column_names if pa.types.is_string(table[name].type)]
    try:
        for name in texts:
            table[name].validate(full=True)
    except pa.ArrowInvalid:
        decoded = {name: table[name].cast(pa.binary()).to_pylist() for name in texts}
        good = [
            all(_is_text(decoded[name][row]) for name in texts) for row in range(table.num_rows)
        ]
        bad = [
            {name: values[row] for name, values in decoded.items()}
            for row in range(table.num_rows)
            if not good[row]
        ]
        yield table.filter(pa.array(good))
        yield from unparsed([(_shown(row), NOT_UTF8.replace("line", "row")) for row in bad])
    else:
        yield table


def _is_text(value: bytes | None) -> bool:
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


def _shown(row: dict[str, Any]) -> str:
    return ", ".join(
        f"{name}={value.decode(errors='replace')}" for name, value in row.items() if value
    )
