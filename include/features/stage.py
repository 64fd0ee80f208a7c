"""The features stage: point-in-time features of a spine, stored in the tenant's lake."""

from __future__ import annotations

from datetime import datetime

import pyarrow as pa

from include.features.inputs import Inputs
from include.features.request_columns import with_request
from include.features.requests import RequestColumns
from include.features.spine import Spine
from include.features.views import FeatureService
from include.handoffs import StoredObject
from include.storage.lake import Lake


def build(
    use_case: str,
    service: FeatureService,
    spine: pa.Table,
    inputs: Inputs,
    *,
    as_of: datetime,
    lake: Lake,
    request: RequestColumns | None = None,
) -> StoredObject:
    """Features for every row of a scoring spine, in its order.

    They are written where a rerun writes the same bytes.

    Args:
        spine: join keys and `as_of`, shape `(rows, keys + 1)`.
        request: its columns are stored too, before `as_of`.
    """
    table = inputs.compute(service, Spine(spine))
    if request:
        table = with_request(request, table, inputs.events, inputs.timezone, as_of)
    path = f"features/{use_case}/{as_of:%Y-%m-%dT%H%M%S}.parquet"
    return lake.put_table(inputs.tenant, path, table)
