"""Versions that were promoted one day, for tests of what happens to them later."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from include.models.baselines import baseline_model
from include.models.serialise import to_bytes
from include.registry.aliases import follow_ledger
from include.registry.port import ModelVersion, NewVersion, Registry
from include.registry.promotions import Promotion
from include.stores.postgres.promotions import PostgresPromotions
from include.tenants.namespace import TenantRef

PROMOTIONS: Final = PostgresPromotions()

FIRST = datetime(2024, 1, 8, tzinfo=UTC)
WEEK = timedelta(weeks=1)
FINGERPRINT = "f" * 16


def content(column: str = "spend") -> bytes:
    """A model that can be loaded, another one for every column."""
    return to_bytes(baseline_model({"column": column, "descending": False, "then": ""}))


def reference(**columns: list[float]) -> bytes:
    """A reference window of two customers with their predictions."""
    table = {"user_id": ["0", "1"], "spend": [1.0, 2.0], **columns, "prediction": [0.1, 0.9]}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(table), sink)
    return bytes(sink.getvalue().to_pybytes())


def new(
    key: str,
    rung: str = "own",
    *,
    parent: str = "",
    week: int = 0,
    model: bytes = b"",
    fingerprint: str = FINGERPRINT,
) -> NewVersion:
    """A version as training hands it over."""
    return NewVersion(
        key=key,
        rung=rung,
        name="lightgbm",
        model=model or content(f"spend_{key}"),
        reference=reference(),
        parent_version=parent,
        as_of=FIRST + week * WEEK,
        feature_fingerprint=fingerprint,
        parameters={},
        metrics={"auc": 0.8},
        lineage={"tables": []},
    )


def promote(
    registry: Registry,
    owner: TenantRef,
    use_case: str,
    week: int,
    rung: str = "own",
    *,
    parent: str = "",
    model: bytes = b"",
    fingerprint: str = FINGERPRINT,
) -> ModelVersion:
    """Register a version and let it serve from that week on."""
    made = new(str(week), rung, parent=parent, week=week, model=model, fingerprint=fingerprint)
    version = registry.register(owner, use_case, made)
    before = PROMOTIONS.champion_at(owner, use_case)
    PROMOTIONS.record(
        owner,
        Promotion(
            tenant=owner.id,
            use_case=use_case,
            as_of=version.as_of,
            trigger="scheduled",
            promoted=True,
            version=version.version,
            rung=rung,
            digest=version.digest,
            incumbent_version=before.version if before else "",
            reasons=("It is better.",),
            evidence={
                "metric": "auc",
                "candidates": [],
                "incumbent": None,
                "parent_version": parent,
            },
        ),
    )
    follow_ledger(owner, use_case, registry, PROMOTIONS)
    return version
