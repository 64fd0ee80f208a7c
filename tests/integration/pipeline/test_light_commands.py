"""Commands that read a ledger import neither MLflow nor pandas."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from generated import Shop
from installation import Installation, installed
from light_commands import ran

from include import use_cases, wiring
from include.registry.port import NewVersion
from include.registry.promotions import Promotion
from include.stores.postgres.promotions import PostgresPromotions
from include.tenants.loader import find_tenant

pytestmark = pytest.mark.integration

SHOP = Shop("light-shop")
AS_OF = datetime(2024, 7, 1, tzinfo=UTC)
LINEAGE = {"as_of": AS_OF.isoformat(), "seed": 1}


@pytest.fixture(scope="module")
def here() -> Iterator[Installation]:
    """One shop whose first model serves."""
    with installed() as found:
        found.open(SHOP)
        ref = find_tenant(found.tenants, SHOP.id, use_cases.names()).ref
        registry = wiring.platform(wiring.connect_from_environment).registry
        new = NewVersion("first", "own", "stub", b"{}", b"", "", AS_OF, "f", {}, {}, LINEAGE)
        version = registry.register(ref, "churn", new)
        measured = {"metric": "auc", "challenger": "", "candidates": [], "incumbent": None}
        serves = (True, version.version, "own", version.digest, "")
        decided = Promotion(
            ref.id, "churn", AS_OF, "scheduled", *serves, ("it is the first",), measured
        )
        PostgresPromotions().record(ref, decided)
        yield found


@pytest.mark.parametrize(
    "command",
    [
        "status",
        f"why {SHOP.id} churn",
        f"history {SHOP.id}",
        f"history {SHOP.id} churn --on 2024-07-02",
        "history global churn",
        f"card {SHOP.id} churn",
        "tenants list",
        f"tenants show {SHOP.id}",
        "tenants check",
        "suspicion list",
        "experiment list",
        "audit show global",
        "audit verify",
        "audit checkpoint",
        "features freshness",
        f"features skew {SHOP.id}",
        f"quarantine {SHOP.id}",
        f"quarantine {SHOP.id} --limit 5",
    ],
)
def test_what_reads_a_ledger_imports_nothing_heavy(here: Installation, command: str) -> None:
    """As a table and as JSON."""
    for arguments in (command.split(), [*command.split(), "--json"]):
        done = ran(*arguments, TENANTRY_HOME=str(here.state.home))
        assert done.code == 0, done.errors
        assert done.heavy == ()


def test_the_history_holds_what_the_registry_and_the_ledger_know(here: Installation) -> None:
    """The version's name and lineage stand in the registry, the reasons in the ledger."""
    done = ran("history", SHOP.id, "churn", "--json", TENANTRY_HOME=str(here.state.home))
    (row,) = json.loads(done.output)
    assert (row["version"], row["model"], row["reasons"]) == ("1", "own/stub", ["it is the first"])
    assert row["trained_on"] == LINEAGE | {"parent": ""}
