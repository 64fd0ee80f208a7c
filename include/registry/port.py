"""The port to a model registry, in domain verbs; an in-memory twin and MLflow implement it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from include.tenants.namespace import TenantRef


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
    """What is registered: bytes, lineage and evidence."""

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


class Registry(Protocol):
    """Versions, aliases and artifacts of every tenant, each within its own scope."""

    def register(self, tenant: TenantRef, use_case: str, new: NewVersion) -> ModelVersion:
        """Store a version once; killed half-way and called again, there is still only one."""

    def get(self, tenant: TenantRef, use_case: str, version: str) -> ModelVersion:
        """The version. Raises: UnknownNameError."""

    def versions(self, tenant: TenantRef, use_case: str) -> Sequence[ModelVersion]:
        """All complete versions, oldest first."""

    def alias(self, tenant: TenantRef, use_case: str, name: str) -> ModelVersion | None:
        """The version behind `champion` or `challenger`, if any."""

    def set_alias(self, tenant: TenantRef, use_case: str, name: str, version: str) -> None:
        """Move an alias; idempotent."""

    def artifact(self, tenant: TenantRef, version: ModelVersion) -> bytes:
        """The model's bytes. Raises: IntegrityError when their digest is not the recorded one."""

    def reference(self, tenant: TenantRef, version: ModelVersion) -> bytes:
        """The reference window's bytes (Parquet), digest checked likewise."""
