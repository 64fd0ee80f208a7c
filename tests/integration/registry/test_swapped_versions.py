"""A version that was swapped for another registered one is loaded nowhere: the ledger knows better.

The swap is complete: tags and files agree with each other, as somebody leaves them who can write
MLflow's database.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final
from uuid import uuid4

import psycopg
import pytest
from models import FINGERPRINT, FIRST, WEEK, content, new, promote

from include.errors import IntegrityError
from include.handoffs import FeaturesBuilt, StoredObject, TableVersion
from include.pipeline import serving
from include.registry import experiments, recorded
from include.registry.conclusion import conclude
from include.registry.decay import RollbackFacts, roll_back_if_decayed
from include.registry.decline import PromisedFigure, Window
from include.registry.in_memory import InMemoryRegistry
from include.registry.policy import Policy
from include.registry.port import ModelVersion, Registry
from include.registry.rollback import roll_back
from include.registry.two_way import Swing
from include.runtime.postgres import Postgres
from include.scoring.challenger import challenged
from include.scoring.stage import score
from include.storage.lake import Lake
from include.stores.postgres import in_postgres
from include.stores.postgres.promotions import PostgresPromotions
from include.tenants.namespace import GLOBAL, TenantRef, model_name, workspace
from include.training.reproduction import reproduce
from include.use_cases import get
from include.wiring import Platform

pytestmark = pytest.mark.integration

PROMOTIONS: Final = PostgresPromotions()
STORES: Final = in_postgres()

NOW = FIRST + 9 * WEEK
Swap = Callable[[TenantRef, str, str, str], None]


@pytest.fixture
def case() -> str:
    """A use case that nobody has used before: the global ledger is everybody's."""
    return f"case_{uuid4().hex[:12]}"


@pytest.fixture
def tenant() -> TenantRef:
    """A tenant that nobody has used before."""
    return TenantRef(f"t-{uuid4().hex[:12]}", "eu", "pool")


@pytest.fixture
def platform(registry: Registry, lake: Lake) -> Platform:
    """What stages are given."""

    def nobody(_: str) -> Any:
        raise AssertionError

    return Platform(lake, registry, in_postgres(), nobody)


@pytest.fixture
def swap(registry: Registry, database: Postgres) -> Swap:
    """Makes the first number be what the second is, in everything the registry says of it."""

    def in_memory(owner: TenantRef, case: str, number: str, other: str) -> None:
        assert isinstance(registry, InMemoryRegistry)
        scope = (workspace(owner), model_name(case))
        versions = registry._versions[scope]
        found = registry.get(owner, case, other)
        for key, version in versions.items():
            if version.version == number:
                versions[key] = replace(found, version=number)
        for kind in ("model", "reference", "card"):
            registry.files[(*scope, number, kind)] = registry.files[(*scope, other, kind)]
        registry._cards[(*scope, number)] = registry._cards[(*scope, other)]

    def in_mlflow(owner: TenantRef, case: str, number: str, other: str) -> None:
        with psycopg.connect(database.dsn("mlflow")) as connection:
            done = connection.execute(
                "UPDATE model_version_tags t SET value = o.value FROM model_version_tags o "
                "WHERE (t.workspace, t.name, t.version) = (%s, %s, %s) AND t.key <> 'tenantry.key' "
                "AND (o.workspace, o.name, o.version, o.key) = (t.workspace, t.name, %s, t.key)",
                [workspace(owner), model_name(case), int(number), int(other)],
            )
            assert done.rowcount > 5

    return in_memory if isinstance(registry, InMemoryRegistry) else in_mlflow


def built(tenant: TenantRef, case: str) -> FeaturesBuilt:
    """A handoff of features that nobody gets to read."""
    table = TableVersion(tenant.id, "events", 1, 1, "s")
    return FeaturesBuilt(
        tenant=tenant.id,
        use_case=case,
        as_of=NOW,
        features=StoredObject(tenant.id, "features.parquet", "d", 1),
        feature_fingerprint=FINGERPRINT,
        events=table,
        attributes=table,
        training_due=False,
        training_reason="",
    )


def test_the_swap_itself_is_consistent(
    registry: Registry, swap: Swap, case: str, tenant: TenantRef
) -> None:
    """The registry reads the other's bytes under the number and finds nothing wrong."""
    promote(registry, tenant, case, 0)
    other = promote(registry, tenant, case, 1)
    swap(tenant, case, "1", "2")
    found = registry.get(tenant, case, "1")
    assert found.digest == other.digest
    assert registry.artifact(tenant, found) == registry.artifact(tenant, other)


@pytest.mark.parametrize("owner", ["tenant", "global"])
def test_training_takes_no_swapped_champion(
    platform: Platform, swap: Swap, case: str, tenant: TenantRef, owner: str
) -> None:
    """Neither as the incumbent nor as the global model it builds on."""
    whose = GLOBAL if owner == "global" else tenant
    promote(platform.registry, whose, case, 0, "global" if owner == "global" else "own")
    promote(platform.registry, whose, case, 1, "global" if owner == "global" else "own")
    assert serving.in_force(platform, whose, case, NOW) is not None
    swap(whose, case, "2", "1")
    with pytest.raises(IntegrityError, match="not the artifact that was promoted"):
        serving.in_force(platform, whose, case, NOW)


def test_monitoring_and_evaluation_take_no_swapped_version(
    platform: Platform, swap: Swap, case: str, tenant: TenantRef
) -> None:
    """A version by its number, also one that no longer serves."""
    for week in range(2):
        promote(platform.registry, tenant, case, week)
    serving.version(platform, tenant, case, "1")
    swap(tenant, case, "1", "2")
    with pytest.raises(IntegrityError, match="not the artifact that was promoted"):
        serving.version(platform, tenant, case, "1")


def test_scoring_takes_no_swapped_champion(
    platform: Platform, swap: Swap, case: str, tenant: TenantRef
) -> None:
    """As before, now by the same comparison as everybody's."""
    for week in range(2):
        promote(platform.registry, tenant, case, week)
    swap(tenant, case, "2", "1")
    with pytest.raises(IntegrityError, match="not the artifact that was promoted"):
        score(
            tenant,
            built(tenant, case),
            "classification",
            10,
            registry=platform.registry,
            promotions=PROMOTIONS,
            experiments=STORES.experiments,
            predictions=STORES.predictions,
            lake=platform.lake,
        )


def test_a_swapped_challenger_scores_no_shadow(
    registry: Registry, swap: Swap, case: str, tenant: TenantRef
) -> None:
    """The decision that it challenged in names its digest."""
    champion = promote(registry, tenant, case, 0)
    other = registry.register(tenant, case, new("other"))
    lost = registry.register(tenant, case, new("lost"))
    standing = PROMOTIONS.champion_at(tenant, case)
    assert standing is not None
    evidence = {
        **standing.evidence,
        "challenger": lost.version,
        "challenger_digest": lost.digest,
    }
    later = replace(standing, as_of=FIRST + WEEK, promoted=False, evidence=evidence)
    PROMOTIONS.record(tenant, later)
    answered: list[ModelVersion] = []

    def answer(version: ModelVersion, *_: Any) -> Any:
        answered.append(version)

    given = (tenant, case, NOW, champion, answer, registry, PROMOTIONS, STORES.experiments)
    challenged(*given)
    assert [one.version for one in answered] == [lost.version]
    swap(tenant, case, lost.version, other.version)
    assert challenged(*given) is None
    assert len(answered) == 1


@pytest.mark.parametrize("swapped", ["champion", "challenger"])
def test_no_experiment_starts_with_a_swapped_version(
    registry: Registry, swap: Swap, case: str, tenant: TenantRef, swapped: str
) -> None:
    """On either side of it."""
    for week in range(3):
        promote(registry, tenant, case, week)
    swap(tenant, case, {"champion": "3", "challenger": "1"}[swapped], "2")
    with pytest.raises(IntegrityError, match="not the artifact that was promoted"):
        experiments.start(
            tenant,
            case,
            "1",
            Policy(share=0.1),
            as_of=NOW,
            registry=registry,
            promotions=PROMOTIONS,
            experiments=STORES.experiments,
            predictions=STORES.predictions,
            by="ada",
        )
    assert STORES.experiments.history(tenant, case) == []


def test_no_experiment_promotes_what_was_swapped_while_it_ran(
    registry: Registry, swap: Swap, case: str, tenant: TenantRef
) -> None:
    """What serves afterwards would be what nobody has tried."""
    promote(registry, tenant, case, 0)
    tried = registry.register(tenant, case, new("tried"))
    other = registry.register(tenant, case, new("other"))
    trial = experiments.start(
        tenant,
        case,
        tried.version,
        Policy(share=0.1),
        as_of=NOW,
        registry=registry,
        promotions=PROMOTIONS,
        experiments=STORES.experiments,
        predictions=STORES.predictions,
        by="ada",
    )
    swap(tenant, case, tried.version, other.version)
    with pytest.raises(IntegrityError):
        conclude(
            tenant,
            trial,
            "promote",
            ("won",),
            as_of=NOW + WEEK,
            registry=registry,
            promotions=PROMOTIONS,
            experiments=STORES.experiments,
        )
    assert experiments.running(STORES.experiments.history(tenant, case)) == trial
    assert len(PROMOTIONS.history(tenant, case)) == 1


def test_a_decayed_model_does_not_give_way_to_a_swapped_global_one(
    registry: Registry, swap: Swap, case: str, tenant: TenantRef
) -> None:
    """It goes back to an earlier version of its own instead."""
    for week in range(2):
        promote(registry, GLOBAL, case, week, "global", model=content(f"spend_{week}"))
    promote(registry, tenant, case, 0, "baseline")
    promote(registry, tenant, case, 2)
    swap(GLOBAL, case, "2", "1")
    facts = RollbackFacts(
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
    done = roll_back_if_decayed(
        tenant, case, facts, as_of=NOW, registry=registry, promotions=PROMOTIONS, pool=GLOBAL
    )
    assert done is not None
    assert (done.version, done.rung) == ("1", "baseline")


def test_nobody_rolls_back_to_a_swapped_version(
    registry: Registry, swap: Swap, case: str, tenant: TenantRef
) -> None:
    """Named or found, it is passed over."""
    for week in range(3):
        promote(registry, tenant, case, week)
    swap(tenant, case, "2", "3")
    with pytest.raises(IntegrityError):
        roll_back(tenant, case, to="2", as_of=NOW, registry=registry, promotions=PROMOTIONS)
    assert (
        roll_back(
            tenant, case, to=None, as_of=NOW, registry=registry, promotions=PROMOTIONS
        ).version
        == "1"
    )


def test_a_version_whose_descent_the_registry_hides_is_taken_by_nobody(
    platform: Platform, database: Postgres, case: str, tenant: TenantRef
) -> None:
    """By its number, as what serves, and to go back to: the ledger says what it came from."""
    registry = platform.registry
    parent = f"global/{case}@1"
    promote(registry, GLOBAL, case, 0, "global")
    promote(registry, tenant, case, 0)
    promote(registry, tenant, case, 1, "global", parent=parent)
    if isinstance(registry, InMemoryRegistry):
        versions = registry._versions[workspace(tenant), model_name(case)]
        for key, one in versions.items():
            versions[key] = replace(one, parent_version="")
    else:
        with psycopg.connect(database.dsn("mlflow")) as connection:
            done = connection.execute(
                "UPDATE model_version_tags SET value = '' WHERE workspace = %s AND name = %s "
                "AND key = 'tenantry.parent_version' AND value <> ''",
                [workspace(tenant), model_name(case)],
            )
            assert done.rowcount == 1
    assert registry.get(tenant, case, "2").parent_version == ""
    told = rf"comes from nothing by the registry, and from {parent} by the ledger"
    with pytest.raises(IntegrityError, match=told):
        serving.in_force(platform, tenant, case, NOW)
    with pytest.raises(IntegrityError, match=told):
        serving.version(platform, tenant, case, "2")
    assert (
        roll_back(tenant, case, to="1", as_of=NOW, registry=registry, promotions=PROMOTIONS).version
        == "1"
    )
    with pytest.raises(IntegrityError, match=told):
        roll_back(tenant, case, to="2", as_of=NOW, registry=registry, promotions=PROMOTIONS)


@pytest.mark.parametrize("swapped", ["the copy", "the original"])
def test_a_swapped_version_is_not_reproduced(
    platform: Platform, swap: Swap, case: str, tenant: TenantRef, swapped: str
) -> None:
    """Neither where it was trained nor where it serves as it is."""
    registry, world = platform.registry, content("spend")
    source = promote(registry, GLOBAL, case, 0, "global", model=world)
    promote(registry, GLOBAL, case, 1, "global")
    promote(
        registry, tenant, case, 0, "global", parent=f"global/{case}@{source.version}", model=world
    )
    promote(registry, tenant, case, 1, "global", parent=f"global/{case}@{source.version}")

    def again() -> None:
        reproduce(
            tenant,
            registry.get(tenant, case, "1"),
            replace(get("churn"), name=case),
            fleet={},
            registry=registry,
            promotions=PROMOTIONS,
            lake=platform.lake,
            code_revision="tested",
        )

    again()
    swap(GLOBAL if swapped == "the original" else tenant, case, "1", "2")
    with pytest.raises(IntegrityError, match="not the artifact that was promoted"):
        again()


def test_a_number_that_the_ledger_does_not_know_is_taken_as_registered(
    registry: Registry, case: str, tenant: TenantRef
) -> None:
    """There is nothing to compare it with; whoever uses it writes its digest down first."""
    promote(registry, tenant, case, 0)
    lone = registry.register(tenant, case, new("lone"))
    decided = PROMOTIONS.history(tenant, case)
    assert recorded.registered(tenant, case, lone.version, registry, decided) == lone
