"""The `predictions` table: one interval of one use case is replaced whole or not at all.

With it goes `shadow_predictions`: what the challenger would have answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import pyarrow as pa

from include.storage.postgres import tenant_transaction
from include.tenants.namespace import TenantRef

_BATCH: Final = 10_000  #: rows per statement
#: Postgres refuses COPY into a table with row-level security; arrays are the next best.
_INSERT: Final = """
    INSERT INTO predictions (tenant_id, use_case, as_of, feature_fingerprint, model_version,
                             experiment, arm, entity_id, item_id, rank, score, baseline_score,
                             details)
    SELECT %s, %s, %s, %s, %s, %s, %s, line.*
    FROM unnest(%s::text[], %s::text[], %s::int[], %s::float8[], %s::float8[], %s::jsonb[]) AS line
"""
_INSERT_SHADOW: Final = """
    INSERT INTO shadow_predictions (tenant_id, use_case, as_of, feature_fingerprint, model_version,
                                    entity_id, item_id, rank, score, baseline_score)
    SELECT %s, %s, %s, %s, %s, line.*
    FROM unnest(%s::text[], %s::text[], %s::int[], %s::float8[], %s::float8[]) AS line
"""


@dataclass(frozen=True)
class Part:
    """Rows (of `ranks.SCHEMA`) that one version made."""

    rows: pa.Table
    model_version: str
    experiment: int | None = None  #: number of the one they are served in
    arm: str | None = None  #: of their entities; None without an experiment


def replace_predictions(
    tenant: TenantRef,
    use_case: str,
    as_of: datetime,
    parts: Sequence[Part],
    *,
    feature_fingerprint: str,
    shadow: Part | None = None,
) -> None:
    """Make `parts` and the shadow all there is of the interval, in one transaction."""
    interval = [tenant.id, use_case, as_of]
    with tenant_transaction(tenant) as connection:
        connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))",
            [f"predictions/{tenant.id}/{use_case}/{as_of.isoformat()}"],
        )
        for table in ("predictions", "shadow_predictions"):
            connection.execute(
                f"DELETE FROM {table} WHERE tenant_id = %s AND use_case = %s AND as_of = %s",  # noqa: S608
                interval,
            )
        known = [*interval, feature_fingerprint]
        for part in parts:
            made = [*known, part.model_version, part.experiment, part.arm]
            for batch in part.rows.to_batches(max_chunksize=_BATCH):
                columns = [column.to_pylist() for column in batch.columns]
                connection.execute(_INSERT, [*made, *columns])
        if shadow is not None:
            made = [*known, shadow.model_version]
            plain = shadow.rows.drop_columns(["details"])
            for batch in plain.to_batches(max_chunksize=_BATCH):
                columns = [column.to_pylist() for column in batch.columns]
                connection.execute(_INSERT_SHADOW, [*made, *columns])
