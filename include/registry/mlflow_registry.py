"""The registry in MLflow: one workspace per tenant, straight against its Postgres database.

A version comes into being in a single transaction that carries all its tags, after its files are
in place, so that a half-written one cannot be seen. What a killed registration leaves behind, a
run and files, is found by its key and used again.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

# MLflow reads these when it is imported, and when a store is opened or asked
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["MLFLOW_ENABLE_WORKSPACES"] = "true"

import mlflow
from mlflow.entities import Metric, Param, RunTag
from mlflow.entities.model_registry import ModelVersion as MlflowVersion
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH, MAX_PARAMS_TAGS_PER_BATCH
from mlflow.utils.workspace_context import ServerWorkspaceContext

from include.errors import UnknownNameError
from include.handoffs import StoredObject
from include.registry.card import card, lines, to_tags
from include.registry.mlflow_records import (
    CARD,
    TAG,
    Recorded,
    connect,
    ours,
    unavailable,
)
from include.registry.model_card import page
from include.registry.port import (
    ModelVersion,
    NewVersion,
    check_alias,
    check_same,
)
from include.storage.lake import Lake
from include.tenants.namespace import TenantRef, lake_prefix, model_name, workspace

_LOCK_SPACE: Final = 0x7E4A  #: first key of the advisory locks taken here
_MODEL, _REFERENCE = "model.json", "reference.parquet"
_PAGE: Final = "card.html"  #: the card for people; made from the other
_EXISTS: Final = "RESOURCE_ALREADY_EXISTS"
#: Of what is not there: a model, a version, an alias.
_MISSING: Final = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


def prepare(tracking_uri: str) -> None:
    """Create MLflow's tables unless they are there; safe in parallel and at every start.

    Raises:
        UnavailableError: the database does not answer, or is of another MLflow release.
    """
    _client(tracking_uri)


@dataclass(frozen=True)
class MlflowRegistry:
    """Versions and aliases in MLflow's database, artifacts in the tenants' part of the lake."""

    tracking_uri: str  #: SQLAlchemy URL of MLflow's Postgres database
    artifact_root: Path  #: root of the lake; a tenant's artifacts lie in its own folder `models`

    def register(self, tenant: TenantRef, use_case: str, new: NewVersion) -> ModelVersion:
        """See `Registry.register`."""
        name = model_name(use_case)
        lock = f"{workspace(tenant)}/{name}"
        with _locked(self.tracking_uri, lock), self._scope(tenant) as client:
            for tags, version in self._all(client, tenant, use_case):
                if tags["key"] == new.key:
                    return version
            run_id, folder = self._run(client, tenant, use_case, new)
            lake = Lake(self.artifact_root)
            lake.put(tenant, f"{folder}/{_MODEL}", new.model)
            lake.put(tenant, f"{folder}/{_REFERENCE}", new.reference)
            content = card(tenant.id, use_case, new)
            lake.put(tenant, f"{folder}/{_PAGE}", page(json.loads(content)).encode())
            written = lake.put(tenant, f"{folder}/{CARD}", content)
            client.set_terminated(run_id)
            _unless_there(lambda: client.create_registered_model(name))
            own = {"key": new.key, "folder": folder, "card_digest": written.digest}
            created = client.create_model_version(
                name,
                source=lake.file_path(tenant, folder).as_uri(),
                run_id=run_id,
                tags=_prefixed(own | to_tags(new.at(tenant, use_case, ""))),
                await_creation_for=0,
            )
            return new.at(tenant, use_case, str(created.version))

    def get(self, tenant: TenantRef, use_case: str, version: str) -> ModelVersion:
        """See `Registry.get`."""
        return self._recorded(tenant, use_case, version)[1]

    def versions(self, tenant: TenantRef, use_case: str) -> Sequence[ModelVersion]:
        """See `Registry.versions`."""
        with self._scope(tenant) as client:
            return tuple(version for _, version in self._all(client, tenant, use_case))

    def alias(self, tenant: TenantRef, use_case: str, name: str) -> ModelVersion | None:
        """See `Registry.alias`."""
        check_alias(name)
        with self._scope(tenant) as client:
            aliased = _if_there(
                lambda: client.get_model_version_by_alias(model_name(use_case), name)
            )
        recorded = None if aliased is None else _ours(tenant, use_case, aliased)
        return None if recorded is None else recorded[1]

    def set_alias(self, tenant: TenantRef, use_case: str, name: str, version: str) -> None:
        """See `Registry.set_alias`."""
        recorded = self.get(tenant, use_case, version)
        with self._scope(tenant) as client:
            client.set_registered_model_alias(
                model_name(use_case), check_alias(name), recorded.version
            )

    def delete_alias(self, tenant: TenantRef, use_case: str, name: str) -> None:
        """See `Registry.delete_alias`."""
        if self.alias(tenant, use_case, check_alias(name)) is not None:
            with self._scope(tenant) as client:
                client.delete_registered_model_alias(model_name(use_case), name)

    def artifact(self, tenant: TenantRef, version: ModelVersion) -> bytes:
        """See `Registry.artifact`."""
        return self._read(tenant, version, _MODEL, version.digest)

    def reference(self, tenant: TenantRef, version: ModelVersion) -> bytes:
        """See `Registry.reference`."""
        return self._read(tenant, version, _REFERENCE, version.reference_digest)

    def card(self, tenant: TenantRef, version: ModelVersion) -> bytes:
        """See `Registry.card`."""
        tags, _ = self._recorded(tenant, version.use_case, version.version)
        return self._read(tenant, version, CARD, tags.get("card_digest", ""))

    def _read(self, tenant: TenantRef, version: ModelVersion, file: str, digest: str) -> bytes:
        tags, recorded = self._recorded(tenant, version.use_case, version.version)
        check_same(tenant, version, recorded)
        stored = StoredObject(tenant.id, f"{tags['folder']}/{file}", digest, 0)
        return Lake(self.artifact_root).get(tenant, stored)

    def _recorded(self, tenant: TenantRef, use_case: str, version: str) -> Recorded:
        """A version and its tags. Raises: UnknownNameError, listing the versions there are."""
        with self._scope(tenant) as client:
            registered = _if_there(lambda: client.get_model_version(model_name(use_case), version))
        recorded = None if registered is None else _ours(tenant, use_case, registered)
        if recorded is None:
            numbers = [other.version for other in self.versions(tenant, use_case)]
            raise UnknownNameError("model version", version, numbers, f"{tenant.id}/{use_case}")
        return recorded

    def _all(self, client: mlflow.MlflowClient, tenant: TenantRef, use_case: str) -> list[Recorded]:
        """Our versions with their tags, oldest first; versions made by hand lack those tags."""
        versions: list[MlflowVersion] = []
        page = None
        while True:
            listed = client.search_model_versions(
                f"name = '{model_name(use_case)}'",
                order_by=["version_number ASC"],
                page_token=page,
            )
            versions += listed
            page = listed.token
            if not page:
                break
        return [
            recorded
            for version in versions
            if (recorded := _ours(tenant, use_case, version)) is not None
        ]

    def _run(
        self, client: mlflow.MlflowClient, tenant: TenantRef, use_case: str, new: NewVersion
    ) -> tuple[str, str]:
        """Id of the run of this key, with everything logged, and its artifact folder."""
        experiment = self._experiment(client, tenant, use_case)
        # not of the key alone: what a run has logged cannot be logged differently
        content = hashlib.sha256(card(tenant.id, use_case, new)).hexdigest()
        begun = client.search_runs([experiment], f"tags.`{TAG}card_digest` = '{content}'")
        tags = to_tags(new.at(tenant, use_case, "")) | {"key": new.key}
        if begun:
            run_id = begun[0].info.run_id
        else:
            run_id = client.create_run(
                experiment,
                tags=_prefixed({"card_digest": content}),
                run_name=f"{new.name} {new.as_of:%Y-%m-%d}",
            ).info.run_id
        at = int(new.as_of.timestamp() * 1000)
        metrics = [
            Metric(_shown(k), float(v), at, 0) for k, v in sorted(new.metrics.items()) if v == v
        ]
        client.log_batch(
            run_id, metrics=metrics, tags=[RunTag(k, v) for k, v in _prefixed(tags).items()]
        )
        shown = lines(new.parameters) | lines(new.lineage, "lineage.")
        params = [Param(_shown(k), v[:MAX_PARAM_VAL_LENGTH]) for k, v in shown.items()]
        for first in range(0, len(params), MAX_PARAMS_TAGS_PER_BATCH):
            client.log_batch(run_id, params=params[first : first + MAX_PARAMS_TAGS_PER_BATCH])
        return run_id, f"models/{experiment}/{run_id}/artifacts"

    def _experiment(self, client: mlflow.MlflowClient, tenant: TenantRef, use_case: str) -> str:
        """Id of the tenant's experiment for the use case, created with the workspace if need be."""
        name = model_name(use_case)
        existing = client.get_experiment_by_name(name)
        if existing is not None and existing.lifecycle_stage == "deleted":
            client.restore_experiment(existing.experiment_id)
        if existing is None:
            home = (self.artifact_root / lake_prefix(tenant) / "models").resolve().as_uri()
            _unless_there(
                lambda: client.create_workspace(workspace(tenant), default_artifact_root=home)
            )
            return str(client.create_experiment(name))
        return str(existing.experiment_id)

    @contextmanager
    def _scope(self, tenant: TenantRef) -> Iterator[mlflow.MlflowClient]:
        """A client whose calls, in this thread and block, see the tenant's workspace only.

        Without the setting MLflow opens a store that knows no workspaces, and would show a tenant
        everybody's versions: whoever has cleared the environment since does not get so far.
        """
        os.environ["MLFLOW_ENABLE_WORKSPACES"] = "true"
        client = _client(self.tracking_uri)
        try:
            with ServerWorkspaceContext(workspace(tenant)):
                yield client
        except MlflowException as error:
            raise unavailable(error) from error


@cache
def _client(tracking_uri: str) -> mlflow.MlflowClient:
    """The process's client for a database, its tables created; under a lock, as creation races."""
    os.environ["MLFLOW_ENABLE_WORKSPACES"] = "true"
    with _locked(tracking_uri, "schema"):
        client = mlflow.MlflowClient(tracking_uri, tracking_uri, tracking_uri)
        try:
            client.list_workspaces()  # opens a store, which creates or checks the tables
            with ServerWorkspaceContext("default"):
                client.search_experiments(max_results=1)
                client.search_registered_models(max_results=1)
        except MlflowException as error:
            raise unavailable(error) from error
    return client


@contextmanager
def _locked(tracking_uri: str, name: str) -> Iterator[None]:
    """Holds an advisory lock of MLflow's database, which a killed holder loses."""
    with connect(tracking_uri) as connection:
        connection.execute("SELECT pg_advisory_lock(%s, hashtext(%s))", [_LOCK_SPACE, name])
        yield


def _ours(tenant: TenantRef, use_case: str, version: MlflowVersion) -> Recorded | None:
    return ours(tenant, use_case, str(version.version), version.tags)


def _if_there(get: Callable[[], MlflowVersion]) -> MlflowVersion | None:
    try:
        return get()
    except MlflowException as error:
        if error.error_code in _MISSING:
            return None
        raise


def _shown(name: str) -> str:
    """A parameter's or metric's name in the characters MLflow takes: `hit@10` is `hit_at_10`."""
    return re.sub(r"[^\w./: -]", "_", name.replace("@", "_at_"))


def _prefixed(tags: Mapping[str, str]) -> dict[str, str]:
    return {f"{TAG}{key}": value for key, value in tags.items()}


def _unless_there(create: Callable[[], object]) -> None:
    try:
        create()
    except MlflowException as error:
        if error.error_code != _EXISTS:
            raise
