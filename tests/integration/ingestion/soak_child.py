"""Runs one ingestion in a process of its own and prints what it took, as JSON.

Arguments: the tenant as JSON, the lake's folder, the DSN of the source database.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from include.handoffs import Interval
from include.ingestion import ingest
from include.storage.lake import Lake
from include.tenants.config import TenantConfig


def main(tenant_json: str, lake: str, dsn: str) -> None:
    """Ingest January 2024 as one interval."""
    tenant = TenantConfig.model_validate_json(tenant_json)
    interval = Interval(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC))
    began = time.monotonic()
    found = ingest(tenant, interval, lake=Lake(Path(lake)), connect=lambda _: psycopg.connect(dsn))
    took = {
        "rows": found.rows,
        "duplicates": found.duplicates,
        "quarantined": found.quarantined,
        "seconds": time.monotonic() - began,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    print(json.dumps(took))


if __name__ == "__main__":
    main(*sys.argv[1:])
