"""Predictions in Postgres, in `predictions` and `shadow_predictions`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from include.registry.predictions import Part, Prediction
from include.storage.postgres import Connection, tenant_transaction
from include.stores.postgres.statements import select, select_first, take_turn
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
_SERVED: Final = """
    SELECT entity_id, item_id, rank, score, baseline_score, model_version, experiment, arm
    FROM predictions WHERE tenant_id = %s AND use_case = %s AND as_of = %s
    ORDER BY entity_id, rank, item_id
"""
_SHADOW: Final = """
    SELECT entity_id, item_id, rank, score, baseline_score, model_version
    FROM shadow_predictions WHERE tenant_id = %s AND use_case = %s AND as_of = %s
    ORDER BY entity_id, rank, item_id
"""
_INSTANTS: Final = """
    SELECT DISTINCT as_of FROM predictions
    WHERE tenant_id = %s AND use_case = %s AND as_of <= %s ORDER BY as_of
"""
_CHALLENGED: Final = """
    SELECT as_of FROM shadow_predictions WHERE tenant_id = %s AND use_case = %s AND as_of <= %s
    UNION
    SELECT as_of FROM predictions WHERE tenant_id = %s AND use_case = %s AND as_of <= %s
    AND experiment IS NOT NULL ORDER BY as_of
"""
_NEWEST: Final = """
    SELECT max(as_of) AS newest FROM predictions
    WHERE tenant_id = %s AND use_case = %s AND (%s::int IS NULL OR experiment = %s)
"""


class PostgresPredictions:
    """Both tables; whoever replaces an instant waits for whoever is at it."""

    def replace(
        self,
        tenant: TenantRef,
        use_case: str,
        as_of: datetime,
        parts: Sequence[Part],
        *,
        feature_fingerprint: str,
        shadow: Part | None = None,
    ) -> None:
        """See `Predictions.replace`."""
        interval = [tenant.id, use_case, as_of]
        with tenant_transaction(tenant) as connection:
            take_turn(connection, f"predictions/{tenant.id}/{use_case}/{as_of.isoformat()}")
            for table in ("predictions", "shadow_predictions"):
                connection.execute(
                    f"DELETE FROM {table} WHERE tenant_id = %s AND use_case = %s AND as_of = %s",  # noqa: S608
                    interval,
                )
            known = [*interval, feature_fingerprint]
            for part in parts:
                made = [*known, part.model_version, part.experiment, part.arm]
                _insert(connection, _INSERT, made, part.rows)
            if shadow is not None:
                made = [*known, shadow.model_version]
                _insert(connection, _INSERT_SHADOW, made, shadow.rows.drop_columns(["details"]))

    def served(self, tenant: TenantRef, use_case: str, as_of: datetime) -> list[Prediction]:
        """See `Predictions.served`."""
        return _predictions(tenant, _SERVED, use_case, as_of)

    def shadow(self, tenant: TenantRef, use_case: str, as_of: datetime) -> list[Prediction]:
        """See `Predictions.shadow`."""
        return _predictions(tenant, _SHADOW, use_case, as_of)

    def instants(self, tenant: TenantRef, use_case: str, until: datetime) -> list[datetime]:
        """See `Predictions.instants`."""
        return _instants(tenant, _INSTANTS, [tenant.id, use_case, until])

    def challenged(self, tenant: TenantRef, use_case: str, until: datetime) -> list[datetime]:
        """See `Predictions.challenged`."""
        return _instants(tenant, _CHALLENGED, 2 * [tenant.id, use_case, until])

    def newest(
        self, tenant: TenantRef, use_case: str, experiment: int | None = None
    ) -> datetime | None:
        """See `Predictions.newest`."""
        key = [tenant.id, use_case, experiment, experiment]
        row = select_first(tenant, _NEWEST, key)
        return row["newest"] if row else None


def _insert(connection: Connection, query: str, made: Sequence[Any], rows: Any) -> None:
    for batch in rows.to_batches(max_chunksize=_BATCH):
        connection.execute(query, [*made, *(column.to_pylist() for column in batch.columns)])


def _predictions(tenant: TenantRef, query: str, use_case: str, as_of: datetime) -> list[Prediction]:
    rows = select(tenant, query, [tenant.id, use_case, as_of])
    return [Prediction(*row.values()) for row in rows]


def _instants(tenant: TenantRef, query: str, key: Sequence[Any]) -> list[datetime]:
    return [row["as_of"] for row in select(tenant, query, key)]
