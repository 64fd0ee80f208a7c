"""A small shop in a lake: enough customers and weeks for every step of a training."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from include import use_cases
from include.features import inputs
from include.features import stage as features
from include.handoffs import FeaturesBuilt, Interval
from include.storage.canonical import EVENTS
from include.storage.lake import Lake
from include.tenants.config import TenantConfig
from include.use_cases.spines import EVENT_COLUMNS, scoring_spine

AS_OF = datetime(2024, 7, 1, tzinfo=UTC)
START = datetime(2023, 10, 1, tzinfo=UTC)
WHOLE = Interval(datetime(2023, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))

MakeTenant = Callable[..., TenantConfig]
Build = Callable[..., FeaturesBuilt]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(tmp_path)


@pytest.fixture
def make_tenant(lake: Lake) -> MakeTenant:
    """A tenant whose customers order at their own steady rate until they stop for good."""

    def make(
        name: str = "acme",
        *,
        customers: int = 80,
        seed: int = 1,
        until: datetime = AS_OF,
        since: datetime = START,
        consent: bool = True,
    ) -> TenantConfig:
        tenant = _config(name, consent)
        rows = []
        for customer in range(customers):
            generator = np.random.default_rng([seed, customer])
            at = since + timedelta(hours=float(generator.uniform(0, 2_500)))
            gap, stop = generator.uniform(2, 25), generator.uniform(0.002, 0.04)
            favourites = generator.integers(0, 40, 4)
            while at < until:
                for item in {
                    *generator.choice(favourites, 2).tolist(),
                    int(generator.integers(40)),
                }:
                    rows.append((f"u{customer}", f"i{item:02}", at))
                if generator.random() < stop:
                    break
                at += timedelta(days=float(generator.exponential(gap)), seconds=1)
        table = _events(tenant.id, rows)
        lake.replace_slice(tenant.ref, "events", "shop", WHOLE, table.to_batches())
        return tenant

    return make


@pytest.fixture
def build(lake: Lake) -> Build:
    """Runs the features stage."""

    def make(tenant: TenantConfig, name: str, as_of: datetime = AS_OF) -> FeaturesBuilt:
        case = use_cases.get(name)
        events = lake.version(tenant.ref, "events")
        attributes = lake.version(tenant.ref, "attributes")
        read = inputs.read(
            tenant,
            case.features,
            events=events,
            attributes=attributes,
            known_at=as_of,
            lake=lake,
            also=EVENT_COLUMNS,
        )
        spine = scoring_spine(case, read.events, as_of)
        stored = features.build(name, case.features, spine, read, as_of=as_of, lake=lake)
        return FeaturesBuilt(
            tenant=tenant.id,
            use_case=name,
            as_of=as_of,
            features=stored,
            feature_fingerprint=case.features.fingerprint,
            events=events,
            attributes=attributes,
            training_due=True,
            training_reason="a test",
        )

    return make


def _config(name: str, consent: bool) -> TenantConfig:
    mapping = {
        "event": "Order Completed",
        "event_id": ["id"],
        "event_timestamp": "at",
        "user_id": "user",
    }
    connector = {"type": "file", "path": "orders.csv", "format": "csv"}
    return TenantConfig.model_validate(
        {
            "id": name,
            "name": name,
            "region": "eu",
            "schedule": "0 4 * * 1",
            "history_from": date(2024, 1, 1),
            "sources": [{"name": "shop", "connector": connector, "events": mapping}],
            "use_cases": {"churn": {}, "recommendation": {}},
            "pooling": {"consent": consent, "across_regions": True},
        }
    )


def _events(tenant: str, rows: list[tuple[str, str, datetime]]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "tenant_id": tenant,
                "source": "shop",
                "event_id": str(number),
                "event": "Order Completed",
                "user_id": user,
                "item_id": item,
                "group_id": f"{user}{at:%Y%m%d%H%M%S}",
                "quantity": 1.0,
                "amount": 2.5,
                "properties": None,
                "event_timestamp": at,
                "created_timestamp": at,
                "month": f"{at:%Y-%m}",
            }
            for number, (user, item, at) in enumerate(rows)
        ],
        EVENTS,
    )
