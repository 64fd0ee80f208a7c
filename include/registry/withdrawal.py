"""The versions that must not serve: those that were withdrawn, and their descendants."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from include.errors import IntegrityError
from include.registry import recorded
from include.registry.ancestry import ModelName, ancestors
from include.registry.port import ModelVersion, Registry
from include.registry.promotions import Promotion, Promotions, withdrawn, withdrawn_for_good
from include.tenants.namespace import TenantRef, global_ref, is_global


@dataclass(frozen=True)
class Withdrawn:
    """The withdrawn versions of one tenant and use case, as the promotions say now."""

    tenant: str
    use_case: str
    own: frozenset[str]  #: the tenant's versions
    #: Digest of what these versions are → version. A rule of thumb learns nothing and can return.
    digests: Mapping[str, str]
    #: Withdrawn versions of owners of global models, by id: read as descent leads there.
    shared: dict[str, frozenset[str]]
    promotions: Promotions
    also: frozenset[str] = frozenset()  #: names of global versions, as if they were

    @classmethod
    def of(
        cls,
        tenant: TenantRef,
        use_case: str,
        decided: Sequence[Promotion],
        promotions: Promotions,
    ) -> Withdrawn:
        """The versions that a tenant's decisions withdrew; global ones are read on demand.

        A withdrawal counts from the moment that it is written, whatever instant a run is about.

        Args:
            decided: the tenant's decisions, as `Promotions.history` or `outline` gives them.
        """
        own = withdrawn(decided)
        for_good = withdrawn_for_good(decided)
        return cls(
            tenant=tenant.id,
            use_case=use_case,
            own=frozenset(own),
            digests={
                decision.digest: decision.version
                for decision in decided
                if decision.promoted
                and decision.version in own
                and decision.rung != "baseline"
                # what consent was withdrawn to is told by its descent: the same bytes that were
                # learnt without it may serve
                and decision.version not in for_good
            },
            shared={tenant.id: frozenset(own)} if is_global(tenant.id) else {},
            promotions=promotions,
        )

    def plus(self, version: ModelName) -> Withdrawn:
        """The same, as if that global version were withdrawn, too."""
        return replace(self, also=self.also | {str(version)})

    def why(self, version: ModelVersion, registry: Registry) -> str:
        """Why a registered version must not serve; empty where the version may."""
        if version.version in self.own:
            return f"{ModelName.of(version)} was withdrawn"
        return self.why_model(version.digest, version.parent_version, registry)

    def why_model(self, digest: str, parent_version: str, registry: Registry) -> str:
        """Why a model must not serve, by its bytes or its descent; empty where the model may."""
        if digest in self.digests:
            same = ModelName(self.tenant, self.use_case, self.digests[digest])
            return f"it is {same} once more, which was withdrawn"
        for name in ancestors(parent_version, registry):
            if name in self.also or self._is_gone(ModelName.parse(name)):
                return f"it comes from {name}, which was withdrawn"
        return ""

    def _is_gone(self, name: ModelName) -> bool:
        """Whether a global version is withdrawn, by the promotions of its owner."""
        if not is_global(name.tenant):
            return False
        if name.tenant not in self.shared:
            decided = self.promotions.outline(global_ref(name.tenant), self.use_case)
            self.shared[name.tenant] = frozenset(withdrawn(decided))
        return name.version in self.shared[name.tenant]


def lost_for_good(version: ModelVersion, registry: Registry, promotions: Promotions) -> str:
    """Why a version must not be used any more, at whatever instant; empty where it may be.

    Consent was withdrawn to data that the version, or a version it descends from, was made of.
    """
    for name in map(ModelName.parse, ancestors(version.parent_version, registry)):
        if not is_global(name.tenant):
            continue
        if name.version in promotions.gone(global_ref(name.tenant), name.use_case):
            return f"it comes from {name}, which was withdrawn for good, as consent to it was"
    return ""


def earlier(decided: Sequence[Promotion], current: Promotion) -> list[Promotion]:
    """The latest promotion of every version that served before the current one, newest first."""
    served = [decision for decision in decided if decision.promoted and decision.version]
    newest = {decision.version: decision for decision in served}
    newest_first = dict.fromkeys(decision.version for decision in reversed(served))
    return [newest[version] for version in newest_first if version != current.version]


def newest_usable(
    tenant: TenantRef,
    current: ModelVersion,
    candidates: Sequence[Promotion],
    gone: Withdrawn,
    registry: Registry,
) -> tuple[Promotion | None, tuple[str, ...]]:
    """The first candidate that can take over, and why the candidates before it cannot.

    A candidate can that is not withdrawn, reads the same features as the current version, and is
    whole.
    """
    passed: list[str] = []
    for candidate in candidates:
        version = registry.get(tenant, candidate.use_case, candidate.version)
        reason = gone.why(recorded.as_told(version, [candidate]), registry)
        if not reason and version.feature_fingerprint != current.feature_fingerprint:
            reason = "it reads features as they were declared before"
        if not reason:
            try:
                check_whole(
                    tenant,
                    recorded.promoted(tenant, candidate, registry),
                    candidate.digest,
                    registry,
                )
            except IntegrityError as error:
                reason = str(error)
        if not reason:
            return candidate, tuple(passed)
        passed.append(f"Version {candidate.version} was passed over: {reason}.")
    return None, tuple(passed)


def check_whole(
    tenant: TenantRef, version: ModelVersion, digest: str, registry: Registry
) -> ModelVersion:
    """The version, after a check that its model and reference are there and as promoted.

    Raises:
        IntegrityError: a file is gone, or differs from what was promoted.
    """
    if version.digest != digest:
        raise IntegrityError(
            f"{ModelName.of(version)} is {version.digest[:12]}…, and {digest[:12]}… was promoted"
        )
    registry.artifact(tenant, version)
    registry.reference(tenant, version)
    return version
