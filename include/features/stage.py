"""The features stage: point-in-time features of a spine, stored in the tenant's lake."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa

from include.features import vectorized
from include.features.engine import required_columns
from include.features.spine import Spine
from include.features.views import FeatureService
from include.handoffs import StoredObject, TableVersion
from include.storage.lake import Lake
from include.tenants.config import TenantConfig


def compute_at(
    tenant: TenantConfig,
    service: FeatureService,
    spine: pa.Table,
    *,
    events: TableVersion,
    attributes: TableVersion,
    known_at: datetime,
    lake: Lake,
) -> pa.Table:
    """Features for every spine row, in its order, from two pinned table versions.

    Args:
        spine: join keys and `as_of`, shape `(rows, keys + 1)`.
        known_at: rows of the lake created later are not even read.

    Returns:
        `(rows, keys + 1 + features)`, see `include.features.engine.Engine`.
    """
    read = required_columns(service)
    history = lake.read(
        tenant.ref,
        "events",
        version=events.version,
        columns=list(read.events),
        known_at=known_at,
    )
    facts = lake.read(
        tenant.ref,
        "attributes",
        version=attributes.version,
        columns=list(read.attributes) or None,
        known_at=known_at,
    )
    return vectorized.compute(service, Spine(spine), history, facts, tenant.timezone)


def build(
    tenant: TenantConfig,
    use_case: str,
    service: FeatureService,
    spine: pa.Table,
    *,
    as_of: datetime,
    events: TableVersion,
    attributes: TableVersion,
    lake: Lake,
) -> StoredObject:
    """`compute_at` for a scoring spine, written where a rerun writes the same bytes."""
    table = compute_at(
        tenant,
        service,
        spine,
        events=events,
        attributes=attributes,
        known_at=as_of,
        lake=lake,
    )
    path = f"features/{use_case}/{as_of:%Y-%m-%dT%H%M%S}.parquet"
    return lake.put_table(tenant.ref, path, table)
