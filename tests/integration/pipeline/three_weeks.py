"""Four generated shops and their three weeks, run one stage after the other in this process."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from generated import Shop
from installation import Installation

from include import use_cases, wiring
from include.pipeline import in_process, runs, steps
from include.pipeline.stages import GLOBAL_STAGES, RETRAIN_STAGES, TENANT_STAGES
from include.tenants.config import TenantConfig
from include.tenants.loader import find_tenant
from include.tenants.namespace import GLOBAL, TenantRef

WEEK = timedelta(days=7)
WEEKS = tuple(datetime(2024, 7, 1, tzinfo=UTC) + WEEK * number for number in range(3))
#: When the global model is trained: after the first week's runs and before the second's.
POOLED = WEEKS[0] + timedelta(days=1)

POOL = Shop("pool-shop", dearer_from=date(2024, 7, 8))
SILO = Shop("silo-shop", region="us", isolation="silo", silent_from=date(2024, 7, 8), seed=8)
REFUSING = Shop("own-shop", consent=False, seed=9)
SPOILED = Shop("spoiled-shop", consent=False, spoiled_from=date(2024, 7, 1), seed=10)
SHOPS = (POOL, SILO, REFUSING, SPOILED)
#: A global model takes three consenting tenants; of these there are rows, and nothing else.
NEIGHBOURS = tuple(Shop(f"near-shop-{n}", customers=200, seed=20 + n) for n in (1, 2))


@dataclass(frozen=True)
class Fleet:
    """The shops, and what they were told."""

    here: Installation
    refusal: str  #: what quality said of the spoiled week

    def tenant(self, shop: Shop) -> TenantConfig:
        """The tenant of a shop."""
        return find_tenant(self.here.tenants, shop.id, use_cases.names())

    def run(self, shop: Shop, as_of: datetime, use_case: str | None = "churn") -> None:
        """One interval, all stages."""
        run(self.here, shop, as_of, use_case)


def run(here: Installation, shop: Shop, as_of: datetime, use_case: str | None = "churn") -> None:
    """One interval of one shop, all stages."""
    tenant = find_tenant(here.tenants, shop.id, use_cases.names())
    in_process.run(tenant, as_of, use_case, wiring.connect_from_environment)


def load(here: Installation, shop: Shop, as_of: datetime) -> None:
    """One interval of one shop as far as a global training reads it: taken in and checked."""
    tenant = find_tenant(here.tenants, shop.id, use_cases.names())
    data = runs.open_pipeline(
        tenant.id, "", start=None, end=as_of, connect=wiring.connect_from_environment
    )
    received: dict[str, Any] = {}
    for stage in TENANT_STAGES[:2]:
        received[stage.name] = steps.execute(stage, data, received)


def train_global(use_case: str, as_of: datetime, owner: TenantRef = GLOBAL) -> None:
    """A global model, trained and decided upon."""
    received: dict[str, Any] = {}
    for stage in GLOBAL_STAGES:
        world = runs.open_global(
            use_case,
            as_of=as_of,
            connect=wiring.connect_from_environment,
            owner=owner,
        )
        received[stage.name] = steps.execute_global(stage, world, received)


def retrain(shop: Shop, use_case: str, as_of: datetime) -> None:
    """The stages of `{tenant}.retrain`, as drift triggers it."""
    received: dict[str, Any] = {}
    for stage in RETRAIN_STAGES:
        again = runs.open_retrain(
            shop.id,
            use_case,
            as_of=as_of,
            trigger="drift",
            run_id=f"drift__{use_case}__{as_of.isoformat()}",
            begun=bool(received),
            connect=wiring.connect_from_environment,
        )
        received[stage.name] = steps.execute(stage, again, received)
