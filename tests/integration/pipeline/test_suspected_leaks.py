"""A leaking source, from its file to the command that says what it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import pytest
from installation import Installation, installed

from include import use_cases, wiring
from include.cli.identity import operator
from include.pipeline import in_process
from include.pipeline.report import fleet_status
from include.simulate.faults import Leak
from include.simulate.simulation import open_tenant
from include.simulate.sources import write_sources
from include.simulate.world import TenantPlan, World
from include.stores.postgres import in_postgres
from include.stores.postgres.promotions import PostgresPromotions
from include.tenants.config import TenantConfig
from include.tenants.loader import find_tenant, load_fleet

pytestmark = pytest.mark.integration

PROMOTIONS: Final = PostgresPromotions()

AS_OF = datetime(2024, 9, 30, tzinfo=UTC)
WEEK = timedelta(weeks=1)
Command = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def here() -> Iterator[Installation]:
    """A shop whose amounts are sums over the weeks to come, and the same shop without that."""
    with installed() as found:
        for name, faults in (("leaky-shop", (Leak("amount", kind="ahead"),)), ("fair-shop", ())):
            plan = TenantPlan(name, 400, faults=faults)
            world = World(7, "shop", (plan,), start=date(2024, 1, 1), days=290)
            write_sources(open_tenant(world, name), found.tenants, ("churn",), "parquet")
            in_process.run(tenant(found, name), AS_OF, None, wiring.connect_from_environment)
        yield found


def tenant(here: Installation, name: str = "leaky-shop") -> TenantConfig:
    """One of the two."""
    return find_tenant(here.tenants, name, use_cases.names())


def status(here: Installation, name: str) -> dict[str, Any]:
    """The row of `tenantry status`."""
    rows = fleet_status(load_fleet(here.tenants, use_cases.names()), in_postgres())
    return next(one for one in rows if one["tenant"] == name)


def test_an_honest_shop_is_not_suspected(here: Installation, tenantry: Command) -> None:
    """Neither in the fleet's table nor in the list."""
    assert "suspected_leak" not in status(here, "fair-shop")["drift"]
    assert json.loads(tenantry("suspicion", "list", "fair-shop", "--json")[1]) == []
    code, printed = tenantry("suspicion", "dismiss", "fair-shop", "churn", "--because", "x")
    assert (code, "nothing is suspected" in printed) == (1, True)


def test_a_leak_is_held_back_told_and_released(here: Installation, tenantry: Command) -> None:
    """A rule of thumb serves; status, why and the list say what waits; an answer ends it."""
    ref = tenant(here).ref
    serving = PROMOTIONS.champion_at(ref, "churn")
    assert serving is not None
    assert serving.rung == "baseline"
    assert "suspected_leak" in status(here, "leaky-shop")["drift"]
    (row,) = json.loads(tenantry("suspicion", "list", "leaky-shop", "--json")[1])
    assert row["open"]
    assert row["suspected"][0].startswith("amount: ")
    version = row["held back"]
    assert version
    told = json.loads(tenantry("why", "leaky-shop", "churn", "--json")[1])
    assert [one["kind"] for one in told["incidents"]] == ["suspected_leak"]
    assert f"version {version}" in told["stage"][0]["what would have to change"][0]
    assert "amount" in " ".join(told["promotions"][-1]["reasons"])
    code, printed = tenantry("suspicion", "list")
    assert (code, "leaky-shop" in printed) == (0, True)

    code, printed = tenantry(
        *("suspicion", "dismiss", "leaky-shop", "churn", "--because", "sums are of orders placed"),
        "--json",
    )
    assert code == 0
    assert json.loads(printed)["released"] == version
    assert "suspected_leak" not in status(here, "leaky-shop")["drift"]
    (last,) = [
        one
        for one in json.loads(tenantry("history", "leaky-shop", "churn", "--json")[1])
        if one["version"] == version
    ]
    assert (last["actor"], last["trigger"]) == (operator(), "release-1")
    assert tenantry("audit", "verify", "leaky-shop")[0] == 0

    done = in_process.run(tenant(here), AS_OF + WEEK, "churn", wiring.connect_from_environment)
    scored = next(one["handoff"] for one in done if one["stage"] == "scoring")
    assert scored["version"] == version
