"""The port to a model registry, in domain verbs; an in-memory twin and MLflow implement it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

from include.errors import IntegrityError, UnknownNameError
from include.tenants.namespace import TenantRef

CHAMPION: Final = "champion"  #: the version that serves
CHALLENGER: Final = "challenger"  #: the tenant's own best version that does not serve
ALIASES: Final = (CHAMPION, CHALLENGER)


@dataclass(frozen=True)
class ModelVersion:
    """One immutable version of a tenant's (or the global) model."""

    tenant: str
    use_case: str
    version: str  #: `1`, `2`, … within the tenant and use case
    rung: str  #: `baseline`, `global` or `own`
    name: str  #: estimator or baseline
    digest: str  #: sha256 of the artifact's bytes
    reference_digest: str  #: sha256 of the reference window's bytes
    parent_version: str  #: `global/churn@3`, or empty
    as_of: datetime
    feature_fingerprint: str


@dataclass(frozen=True)
class NewVersion:
    """A version to be registered: bytes, lineage and evidence."""

    key: str  #: identity of the training; registering the same key again returns the same version
    rung: str
    name: str
    model: bytes
    reference: bytes
    parent_version: str
    as_of: datetime
    feature_fingerprint: str
    parameters: Mapping[str, Any]
    metrics: Mapping[str, float]
    lineage: Mapping[str, Any]  #: table versions, code revision, seed, windows, segments
    #: Baselines, comparisons and the decision's reasons: what a model card sets beside its figures.
    judged: Mapping[str, Any] = field(default_factory=dict)

    def at(self, tenant: TenantRef, use_case: str, version: str) -> ModelVersion:
        """The record of the new version under a number."""
        return ModelVersion(
            tenant=tenant.id,
            use_case=use_case,
            version=version,
            rung=self.rung,
            name=self.name,
            digest=hashlib.sha256(self.model).hexdigest(),
            reference_digest=hashlib.sha256(self.reference).hexdigest(),
            parent_version=self.parent_version,
            as_of=self.as_of,
            feature_fingerprint=self.feature_fingerprint,
        )


class ModelRecords(Protocol):
    """The records of every tenant's versions, each within the tenant's own scope."""

    def get(self, tenant: TenantRef, use_case: str, version: str) -> ModelVersion:
        """The version. Raises: UnknownNameError, listing the versions there are."""

    def versions(self, tenant: TenantRef, use_case: str) -> Sequence[ModelVersion]:
        """All complete versions, oldest first."""

    def card(self, tenant: TenantRef, version: ModelVersion) -> bytes:
        """The version's card (JSON, see `registry.card`), its digest checked.

        Raises:
            IntegrityError: as `Registry.artifact` does.
        """


class Registry(ModelRecords, Protocol):
    """Versions, aliases and artifacts of every tenant, each within the tenant's own scope."""

    def register(self, tenant: TenantRef, use_case: str, new: NewVersion) -> ModelVersion:
        """Store a version once, also where a call was killed half-way and is made again."""

    def alias(self, tenant: TenantRef, use_case: str, name: str) -> ModelVersion | None:
        """The version behind `champion` or `challenger`, if any."""

    def set_alias(self, tenant: TenantRef, use_case: str, name: str, version: str) -> None:
        """Move an alias; idempotent. Raises: UnknownNameError for a strange alias or version."""

    def delete_alias(self, tenant: TenantRef, use_case: str, name: str) -> None:
        """Let an alias stand for no version; idempotent. Raises: UnknownNameError for a strange
        alias."""

    def artifact(self, tenant: TenantRef, version: ModelVersion) -> bytes:
        """The model's bytes, verified before anyone parses them.

        Raises:
            IntegrityError: the digest differs from the recorded digest, the file is gone or lies
                outside the tenant's folder, or the version is another tenant's.
        """

    def reference(self, tenant: TenantRef, version: ModelVersion) -> bytes:
        """The reference window's bytes (Parquet), digest checked likewise."""


def known_version(version: str, known: Sequence[ModelVersion], where: str) -> ModelVersion:
    """The version of that number among those `known`. Raises: UnknownNameError."""
    for candidate in known:
        if candidate.version == version:
            return candidate
    raise UnknownNameError("model version", version, [v.version for v in known], where)


def check_alias(name: str) -> str:
    """The alias itself. Raises: UnknownNameError unless it is one of `ALIASES`."""
    if name not in ALIASES:
        raise UnknownNameError("alias", name, ALIASES)
    return name


def check_same(tenant: TenantRef, given: ModelVersion, recorded: ModelVersion) -> ModelVersion:
    """The recorded version. Raises: IntegrityError where the caller's version differs."""
    if given != recorded:
        raise IntegrityError(
            f"{given.tenant}/{given.use_case}@{given.version} is not what the registry of tenant "
            f"{tenant.id!r} has recorded under that number; read the version from it again"
        )
    return recorded
