"""A migrated database, MLflow on the same server, and both registries behind one fixture."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from include.registry import mlflow_registry
from include.registry.in_memory import InMemoryRegistry
from include.registry.mlflow_registry import MlflowRegistry
from include.registry.port import ModelVersion, Registry
from include.runtime.postgres import Postgres
from include.storage.lake import Lake
from include.storage.migrate import migrate
from include.tenants.namespace import TenantRef, lake_prefix

#: Changes the bytes of a version (`model` or `reference`) behind the registry's back.
Tamper = Callable[[TenantRef, ModelVersion, str], None]


@pytest.fixture(scope="session")
def database(postgres: Postgres) -> Iterator[Postgres]:
    """Tenantry's database, migrated, in the environment as the runtime puts it there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENANTRY_ADMIN_DATABASE_URL", postgres.dsn("tenantry"))
        patch.setenv("TENANTRY_DATABASE_URL", postgres.dsn("tenantry", "tenantry_app"))
        migrate()
        yield postgres


@pytest.fixture(scope="session")
def mlflow_uri(database: Postgres) -> str:
    """MLflow's database, prepared."""
    uri = database.sqlalchemy_url("mlflow", "mlflow")
    mlflow_registry.prepare(uri)
    return uri


@pytest.fixture
def lake() -> Iterator[Lake]:
    """An empty lake."""
    root = Path(tempfile.mkdtemp(prefix="tenantry-lake-"))
    yield Lake(root)
    shutil.rmtree(root)


@pytest.fixture(params=["in_memory", "mlflow"])
def registry(request: pytest.FixtureRequest, lake: Lake) -> Registry:
    """Each of the two registries in turn."""
    if request.param == "in_memory":
        return InMemoryRegistry()
    return MlflowRegistry(request.getfixturevalue("mlflow_uri"), lake.root)


@pytest.fixture
def tamper(registry: Registry, lake: Lake) -> Tamper:
    """How an intruder who reached the registry's store would change a file."""

    def in_memory(tenant: TenantRef, version: ModelVersion, kind: str) -> None:
        assert isinstance(registry, InMemoryRegistry)
        registry.files[(tenant.id, version.use_case, version.version, kind)] += b" "

    def in_lake(tenant: TenantRef, version: ModelVersion, kind: str) -> None:
        name = {"model": "model.json", "reference": "reference.parquet"}[kind]
        for card in (lake.root / lake_prefix(tenant) / "models").rglob("card.json"):
            if json.loads(card.read_text())["as_of"] == version.as_of.isoformat():
                file = card.with_name(name)
                file.write_bytes(file.read_bytes() + b" ")

    return in_memory if isinstance(registry, InMemoryRegistry) else in_lake
