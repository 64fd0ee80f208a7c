"""Parquet, with `where` and the interval pushed down to the reader."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import fsspec
import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow.fs import FSSpecHandler, PyFileSystem

from include.errors import SourceError
from include.handoffs import Interval
from include.ingestion.columns import ENDS, require
from include.ingestion.conditions import is_integer, listed
from include.ingestion.lines import NOT_UTF8
from include.ingestion.text_files import unparsed
from include.tenants.config import Source

_BATCH_ROWS: Final = 65_536


def read_parquet(
    fs: fsspec.AbstractFileSystem,
    paths: Sequence[str],
    source: Source,
    columns: list[str],
    interval: Interval,
) -> Iterator[pa.Table]:
    """Tables of the columns, without most rows that cannot be the interval's."""
    try:
        dataset = ds.dataset(
            list(paths), format="parquet", filesystem=PyFileSystem(FSSpecHandler(fs))
        )
        require(columns, dataset.schema.names, paths[0])
        scanner = dataset.scanner(
            columns=columns,
            filter=_pushed_down(source, dataset.schema, interval),
            batch_size=_BATCH_ROWS,
            batch_readahead=2,
            fragment_readahead=1,
        )
        for batch in scanner.to_batches():
            if batch.num_rows:
                plain = [_plain(column) for column in batch.columns]
                yield from _texts_checked(pa.table(plain, batch.schema.names))
    except (pa.ArrowException, OSError) as error:
        raise SourceError(f"{paths[0]}: cannot be read as Parquet: {error}") from error


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


def _plain(column: pa.Array) -> pa.Array:
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
