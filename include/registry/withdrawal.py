"""Which versions must not serve: those that were rolled back from, and what came from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from include.errors import IntegrityError
from include.registry import ledger
from include.registry.ancestry import ModelName, ancestors
from include.registry.ledger import Promotion
from include.registry.port import ModelVersion, Registry
from include.tenants.namespace import GLOBAL, TenantRef


@dataclass(frozen=True)
class Withdrawn:
    """What is withdrawn for one tenant and use case, as the ledgers say now."""

    tenant: str
    use_case: str
    own: frozenset[str]  #: the tenant's versions
    #: Digest of what these versions are → version. A rule of thumb learns nothing and can return.
    digests: Mapping[str, str]
    shared: frozenset[str]  #: names of global versions

    @classmethod
    def of(
        cls, tenant: TenantRef, use_case: str, decided: Sequence[Promotion] | None = None
    ) -> Withdrawn:
        """Read from the ledgers, the tenant's (`history`, where that was read) and the global one.

        A withdrawal counts from the moment it is written, whatever instant a run is about.
        """
        decided = ledger.outline(tenant, use_case) if decided is None else decided
        own = ledger.withdrawn(decided)
        world = own if tenant == GLOBAL else ledger.withdrawn(ledger.outline(GLOBAL, use_case))
        return cls(
            tenant=tenant.id,
            use_case=use_case,
            own=frozenset(own),
            digests={
                one.digest: one.version
                for one in decided
                if one.promoted and one.version in own and one.rung != "baseline"
            },
            shared=frozenset(str(ModelName(GLOBAL.id, use_case, version)) for version in world),
        )

    def plus(self, version: ModelName) -> Withdrawn:
        """As if that global version was withdrawn, too."""
        return replace(self, shared=self.shared | {str(version)})

    def why(self, version: ModelVersion, registry: Registry) -> str:
        """Why a registered version must not serve; empty where it may."""
        if version.version in self.own:
            return f"{ModelName.of(version)} was withdrawn"
        return self.why_model(version.digest, version.parent_version, registry)

    def why_model(self, digest: str, parent_version: str, registry: Registry) -> str:
        """Why a model must not serve whatever number it gets: for its bytes or its descent."""
        if digest in self.digests:
            same = ModelName(self.tenant, self.use_case, self.digests[digest])
            return f"it is {same} once more, which was withdrawn"
        if self.shared:
            for name in ancestors(parent_version, registry):
                if name in self.shared:
                    return f"it comes from {name}, which was withdrawn"
        return ""


def earlier(decided: Sequence[Promotion], current: Promotion) -> list[Promotion]:
    """The versions that served before, without the current one: as last promoted, newest first."""
    found = {one.version: one for one in decided if one.promoted}
    newest_first = dict.fromkeys(one.version for one in reversed(decided) if one.promoted)
    return [found[version] for version in newest_first if version != current.version]


def newest_usable(
    tenant: TenantRef,
    current: ModelVersion,
    candidates: Sequence[Promotion],
    gone: Withdrawn,
    registry: Registry,
) -> tuple[Promotion | None, tuple[str, ...]]:
    """The first candidate that can take over, and why those before it cannot.

    It is not withdrawn, reads the features as the current version does, and is whole.
    """
    passed: list[str] = []
    for one in candidates:
        version = registry.get(tenant, one.use_case, one.version)
        reason = gone.why(version, registry)
        if not reason and version.feature_fingerprint != current.feature_fingerprint:
            reason = "it reads features as they were declared before"
        if not reason:
            try:
                check_whole(tenant, version, one.digest, registry)
            except IntegrityError as error:
                reason = str(error)
        if not reason:
            return one, tuple(passed)
        passed.append(f"Version {one.version} was passed over: {reason}.")
    return None, tuple(passed)


def check_whole(
    tenant: TenantRef, version: ModelVersion, digest: str, registry: Registry
) -> ModelVersion:
    """The version, with model and reference there and as they were promoted.

    Raises:
        IntegrityError: they are not.
    """
    if version.digest != digest:
        raise IntegrityError(
            f"{ModelName.of(version)} is {version.digest[:12]}…, and {digest[:12]}… was promoted"
        )
    registry.artifact(tenant, version)
    registry.reference(tenant, version)
    return version
