"""Files on disk, in an installed package, behind a URL or in a bucket, read batch by batch."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from include.handoffs import Interval
from include.ingestion.opening import Opener
from include.ingestion.parquet_files import read_parquet
from include.ingestion.text_files import read_csv, read_jsonl
from include.tenants.config import Source
from include.tenants.connectors import FileConnector


def read(
    source: Source,
    connector: FileConnector,
    columns: list[str],
    interval: Interval,
    opener: Opener,
) -> Iterator[pa.Table]:
    """Tables of the source's columns; unparsed lines come in tables of their own.

    Rows outside the interval may be among them: only Parquet can leave them out while reading.

    Raises:
        IsolationError: the tenant may not read from there.
        SourceError: no such file, column or package, or more than its limits allow.
    """
    limits = opener.limits
    files = opener.files(connector.path, connector.format)
    if connector.format == "jsonl":
        yield from read_jsonl(files, columns, limits.columns)
        return
    for name, file in files:
        if connector.format == "parquet":
            yield from read_parquet(file, name, source, columns, interval, limits)
        else:
            yield from read_csv(file, name, columns, limits.columns)
