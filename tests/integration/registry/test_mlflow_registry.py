"""What only the MLflow registry has to prove: half-done work, hand-made versions, concurrency."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mlflow
import psycopg
import pytest
from mlflow.utils.workspace_context import ServerWorkspaceContext

from include.errors import IntegrityError, UnavailableError
from include.registry.mlflow_registry import MlflowRegistry, prepare
from include.registry.port import ModelVersion, NewVersion
from include.runtime.postgres import Postgres
from include.runtime.state import PROJECT
from include.storage.lake import Lake
from include.tenants.namespace import TenantRef
from tests.unused import unused

pytestmark = pytest.mark.integration

NEW = NewVersion(
    key="2017-01-01/scheduled/own",
    rung="own",
    name="lightgbm",
    model=b'{"model": 1}',
    reference=b"PAR1",
    parent_version="",
    as_of=datetime(2017, 1, 1, tzinfo=UTC),
    feature_fingerprint="0123456789abcdef",
    parameters={"leaves": 7, **{f"p{n:03}": n for n in range(120)}},
    metrics={"auc": 0.87, "hit@10": 0.7, "undefined": float("nan")},
    lineage={"seed": 7, "windows": {"holdout": ["2017-01-01", "2017-02-01"]}},
)
#: Every outside effect of a registration, in the order in which they first happen.
EFFECTS = [
    (mlflow.MlflowClient, "create_workspace"),
    (mlflow.MlflowClient, "create_experiment"),
    (mlflow.MlflowClient, "create_run"),
    (mlflow.MlflowClient, "log_batch"),
    (Lake, "put"),
    (mlflow.MlflowClient, "set_terminated"),
    (mlflow.MlflowClient, "create_registered_model"),
    (mlflow.MlflowClient, "create_model_version"),
]


class KilledError(BaseException):
    """Stands in for SIGKILL: nothing catches it."""


@pytest.fixture
def tenant() -> TenantRef:
    """A tenant that no other test has used."""
    return TenantRef(unused("bolt"), "eu", "pool")


@pytest.fixture
def registry(mlflow_uri: str, lake: Lake) -> MlflowRegistry:
    """The registry on the real database."""
    return MlflowRegistry(mlflow_uri, lake.root)


def within(registry: MlflowRegistry, tenant: TenantRef, ask: Callable[[Any], Any]) -> Any:
    """What MLflow itself answers in the tenant's workspace."""
    uri = registry.tracking_uri
    with ServerWorkspaceContext(tenant.id):
        return ask(mlflow.MlflowClient(uri, uri, uri))


def runs(registry: MlflowRegistry, tenant: TenantRef) -> list[Any]:
    """The tenant's runs of churn."""

    def ask(client: mlflow.MlflowClient) -> list[Any]:
        experiment = client.get_experiment_by_name("churn")
        assert experiment is not None
        return list(client.search_runs([experiment.experiment_id]))

    return list(within(registry, tenant, ask))


@pytest.mark.parametrize(("owner", "effect"), EFFECTS, ids=[name for _, name in EFFECTS])
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_a_killed_registration_is_completed(
    registry: MlflowRegistry,
    tenant: TenantRef,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    effect: str,
    done: bool,
) -> None:
    """Killed before or after any effect and called again: one run, one version, nothing else."""
    original = getattr(owner, effect)

    def killed(*args: Any, **kwargs: Any) -> None:
        if done:
            original(*args, **kwargs)
        raise KilledError

    with monkeypatch.context() as patch:
        patch.setattr(owner, effect, killed)
        with pytest.raises(KilledError):
            registry.register(tenant, "churn", NEW)
    there = registry.versions(tenant, "churn")
    assert [v.version for v in there] in ([], ["1"])
    assert registry.register(tenant, "churn", NEW) == NEW.at(tenant, "churn", "1")
    assert len(registry.versions(tenant, "churn")) == 1
    assert [run.info.status for run in runs(registry, tenant)] == ["FINISHED"]
    assert registry.artifact(tenant, registry.versions(tenant, "churn")[0]) == NEW.model
    home = registry.artifact_root / "eu" / tenant.id
    assert len([path for path in home.rglob("*") if path.is_file()]) == 4


def test_people_can_read_a_version_in_mlflow(
    registry: MlflowRegistry, tenant: TenantRef, lake: Lake
) -> None:
    """Parameters, metrics, lineage and files stand on the run; the files cannot execute."""
    registry.register(tenant, "churn", NEW)
    (run,) = runs(registry, tenant)
    assert run.data.params["leaves"] == "7"
    assert len(run.data.params) == len(NEW.parameters) + len(NEW.lineage)
    assert run.data.params["lineage.windows"] == '{"holdout": ["2017-01-01", "2017-02-01"]}'
    assert run.data.metrics == {"auc": 0.87, "hit_at_10": 0.7}
    files = within(registry, tenant, lambda client: client.list_artifacts(run.info.run_id))
    assert {file.path for file in files} == {
        *("model.json", "reference.parquet", "card.json", "card.html")
    }
    assert run.info.artifact_uri.startswith((lake.root / "eu" / tenant.id / "models").as_uri())
    version = within(registry, tenant, lambda client: client.get_model_version("churn", "1"))
    assert version.run_id == run.info.run_id
    assert version.tags["tenantry.digest"] == NEW.at(tenant, "churn", "1").digest


def test_a_version_made_by_hand_is_ignored(registry: MlflowRegistry, tenant: TenantRef) -> None:
    """What somebody registers in MLflow directly is none of our versions."""
    registry.register(tenant, "churn", NEW)
    within(registry, tenant, lambda c: c.create_model_version("churn", "file:///tmp/stranger"))
    assert [v.version for v in registry.versions(tenant, "churn")] == ["1"]


@pytest.mark.parametrize("folder", ["../../us/other/models/1", "/etc", "models/../../secret"])
def test_a_path_out_of_the_tenants_folder_is_refused(
    registry: MlflowRegistry, tenant: TenantRef, lake: Lake, folder: str
) -> None:
    """A registry entry that points elsewhere is not followed, even where the digest fits."""
    version = registry.register(tenant, "churn", NEW)
    target = (lake.root / "eu" / tenant.id / folder).resolve()
    if target.is_relative_to(lake.root):
        target.mkdir(parents=True)
        (target / "model.json").write_bytes(NEW.model)
    within(
        registry,
        tenant,
        lambda c: c.set_model_version_tag("churn", "1", "tenantry.folder", folder),
    )
    with pytest.raises(IntegrityError, match="out of the tenant's folder"):
        registry.artifact(tenant, version)


def test_a_vanished_artifact_is_reported(
    registry: MlflowRegistry, tenant: TenantRef, lake: Lake
) -> None:
    """A version whose file is gone says so."""
    version = registry.register(tenant, "churn", NEW)
    next((lake.root / "eu" / tenant.id).rglob("model.json")).unlink()
    with pytest.raises(IntegrityError, match="gone"):
        registry.artifact(tenant, version)


def test_tenants_register_at_the_same_time(registry: MlflowRegistry) -> None:
    """Threads that register for different tenants each see their own workspace only."""
    tenants = [TenantRef(f"thread-{n}", "eu", "pool") for n in range(6)]

    def register(tenant: TenantRef) -> list[ModelVersion]:
        for use_case in ("churn", "recommendation"):
            registry.register(tenant, use_case, NEW)
        return [v for u in ("churn", "recommendation") for v in registry.versions(tenant, u)]

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(register, tenants))
    for tenant, versions in zip(tenants, found, strict=True):
        assert [(v.tenant, v.version) for v in versions] == [(tenant.id, "1")] * 2
    assert "MLFLOW_WORKSPACE" not in os.environ


def test_the_same_training_registered_twice_at_once_is_one_version(
    registry: MlflowRegistry, tenant: TenantRef
) -> None:
    """A zombie and its successor that register the same key end with one version."""
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: registry.register(tenant, "churn", NEW).version, range(4)))
    assert found == {"1"}
    assert len(runs(registry, tenant)) == 1


def test_processes_prepare_an_empty_database_at_once(database: Postgres, lake: Lake) -> None:
    """Processes that race for a database without tables all get through."""
    with psycopg.connect(database.dsn("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE mlflow_empty OWNER mlflow")
    uri = database.sqlalchemy_url("mlflow_empty", "mlflow")
    program = (
        "import sys; from include.registry.mlflow_registry import prepare; prepare(sys.argv[1])"
    )
    racing = [subprocess.Popen([sys.executable, "-c", program, uri]) for _ in range(3)]
    assert [process.wait(120) for process in racing] == [0, 0, 0]
    assert MlflowRegistry(uri, lake.root).versions(TenantRef("acme", "eu", "pool"), "churn") == ()


def test_an_absent_database_is_said_to_be_absent(tmp_path: Path) -> None:
    """A database that does not answer is an error a person can act on."""
    with pytest.raises(UnavailableError, match="MLFLOW_TRACKING_URI"):
        prepare(f"postgresql+psycopg2://mlflow@/mlflow?host={tmp_path}")


_FORGETFUL = """
import os, sys
from pathlib import Path
from include.registry.mlflow_registry import MlflowRegistry
from include.tenants.namespace import TenantRef
from tests.integration.registry.test_mlflow_registry import NEW

uri, root, *tenants = sys.argv[1:]
ours, theirs = (TenantRef(tenant, "eu", "pool") for tenant in tenants)
del os.environ["MLFLOW_ENABLE_WORKSPACES"]
registry = MlflowRegistry(uri, Path(root))
registry.register(ours, "churn", NEW)
print(registry.versions(theirs, "churn"), registry.register(theirs, "churn", NEW).version)
print(registry.artifact(theirs, registry.get(theirs, "churn", "1")))
"""


def test_a_process_that_has_lost_the_setting_still_confines_tenants(
    mlflow_uri: str, lake: Lake
) -> None:
    """MLflow opens a store for everybody's versions where its environment has no workspaces."""
    done = subprocess.run(
        [sys.executable, "-c", _FORGETFUL, mlflow_uri, str(lake.root), unused("bolt"), unused("b")],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'tests'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["() 1", str(NEW.model)]
