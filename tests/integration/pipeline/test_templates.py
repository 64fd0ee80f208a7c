"""Every template from a tenant file alone: simulated sources in, predictions out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import pytest
from installation import Installation, installed

from include import use_cases, wiring
from include.pipeline import in_process
from include.simulate.simulation import open_tenant
from include.simulate.sources import write_sources
from include.simulate.templates import TEMPLATES
from include.simulate.world import TenantPlan, World
from include.storage.lake import Lake
from include.storage.postgres import tenant_transaction
from include.stores.postgres.promotions import PostgresPromotions
from include.tenants.loader import find_tenant
from include.training.reproduction import reproduce

pytestmark = pytest.mark.integration

PROMOTIONS: Final = PostgresPromotions()

#: Rare outcomes take more users until a model of the tenant's own is tried.
USERS = {"crm": 500, "payments": 2_400}
AS_OF = datetime(2024, 7, 1, tzinfo=UTC)
CASES = [(business, case) for business, cases in TEMPLATES.items() for case in cases]


@pytest.fixture(scope="module")
def here() -> Iterator[Installation]:
    """One tenant of each kind of business after one week of its pipeline."""
    with installed() as found:
        for business, cases in TEMPLATES.items():
            plan = TenantPlan(f"{business}-1", USERS.get(business, 200))
            world = World(7, business, (plan,), start=date(2024, 1, 1), days=190)
            write_sources(open_tenant(world, plan.id), found.tenants, cases, "parquet")
            tenant = find_tenant(found.tenants, plan.id, use_cases.names())
            in_process.run(tenant, AS_OF, None, wiring.connect_from_environment)
        yield found


def predictions(here: Installation, business: str, case: str) -> list[dict[str, Any]]:
    tenant = find_tenant(here.tenants, f"{business}-1", use_cases.names())
    with tenant_transaction(tenant.ref) as connection:
        return connection.execute(
            "SELECT * FROM predictions WHERE use_case = %s AND as_of = %s ORDER BY entity_id, rank",
            [case, AS_OF],
        ).fetchall()


def test_every_template_is_switched_on_by_somebody() -> None:
    """Nine templates, each with its file and its page."""
    assert {case for _, case in CASES} == use_cases.names()
    assert len(CASES) == 9


@pytest.mark.parametrize(("business", "case"), CASES)
def test_a_template_serves_and_was_measured_beside_its_baselines(
    here: Installation, business: str, case: str
) -> None:
    """Somebody is scored, by a version that the ledger promoted on measured evidence."""
    rows = predictions(here, business, case)
    tenant = find_tenant(here.tenants, f"{business}-1", use_cases.names())
    serving = PROMOTIONS.champion_at(tenant.ref, case, AS_OF)
    assert serving is not None
    assert {row["model_version"] for row in rows} == {serving.version}
    measured = {f"{one['rung']}/{one['name']}": one for one in serving.evidence["candidates"]}
    assert len([key for key in measured if key.startswith("baseline/")]) > 0
    assert [key for key in measured if key.startswith("own/")], measured
    assert all(one["value"] is not None for one in measured.values())


@pytest.mark.parametrize("case", ["recommendation", "weekly_playlist", "matching"])
def test_rankings_hold_ten_different_items(here: Installation, case: str) -> None:
    """Places run from one to ten without a gap."""
    business = next(business for business, one in CASES if one == case)
    places: dict[str, list[int]] = {}
    for row in predictions(here, business, case):
        places.setdefault(row["entity_id"], []).append(row["rank"])
    assert all(place == list(range(1, len(place) + 1)) for place in places.values())
    assert sum(len(place) == 10 for place in places.values()) > 0.9 * len(places)


def test_a_playlist_holds_nothing_that_was_put_on_before(here: Installation) -> None:
    """What the user played or skipped is not listed again."""
    tenant = find_tenant(here.tenants, "media-1", use_cases.names())
    events = Lake(here.state.lake).read(tenant.ref, "events", known_at=AS_OF)
    had = set(zip(events["user_id"].to_pylist(), events["item_id"].to_pylist(), strict=True))
    listed = predictions(here, "media", "weekly_playlist")
    assert listed
    assert not [row for row in listed if (row["entity_id"], row["item_id"]) in had]


def test_lists_say_why(here: Installation) -> None:
    """Where the serving model can; a rule of thumb has nothing to say."""
    for business, case in (("media", "weekly_playlist"), ("shop", "bought_together")):
        tenant = find_tenant(here.tenants, f"{business}-1", use_cases.names())
        serving = PROMOTIONS.champion_at(tenant.ref, case, AS_OF)
        assert serving is not None
        told = [row["details"] for row in predictions(here, business, case) if row["details"]]
        if serving.rung == "baseline" and case == "weekly_playlist":
            assert not told
            continue
        assert told
        most = use_cases.get(case).reasons
        assert all(1 <= len(one["reasons"]) <= most for one in told)


def test_an_item_is_not_bought_together_with_itself(here: Installation) -> None:
    """Its list holds other items only."""
    rows = predictions(here, "shop", "bought_together")
    assert rows
    assert all(row["entity_id"] != row["item_id"] for row in rows)


def test_a_forecast_comes_with_its_intervals(here: Installation) -> None:
    """The wider one holds the narrower, and neither promises a negative sale."""
    for row in predictions(here, "shop", "demand"):
        bounds = row["details"]
        assert 0 <= bounds["low_95"] <= bounds["low_80"] <= bounds["high_80"] <= bounds["high_95"]


@pytest.mark.parametrize(
    ("business", "case"),
    [("learning", "engagement"), ("media", "weekly_playlist"), ("payments", "fraud")],
)
def test_versions_of_every_kind_are_made_again_to_the_byte(
    here: Installation, business: str, case: str
) -> None:
    """Baselines that learn from rows, lists and scores of anomalies, each from its record."""
    tenant = find_tenant(here.tenants, f"{business}-1", use_cases.names())
    platform = wiring.platform(wiring.connect_from_environment)
    versions = platform.registry.versions(tenant.ref, case)
    assert versions
    for version in versions:
        made = reproduce(
            tenant.ref,
            version,
            use_cases.get(case),
            fleet={tenant.id: tenant},
            registry=platform.registry,
            promotions=PROMOTIONS,
            lake=platform.lake,
            code_revision=wiring.code_revision(),
        )
        assert made.identical, made


@pytest.mark.parametrize("business", sorted({business for business, _ in CASES}))
def test_an_ordinary_week_is_no_drift(here: Installation, business: str) -> None:
    """Neither in the week of the training nor in the one after it, whatever the use case reads."""
    tenant = find_tenant(here.tenants, f"{business}-1", use_cases.names())
    in_process.run(tenant, AS_OF + timedelta(days=7), None, wiring.connect_from_environment)
    with tenant_transaction(tenant.ref) as connection:
        found = connection.execute(
            "SELECT use_case, as_of, verdict, details->'reasons' AS why FROM drift_verdicts "
            "ORDER BY use_case, as_of"
        ).fetchall()
    assert len(found) == 2 * len(tenant.use_cases)
    assert not [one for one in found if one["verdict"] == "drift"]
