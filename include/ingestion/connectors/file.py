"""Files on disk, in an installed package, behind a URL or in a bucket, read batch by batch."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from include.handoffs import Interval
from include.ingestion.opening import Opener
from include.ingestion.parquet_files import read_parquet
from include.ingestion.rows import BlockEnd, LeftOut, Unread
from include.ingestion.text_files import read_csv, read_jsonl
from include.ingestion.wanted import Presence, Wanted
from include.tenants.config import Source
from include.tenants.connectors import FileConnector

DECIDES_WHERE = False


def read(
    source: Source,
    connector: FileConnector,
    wanted: Wanted,
    interval: Interval,
    opener: Opener,
) -> Iterator[pa.Table | Unread | LeftOut | BlockEnd]:
    """Tables of the source's columns, and the records that are none.

    Rows outside the interval may be among them: of Parquet, row groups without others are left out
    while reading; of text, blocks that were read before and are known to have no others.

    Raises:
        IsolationError: the tenant may not read from there.
        SourceError: no such file, column or package, or more than its limits allow.
    """
    limits, presence, survey = opener.limits, Presence(wanted), opener.survey
    files = opener.files(connector.path, connector.format)
    if connector.format == "jsonl":
        yield from read_jsonl(files, presence, connector, limits.columns, survey)
    else:
        for name, file in files:
            if connector.format == "parquet":
                yield from read_parquet(file, name, source, presence, interval, limits)
            else:
                yield from read_csv(file, name, presence, connector, limits.columns, survey)
    presence.finish()
