"""A shop for tests of the online store: order lines as short texts, and views of its customers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from include.features.conditions import equals
from include.features.declarations import (
    ALL_HISTORY,
    USER,
    Aggregation,
    AttributeLookup,
    EventStream,
)
from include.features.online.served import Served
from include.features.online.store import OnlineFeatures, OnlineStore
from include.features.views import FeatureService, FeatureView
from include.handoffs import Materialized
from include.storage.canonical import ATTRIBUTES, EVENTS
from include.storage.postgres import tenant_transaction
from include.tenants.namespace import TenantRef

START = datetime(2024, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
TABLES = (
    *("online_partials", "online_groups", "online_views"),
    *("online_events", "online_facts", "online_delivered"),
)

LINES = EventStream(("Order Completed",), lookups=(AttributeLookup("item", "category"),))
SPEND = FeatureView(
    "spend",
    USER,
    LINES,
    (
        Aggregation("count", windows=(DAY, 7 * DAY, ALL_HISTORY)),
        Aggregation("sum", "amount", (7 * DAY, ALL_HISTORY)),
        Aggregation("last", "item_id"),
        Aggregation("count", None, (7 * DAY,), (equals("item.category", "drinks"),), "drinks"),
    ),
    attributes=(AttributeLookup("user", "segment"),),
    ttl=2 * DAY,
)
SHOP = FeatureService("shop", (SPEND,))


@dataclass(frozen=True)
class OwnerStore:
    """One owner's part of an online store, for the views of one service."""

    online: OnlineStore
    owner: TenantRef
    service: FeatureService = SHOP
    timezone: str = "Europe/Vienna"

    def append(self, events: pa.Table | None = None, attributes: pa.Table | None = None) -> int:
        """See `OnlineStore.append`."""
        return self.online.append(self.owner, events, attributes)

    def since(self) -> datetime | None:
        """See `OnlineStore.since`."""
        return self.online.since(self.owner, self.service.views, self.timezone)

    def materialize(
        self,
        until: datetime,
        events: pa.Table | None = None,
        attributes: pa.Table | None = None,
        **options: Any,
    ) -> Materialized:
        """See `OnlineStore.materialize`."""
        views = self.service.views
        return self.online.materialize(
            self.owner, views, self.timezone, until, events, attributes, **options
        )

    def read(self, entities: Mapping[str, Sequence[str | None]], at: datetime) -> OnlineFeatures:
        """See `Reader.read`."""
        return self.online.reader(self.owner, self.service).read(entities, at)

    def freshness(self) -> list[Served]:
        """See `OnlineStore.freshness`."""
        return self.online.freshness(self.owner)


def lines(*rows: str, tenant: str = "acme") -> pa.Table:
    """Order lines written as `id user item amount at [known]`, hours after `START`."""
    return pa.Table.from_pylist([_line(row, tenant) for row in rows], EVENTS)


def _line(row: str, tenant: str) -> dict[str, Any]:
    event_id, user, item, amount, at, *known = row.split()
    happened = START + float(at) * HOUR
    return {
        "tenant_id": tenant,
        "source": "pos",
        "event_id": event_id,
        "event": "Order Completed",
        "user_id": user,
        "item_id": item,
        "amount": float(amount),
        "event_timestamp": happened,
        "created_timestamp": START + float(known[0]) * HOUR if known else happened,
        "month": "2024-03",
    }


def facts(*rows: str, tenant: str = "acme") -> pa.Table:
    """Facts written as `kind id name value at [known]`, hours after `START`."""
    found = []
    for row in rows:
        kind, entity_id, name, value, at, *known = row.split()
        fact = {"entity": kind, "entity_id": entity_id, "name": name, "value": value}
        fact |= {"tenant_id": tenant, "source": "erp", "event_id": row, "month": "2024-03"}
        valid = START + float(at) * HOUR
        created = START + float(known[0]) * HOUR if known else valid
        found.append(fact | {"valid_from": valid, "created_timestamp": created})
    return pa.Table.from_pylist(found, ATTRIBUTES)


def hour(number: float) -> datetime:
    """An instant, hours after `START`."""
    return START + number * HOUR


def kept(tenant: TenantRef) -> dict[str, list[Any]]:
    """All that the store keeps of a tenant, but for when it was written."""
    found = {}
    with tenant_transaction(tenant) as connection:
        for table in TABLES:
            rows = connection.execute(f"SELECT * FROM {table}").fetchall()
            for row in rows:
                row.pop("materialized_at", None)
            found[table] = sorted(map(repr, rows))
    return found


def forget(*tenants: TenantRef) -> None:
    """Empty the tenants' stores."""
    for tenant in tenants:
        with tenant_transaction(tenant) as connection:
            for table in TABLES:
                connection.execute(f"DELETE FROM {table}")
