"""Whose data may train which global models, and whom they are offered to."""

from __future__ import annotations

from typing import Any

import pytest

from include.tenants.config import TenantConfig
from include.tenants.namespace import GLOBAL, TenantRef, global_owner
from include.tenants.pooling import shared_use_cases

EU, US = global_owner("eu"), global_owner("us")


def a_tenant(tenant_id: str, **changes: Any) -> TenantConfig:
    """A tenant with one source and one use case."""
    mapping = {"event": "e", "event_id": ["id"], "event_timestamp": "at", "user_id": "u"}
    connector = {"type": "file", "path": "nowhere.csv", "format": "csv"}
    return TenantConfig.model_validate(
        {
            "id": tenant_id,
            "name": "Somebody",
            "schedule": "0 4 * * 1",
            "history_from": "2024-01-01",
            "sources": [{"name": "orders", "connector": connector, "events": mapping}],
            "use_cases": {"churn": None},
        }
        | changes
    )


@pytest.mark.parametrize(
    ("pooling", "offered", "gives_to"),
    [
        ({}, EU, []),
        ({"consent": False}, EU, []),
        ({"consent": True}, EU, [EU]),
        ({"consent": True, "across_regions": False}, EU, [EU]),
        ({"consent": True, "across_regions": True}, GLOBAL, [EU, GLOBAL]),
        ({"across_regions": True}, GLOBAL, []),
    ],
)
def test_consent_is_to_the_tenants_own_region_unless_it_says_more(
    pooling: dict[str, bool], offered: TenantRef, gives_to: list[TenantRef]
) -> None:
    """Silence is a no, a yes is to its region alone, and no tenant gives to another region."""
    tenant = a_tenant("acme", region="eu", pooling=pooling)
    assert tenant.pool == offered
    owners = (EU, US, GLOBAL, tenant.ref, TenantRef("global", "eu", "pool"))
    assert [owner for owner in owners if tenant.consents_to(owner)] == gives_to


def test_a_use_case_has_a_model_per_region_and_one_of_those_who_share_across() -> None:
    """Only where somebody gives data and somebody is offered what comes of it."""
    yes, across = {"consent": True}, {"consent": True, "across_regions": True}
    fleet = [
        a_tenant("eu-one", region="eu", pooling=yes),
        a_tenant("eu-far", region="eu", pooling=across),
        a_tenant("us-far", region="us", pooling=across),
        a_tenant("us-shy", region="us"),
        a_tenant("asia-shy", region="asia"),
        a_tenant("asia-other", region="asia", pooling=yes, use_cases={"recommendation": None}),
    ]
    pools = {
        name: {owner.id: [one.id for one in members] for owner, members in found.items()}
        for name, found in shared_use_cases(fleet).items()
    }
    assert pools == {
        "churn": {
            "global": ["eu-far", "us-far"],
            "global-eu": ["eu-one", "eu-far"],
            "global-us": ["us-far"],
        },
        "recommendation": {"global-asia": ["asia-other"]},
    }
    assert shared_use_cases([a_tenant("us-shy", region="us")]) == {}
