"""The `predictions` table: one interval of one use case is replaced whole or not at all."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import pyarrow as pa

from include.storage.postgres import tenant_transaction
from include.tenants.namespace import TenantRef

_BATCH: Final = 10_000  #: rows per statement
#: Postgres refuses COPY into a table with row-level security; arrays are the next best.
_INSERT: Final = """
    INSERT INTO predictions (tenant_id, use_case, as_of, model_version, feature_fingerprint,
                             entity_id, item_id, rank, score, baseline_score,
                             details)
    SELECT %s, %s, %s, %s, %s, line.*
    FROM unnest(%s::text[], %s::text[], %s::int[], %s::float8[], %s::float8[], %s::jsonb[]) AS line
"""


def replace_predictions(
    tenant: TenantRef,
    use_case: str,
    as_of: datetime,
    rows: pa.Table,
    *,
    model_version: str,
    feature_fingerprint: str,
) -> None:
    """Make `rows` (of `ranks.SCHEMA`) all there is of the interval, in one transaction."""
    interval = [tenant.id, use_case, as_of]
    with tenant_transaction(tenant) as connection:
        connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))",
            [f"predictions/{tenant.id}/{use_case}/{as_of.isoformat()}"],
        )
        connection.execute(
            "DELETE FROM predictions WHERE tenant_id = %s AND use_case = %s AND as_of = %s",
            interval,
        )
        for batch in rows.to_batches(max_chunksize=_BATCH):
            connection.execute(
                _INSERT,
                [
                    *interval,
                    model_version,
                    feature_fingerprint,
                    *(column.to_pylist() for column in batch.columns),
                ],
            )
