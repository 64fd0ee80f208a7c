"""The registry in plain dictionaries: the port's meaning, and the reference in tests."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import RLock

from include.errors import IntegrityError
from include.registry.card import card
from include.registry.port import (
    ModelVersion,
    NewVersion,
    check_alias,
    check_same,
    known_version,
)
from include.tenants.namespace import TenantRef, model_name, workspace

_Scope = tuple[str, str]  #: workspace and model name


@dataclass
class InMemoryRegistry:
    """Keeps everything until the process ends."""

    #: Bytes by (workspace, use case, version, `model`, `reference` or `card`); tests tamper with
    #: them.
    files: dict[tuple[str, str, str, str], bytes] = field(default_factory=dict)
    _versions: dict[_Scope, dict[str, ModelVersion]] = field(default_factory=dict)  #: by key
    _cards: dict[tuple[str, str, str], str] = field(default_factory=dict)  #: digests
    _aliases: dict[tuple[_Scope, str], str] = field(default_factory=dict)
    _lock: RLock = field(default_factory=RLock)

    def register(self, tenant: TenantRef, use_case: str, new: NewVersion) -> ModelVersion:
        """See `Registry.register`."""
        scope = _scope(tenant, use_case)
        with self._lock:
            versions = self._versions.setdefault(scope, {})
            if new.key not in versions:
                number = str(len(versions) + 1)
                self.files[(*scope, number, "model")] = new.model
                self.files[(*scope, number, "reference")] = new.reference
                self.files[(*scope, number, "card")] = card(tenant.id, use_case, new)
                self._cards[(*scope, number)] = _digest(card(tenant.id, use_case, new))
                versions[new.key] = new.at(tenant, use_case, number)
            return versions[new.key]

    def get(self, tenant: TenantRef, use_case: str, version: str) -> ModelVersion:
        """See `Registry.get`."""
        return known_version(version, self.versions(tenant, use_case), f"{tenant.id}/{use_case}")

    def versions(self, tenant: TenantRef, use_case: str) -> Sequence[ModelVersion]:
        """See `Registry.versions`."""
        with self._lock:
            return tuple(self._versions.get(_scope(tenant, use_case), {}).values())

    def alias(self, tenant: TenantRef, use_case: str, name: str) -> ModelVersion | None:
        """See `Registry.alias`."""
        with self._lock:
            version = self._aliases.get((_scope(tenant, use_case), check_alias(name)))
            return None if version is None else self.get(tenant, use_case, version)

    def set_alias(self, tenant: TenantRef, use_case: str, name: str, version: str) -> None:
        """See `Registry.set_alias`."""
        with self._lock:
            recorded = self.get(tenant, use_case, version)
            self._aliases[_scope(tenant, use_case), check_alias(name)] = recorded.version

    def delete_alias(self, tenant: TenantRef, use_case: str, name: str) -> None:
        """See `Registry.delete_alias`."""
        with self._lock:
            self._aliases.pop((_scope(tenant, use_case), check_alias(name)), None)

    def artifact(self, tenant: TenantRef, version: ModelVersion) -> bytes:
        """See `Registry.artifact`."""
        return self._read(tenant, version, "model", version.digest)

    def reference(self, tenant: TenantRef, version: ModelVersion) -> bytes:
        """See `Registry.reference`."""
        return self._read(tenant, version, "reference", version.reference_digest)

    def card(self, tenant: TenantRef, version: ModelVersion) -> bytes:
        """See `Registry.card`."""
        scope = _scope(tenant, version.use_case)
        digest = self._cards.get((*scope, version.version), "")
        return self._read(tenant, version, "card", digest)

    def _read(self, tenant: TenantRef, version: ModelVersion, kind: str, digest: str) -> bytes:
        recorded = self.get(tenant, version.use_case, version.version)
        check_same(tenant, version, recorded)
        content = self.files[(*_scope(tenant, version.use_case), version.version, kind)]
        if _digest(content) != digest:
            raise IntegrityError(f"{kind} of {version.use_case}@{version.version} was changed")
        return content


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _scope(tenant: TenantRef, use_case: str) -> _Scope:
    return workspace(tenant), model_name(use_case)
