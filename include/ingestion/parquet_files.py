"""Parquet, with `where` and the interval pushed down to the reader."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from include.errors import SourceError
from include.handoffs import Interval
from include.ingestion.conditions import is_integer, listed
from include.ingestion.grants import SourceLimits
from include.ingestion.instants import ENDS
from include.ingestion.parquet_budget import (
    BUFFER_BYTES,
    Decoded,
    check_metadata,
    dictionaries,
    joined_batches,
    leaves_of,
    rows_at_once,
)
from include.ingestion.parquet_pages import check_footer, pages_of
from include.ingestion.plain import as_text, at_path, plain, split_path
from include.ingestion.rows import Unread
from include.ingestion.text_files import unparsed
from include.ingestion.wanted import Presence
from include.redaction import redacted
from include.tenants.config import Source

_NOT_UTF8 = "the row is not UTF-8"
_Path = tuple[str, tuple[str, ...]]  #: a column, and the way within it


def read_parquet(
    file: BinaryIO,
    name: str,
    source: Source,
    presence: Presence,
    interval: Interval,
    limits: SourceLimits,
) -> Iterator[pa.Table | Unread]:
    """Tables of the columns, without most rows that cannot be the interval's.

    Decoded page by page: a scanner would decode a row group as a whole.

    Raises:
        SourceError: it is no Parquet, lacks a column, or decodes to more than the limits allow.
    """
    try:
        check_footer(file)
        fragment = ds.ParquetFileFormat().make_fragment(file)
        check_metadata(fragment.metadata, budget := Decoded(limits, file.seek(0, os.SEEK_END)))
        schema = fragment.physical_schema
        paths = {
            column: where
            for column in presence.wanted.names
            if (where := split_path(column, schema.names)) and _leads_on(schema, *where)
        }
        presence.note([*schema.names, *paths], name)
        wanted = _pushed_down(source, schema, interval)
        groups = [
            group.id
            for group in (fragment.subset(wanted) if wanted is not None else fragment).row_groups
        ]
        yield from _read(file, fragment.metadata, groups, paths, wanted, budget)
    except (pa.ArrowException, OSError) as error:
        reason = redacted(error)[:200]
        raise SourceError(f"{name}: cannot be read as Parquet: {reason}") from None


def _read(
    stream: BinaryIO,
    metadata: pq.FileMetaData,
    groups: list[int],
    paths: Mapping[str, _Path],
    wanted: ds.Expression | None,
    budget: Decoded,
) -> Iterator[pa.Table | Unread]:
    columns = list(dict.fromkeys(column for column, _ in paths.values()))
    leaves = leaves_of(metadata, columns)
    pages = pages_of(stream, metadata, groups, leaves, budget.limits)
    budget.require(sum(one.size for one in pages.values()), "decodes to")
    texts = dictionaries(stream, metadata, groups, leaves)
    at_once = rows_at_once(metadata, groups, leaves, pages, texts, budget)
    with pq.ParquetFile(
        stream, metadata=metadata, buffer_size=BUFFER_BYTES, pre_buffer=False
    ) as file:
        batches = file.iter_batches(at_once, row_groups=groups, columns=columns)
        for batch in joined_batches(batches, budget):
            rows = pa.Table.from_batches([batch]).select(columns)
            rows = pa.table([_filterable(column) for column in rows.columns], columns)
            rows = rows if wanted is None else rows.filter(wanted)
            if len(rows):
                within = [
                    _at(rows[column].combine_chunks(), path) for column, path in paths.values()
                ]
                yield from _texts_checked(pa.table([plain(one) for one in within], list(paths)))


def _pushed_down(source: Source, schema: pa.Schema, interval: Interval) -> ds.Expression | None:
    """What can be decided while reading; it keeps too many rows rather than too few.

    That is `where`, if the column has the type of its values, and the interval, if one column of
    instants tells the arrival.
    """
    conditions = []
    for name, wanted in source.where.items():
        if name not in schema.names:  # a path into a column
            continue
        kind, values = schema.field(name).type, listed(wanted)
        if pa.types.is_signed_integer(kind) and all(map(is_integer, values)):
            there = ds.field(name).cast(pa.int64())
            conditions.append(there.isin(pa.array(values, pa.int64())))
        elif pa.types.is_string(kind) and all(isinstance(value, str) for value in values):
            conditions.append(ds.field(name).isin(pa.array(values, pa.string())))
    mapping = source.events
    column = mapping and (mapping.arrival.column or mapping.event_timestamp)
    is_column = column in schema.names
    if mapping and column and is_column and pa.types.is_timestamp(schema.field(column).type):
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


def _filterable(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Types that Arrow does not filter in their plain form."""
    kind = column.type
    views = pa.types.is_string_view(kind) or pa.types.is_binary_view(kind)
    if views or pa.types.is_run_end_encoded(kind):
        return pa.chunked_array([plain(chunk) for chunk in column.chunks] or [[]], pa.string())
    return column


def _leads_on(schema: pa.Schema, column: str, path: tuple[str, ...]) -> bool:
    """Whether there may be something at a path within a column; what lists hold, the rows tell."""
    kind = schema.field(column).type
    for part in path:
        if not pa.types.is_struct(kind):
            return bool(pa.types.is_nested(kind))
        at = kind.get_field_index(part)
        if at < 0:
            return False
        kind = kind.field(at).type
    return True


def _at(column: pa.Array, path: tuple[str, ...]) -> pa.Array:
    """What stands at a path within each value."""
    while path and pa.types.is_struct(column.type):
        column, path = pc.struct_field(column, path[0]), path[1:]
    if not path:
        return column
    values = column.to_pylist(maps_as_pydicts="lossy")
    return pa.array([as_text(at_path(value, path)) for value in values], pa.string())


def _as(kind: pa.DataType, instant: datetime) -> pa.Scalar:
    value = instant.astimezone(UTC) if kind.tz else instant.astimezone(UTC).replace(tzinfo=None)
    return pa.scalar(value, pa.timestamp("us", kind.tz)).cast(kind, safe=False)


def _texts_checked(table: pa.Table) -> Iterator[pa.Table | Unread]:
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
        yield from unparsed([(_shown(row), _NOT_UTF8) for row in bad])
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
