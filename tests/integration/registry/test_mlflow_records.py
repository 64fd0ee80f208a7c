"""What is read of MLflow's tables without MLflow is what MLflow itself answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from include.errors import IntegrityError, UnavailableError, UnknownNameError
from include.registry.mlflow_records import MlflowRecords
from include.registry.mlflow_registry import MlflowRegistry
from include.registry.port import NewVersion
from include.runtime.postgres import Postgres
from include.storage.lake import Lake
from include.tenants.namespace import GLOBAL, TenantRef, lake_prefix, model_name
from tests.unused import unused

pytestmark = pytest.mark.integration

VERSIONS = 11  # of more than one digit: as texts they would sort otherwise


def new(number: int) -> NewVersion:
    """A version as training hands it over."""
    return NewVersion(
        key=f"key-{number}",
        rung="own",
        name="lightgbm",
        model=b"{}",
        reference=b"PAR1",
        parent_version="",
        as_of=datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=number),
        feature_fingerprint="0123456789abcdef",
        parameters={"leaves": number},
        metrics={"auc": 0.5},
        lineage={"seed": number},
    )


@dataclass(frozen=True)
class World:
    """Two tenants' versions in MLflow, and what is read of the same tables."""

    registry: MlflowRegistry
    records: MlflowRecords
    ours: TenantRef
    theirs: TenantRef


@pytest.fixture
def world(mlflow_uri: str, lake: Lake) -> World:
    """Tenants that no other test has used: one with eleven versions, one with one."""
    registry = MlflowRegistry(mlflow_uri, lake.root)
    ours, theirs = (TenantRef(unused("records"), "eu", "pool") for _ in range(2))
    for number in range(VERSIONS):
        registry.register(ours, "churn", new(number))
    registry.register(theirs, "churn", new(99))
    return World(registry, MlflowRecords(mlflow_uri, lake), ours, theirs)


def test_versions_and_cards_are_those_of_the_registry(world: World) -> None:
    """In the same order, and byte for byte; other tenants and use cases have their own."""
    there = world.registry.versions(world.ours, "churn")
    assert list(world.records.versions(world.ours, "churn")) == list(there)
    assert [one.version for one in there][-2:] == [str(VERSIONS - 1), str(VERSIONS)]
    for one in there:
        assert world.records.get(world.ours, "churn", one.version) == one
        assert world.records.card(world.ours, one) == world.registry.card(world.ours, one)
    assert len(world.records.versions(world.theirs, "churn")) == 1
    for tenant, use_case in ((world.ours, "demand"), (GLOBAL, "churn")):
        answered = world.registry.versions(tenant, use_case)
        assert world.records.versions(tenant, use_case) == answered


def test_what_is_no_version_of_ours_is_not_there(world: World) -> None:
    """A version without our tags, and one that MLflow has deleted."""
    with world.registry._scope(world.ours) as client:
        by_hand = client.create_model_version(model_name("churn"), "file:///tmp/by-hand")
        client.delete_model_version(model_name("churn"), "3")
    for number in ("3", str(by_hand.version), "nonsense", ""):
        for one in (world.records, world.registry):
            with pytest.raises(UnknownNameError, match="known: 1, 10, 11, 2, 4, 5"):
                one.get(world.ours, "churn", number)


def test_a_card_that_was_changed_or_is_anothers_is_refused(world: World, lake: Lake) -> None:
    """Its bytes are those that were recorded, of the tenant that asks."""
    version = world.records.get(world.ours, "churn", "1")
    with pytest.raises((IntegrityError, UnknownNameError)):
        world.records.card(world.theirs, version)
    for card in (lake.root / lake_prefix(world.ours) / "models").rglob("card.json"):
        if json.loads(card.read_text())["key"] == "key-0":
            card.write_text(card.read_text() + " ")
    with pytest.raises(IntegrityError):
        world.records.card(world.ours, version)


def test_a_database_without_mlflow_says_what_to_do(postgres: Postgres, lake: Lake) -> None:
    """No tables of MLflow's, or no server."""
    for uri in (
        postgres.sqlalchemy_url("postgres"),
        "postgresql+psycopg://nobody@127.0.0.1:1/mlflow",
    ):
        with pytest.raises(UnavailableError, match="MLFLOW_TRACKING_URI"):
            MlflowRecords(uri, lake).versions(TenantRef("records-0", "eu", "pool"), "churn")
