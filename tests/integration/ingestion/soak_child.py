"""Runs one ingestion in a process of its own and prints what it took, as JSON.

Arguments: the tenant as JSON, the lake's folder, the DSN of the source database.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from include.handoffs import Interval
from include.ingestion.stage import ingest
from include.storage.lake import Lake
from include.stores.postgres.slices import PostgresSlices
from include.tenants.config import TenantConfig


def main(tenant_json: str, lake: str, dsn: str) -> None:
    """Ingest January 2024 as one interval."""
    tenant = TenantConfig.model_validate_json(tenant_json)
    interval = Interval(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC))
    began = time.monotonic()
    found = ingest(
        tenant,
        interval,
        lake=Lake(Path(lake)),
        slices=PostgresSlices(),
        connect=lambda _: psycopg.connect(dsn),
    )
    took = {
        "rows": found.rows,
        "duplicates": found.duplicates,
        "quarantined": found.quarantined,
        "seconds": time.monotonic() - began,
        "peak_bytes": peak_bytes(),
    }
    print(json.dumps(took))


def peak_bytes() -> int:
    """Peak resident memory of this program.

    On Linux `ru_maxrss` also remembers the process that started this one; `VmHWM` does not.
    """
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
        assert found is not None
        return int(found[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    main(*sys.argv[1:])
