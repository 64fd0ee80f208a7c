"""What is looked at beside the labelled rows: vintages, mappings, who reads what."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from benchmarks.quality.judging import load, pin
from benchmarks.quality.simulated import simulate_tenant
from benchmarks.quality.target_leaks import DAYS, built_features, simulated
from include import use_cases
from include.handoffs import Interval, Scored
from include.simulate.faults import Leak
from include.simulate.world import TenantPlan, World
from include.storage.lake import Lake
from include.tenants.config import TenantConfig
from include.training.dataset import build
from include.training.suspecting import Material, look, mapping_of

CHURN = use_cases.get("churn")
SEED = 501


def source(**mapping: Any) -> dict[str, Any]:
    """A source of orders."""
    return {
        "name": "till",
        "connector": {"type": "file", "path": "till.csv", "format": "csv"},
        "events": {
            "event": "Order Completed",
            "event_id": ["id"],
            "event_timestamp": "at",
            "user_id": "customer",
            "amount": "paid",
            **mapping,
        },
    }


def tenant(*sources: dict[str, Any]) -> TenantConfig:
    """A tenant with these sources."""
    return TenantConfig.model_validate(
        {
            "id": "acme",
            "name": "Acme",
            "region": "eu",
            "timezone": "UTC",
            "schedule": "0 0 * * 1",
            "history_from": "2024-01-01",
            "sources": list(sources),
            "use_cases": {"churn": {}},
        }
    )


FACTS = {
    "name": "people",
    "connector": {"type": "file", "path": "people.csv", "format": "csv"},
    "attributes": {
        "entity": "user",
        "entity_id": "id",
        "names": {"plan": "plan"},
        "valid_from": "since",
    },
}


@pytest.mark.parametrize(
    ("origin", "other", "same"),
    [
        ("amount", source(amount="total"), False),
        ("amount", source(arrival={"delay": "P1D"}), False),
        ("amount", source(quantity="pieces"), True),
        ("properties.discount", source(properties={"discount": "off"}), False),
        ("properties.discount", source(amount="total"), True),
        ("event_timestamp", source(event_timestamp="closed_at"), False),
        ("event Order Completed", source(event="Order Placed"), False),
    ],
)
def test_an_answer_stands_as_long_as_the_column_is_mapped_as_it_was(
    origin: str, other: dict[str, Any], same: bool
) -> None:
    """What else a source maps makes no difference; column, instants and arrival do."""
    found = mapping_of(tenant(source()), origin) == mapping_of(tenant(other), origin)
    assert found == same


def test_an_attribute_is_mapped_by_its_own_source() -> None:
    """Its column, and since when it is said to hold."""
    before = mapping_of(tenant(source(), FACTS), "user.plan")
    later = {**FACTS, "attributes": {**FACTS["attributes"], "valid_from": "changed"}}
    assert mapping_of(tenant(source(amount="total"), FACTS), "user.plan") == before
    assert mapping_of(tenant(source(), later), "user.plan") != before


def test_values_that_were_rewritten_once_the_outcome_was_known_are_suspected(
    tmp_path: Path,
) -> None:
    """Logged when they were scored, then delivered again with what had become of them."""
    lake = Lake(tmp_path)
    shop, end = simulated(CHURN, SEED, (), lake)
    logs = []
    for days in (56, 42):
        built = built_features(CHURN, shop, lake, end - timedelta(days=days))
        logs.append(
            Scored(
                tenant=shop.id,
                use_case="churn",
                as_of=built.as_of,
                version="1",
                feature_fingerprint=CHURN.fingerprint,
                features=built.features,
                events=built.events,
                attributes=built.attributes,
                rows=built.features.rows,
            )
        )

    def reasons(given: list[Scored]) -> dict[str, str]:
        data = build(CHURN, [pin(shop, lake)], end, lake)
        found = look(Material(CHURN, data, [pin(shop, lake)], end, lake), None, given)
        return {one.origin: " ".join(one.reasons) for one in found}

    assert reasons(logs) == {}
    plan = TenantPlan(shop.id, 400, 0.2, faults=(Leak("amount", share=1.0),))
    world = World(SEED, "shop", (plan,), days=DAYS)
    again = simulate_tenant(world, shop.id)
    whole = Interval(world.instant(0) - timedelta(days=400), world.instant(DAYS + 30))
    load(lake, shop, again.events, again.attributes, whole)
    assert "another than it was when it was scored" in reasons(logs)["amount"]
    old = [replace(one, feature_fingerprint="another") for one in logs]
    assert "when it was scored" not in reasons(old)["amount"]
