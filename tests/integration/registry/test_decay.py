"""Back to the global model when a tenant's own decays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final
from uuid import uuid4

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from models import FIRST, WEEK, content, new, promote

from include.registry.decay import RollbackFacts, roll_back_if_decayed
from include.registry.decline import PromisedFigure, Window
from include.registry.in_memory import InMemoryRegistry
from include.registry.port import CHAMPION, Registry
from include.registry.promotions import Promotion
from include.registry.rollback import roll_back
from include.registry.two_way import Swing
from include.stores.postgres.promotions import PostgresPromotions
from include.tenants.namespace import GLOBAL, TenantRef

pytestmark = pytest.mark.integration

PROMOTIONS: Final = PostgresPromotions()

NOW = FIRST + 9 * WEEK
DECAYED = RollbackFacts(
    version="2",
    rung="own",
    metric="auc",
    low=0.80,
    live=0.60,
    live_error=0.02,
    baseline=0.65,
    labels=500,
    measured_at=NOW - WEEK,
    promised=PromisedFigure(0.84, 0.02, 8, Swing(0.02**2, 9)),
    before=[Window(0.60, 0.02)],
)


@pytest.fixture
def registry(database: Any) -> Registry:
    """The registry of one test."""
    return InMemoryRegistry()


@pytest.fixture
def case() -> str:
    """A use case that nobody has used before: the global ledger is everybody's."""
    return f"case_{uuid4().hex[:12]}"


@pytest.fixture
def tenant() -> TenantRef:
    """A tenant that nobody has used before."""
    return TenantRef(f"t-{uuid4().hex[:12]}", "eu", "pool")


def decay(registry: Registry, tenant: TenantRef, case: str, **changes: Any) -> Promotion | None:
    """The stage on those facts."""
    return roll_back_if_decayed(
        tenant,
        case,
        replace(DECAYED, **changes),
        as_of=NOW,
        registry=registry,
        promotions=PROMOTIONS,
        pool=GLOBAL,
    )


def test_an_own_model_gives_way_to_the_global_champion(
    registry: Registry, case: str, tenant: TenantRef
) -> None:
    """The global champion becomes a version of the tenant's, with the tenant's own reference
    window seen through it; the own model is withdrawn, and a rerun changes nothing."""
    world = promote(registry, GLOBAL, case, 1, "global", model=content("spend"))
    promote(registry, tenant, case, 0, "baseline")
    promote(registry, tenant, case, 2)
    done = decay(registry, tenant, case)
    assert done is not None
    assert (done.version, done.rung, done.actor, done.withdrawn) == (
        "3",
        "global",
        "system",
        ("2",),
    )
    assert "significantly below its floor of 0.8000" in done.reasons[0]
    adopted = registry.get(tenant, case, "3")
    assert (adopted.digest, adopted.parent_version) == (world.digest, f"global/{case}@1")
    seen = pq.read_table(pa.BufferReader(registry.reference(tenant, adopted)))
    assert seen["prediction"].to_pylist() == seen["spend"].to_pylist()
    alias = registry.alias(tenant, case, CHAMPION)
    assert alias is not None
    assert alias.version == "3"
    assert decay(registry, tenant, case) is None
    assert len(PROMOTIONS.history(tenant, case)) == 3


@pytest.mark.parametrize("why", ["none", "features", "baseline", "withdrawn", "had it"])
def test_where_the_global_champion_does_not_fit_the_one_before_serves(
    registry: Registry, case: str, tenant: TenantRef, why: str
) -> None:
    """There is none, it reads other features, it is a baseline, it is withdrawn for this tenant;
    one that the tenant has had already gets no second number."""
    world = content("spend")
    if why != "none":
        promote(
            registry,
            GLOBAL,
            case,
            0,
            "baseline" if why == "baseline" else "global",
            model=world,
            fingerprint="e" * 16 if why == "features" else "f" * 16,
        )
    if why in ("withdrawn", "had it"):
        promote(registry, tenant, case, 0, "own")
        promote(registry, tenant, case, 1, "global", parent=f"global/{case}@1", model=world)
        if why == "withdrawn":
            roll_back(
                tenant, case, to="1", as_of=FIRST + WEEK, registry=registry, promotions=PROMOTIONS
            )
        promote(registry, tenant, case, 2)
        done = decay(registry, tenant, case, version="3")
        expected = "2" if why == "had it" else "1"
    else:
        promote(registry, tenant, case, 0, "own")
        promote(registry, tenant, case, 2)
        done, expected = decay(registry, tenant, case), "1"
    assert done is not None
    assert done.version == expected


def test_nothing_happens_where_nothing_is_left_or_another_serves(
    registry: Registry, case: str, tenant: TenantRef
) -> None:
    """Without anything to go back to the champion stays, unless a fallback is offered; facts about
    a version that does not serve any more, or began to serve later, move nothing."""
    promote(registry, tenant, case, 0)
    assert decay(registry, tenant, case, version="1") is None
    assert decay(registry, tenant, case, version="7") is None
    promote(registry, tenant, case, 10)
    assert decay(registry, tenant, case) is None
    other = TenantRef(f"{tenant.id}-b", "eu", "pool")
    promote(registry, other, case, 0)
    done = roll_back_if_decayed(
        other,
        case,
        replace(DECAYED, version="1"),
        as_of=NOW,
        registry=registry,
        promotions=PROMOTIONS,
        pool=GLOBAL,
        fallback=lambda owner, use_case: new("rule", "baseline"),
    )
    assert done is not None
    assert (done.version, done.rung) == ("2", "baseline")
