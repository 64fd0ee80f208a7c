"""What single data files of a table hold, whichever versions of the table need them."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq


def holds_older(path: Path, before: datetime) -> bool:
    """Whether a data file has a row that arrived before; a broken one may have."""
    month, last = path.parent.name.removeprefix("month="), f"{before:%Y-%m}"
    if month != last:
        return month < last
    try:
        with pq.ParquetFile(path) as file:
            created = file.read(["created_timestamp"])["created_timestamp"]
    except (OSError, pa.ArrowException):
        return True
    return bool(pc.any(pc.less(created, pa.scalar(before))).as_py())


def holds_others(path: Path, there: pa.Table, before: datetime) -> bool:
    """Whether a file of facts has an early one that is gone from the table; a broken one may."""
    try:
        rows = pq.read_table(path, columns=["event_id", "created_timestamp"], partitioning=None)
    except (OSError, pa.ArrowException):
        return True
    early = rows.filter(pc.less(rows["created_timestamp"], pa.scalar(before)))
    source = path.parent.parent.name.removeprefix("source=")
    ids = there.filter(pc.equal(there["source"], source))["event_id"]
    return not bool(pc.all(pc.is_in(early["event_id"], value_set=ids.combine_chunks())).as_py())
