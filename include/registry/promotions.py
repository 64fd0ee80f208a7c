"""Promotions: every decision about who serves, recorded once and for ever.

What serves at an instant is read here and not from the registry's alias, so that a rerun of an old
interval scores with the version that served then. The alias follows the promotions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Protocol

from include.registry.port import ModelVersion
from include.tenants.namespace import TenantRef

ROLLBACK: Final = "rollback"
EXPERIMENT: Final = "experiment"
CONSENT: Final = "consent"
RELEASE: Final = "release"


@dataclass(frozen=True)
class Promotion:
    """One decision: about a training or an experiment, or to go back to an earlier version."""

    tenant: str
    use_case: str
    as_of: datetime
    #: `scheduled`, `drift` or `manual`; `rollback-1`, `experiment-1`, `consent-1`, `release-1`, …
    #: where nothing was trained
    trigger: str
    promoted: bool  #: whether who serves has changed
    version: str  #: champion after the decision; empty when there is none
    rung: str
    digest: str
    incumbent_version: str  #: champion before the decision; empty when there was none
    reasons: tuple[str, ...]
    evidence: Mapping[str, Any]
    actor: str = "system"  #: or the user who decided
    withdrawn: tuple[str, ...] = ()  #: versions that must not serve again until one is put back
    decided_at: datetime | None = field(default=None, compare=False)  #: when it was recorded

    @property
    def trained(self) -> bool:
        """Whether a training was decided upon."""
        return not self.trigger.startswith((ROLLBACK, EXPERIMENT, CONSENT, RELEASE))

    def stays(
        self,
        as_of: datetime,
        trigger: str,
        reasons: Sequence[str],
        actor: str,
        withdrawn: Sequence[str] = (),
    ) -> Promotion:
        """The decision after which the same version goes on serving, and nothing challenges it."""
        return replace(
            self,
            as_of=max(as_of, self.as_of),
            trigger=trigger,
            promoted=False,
            incumbent_version=self.version,
            reasons=tuple(reasons),
            evidence={**self.evidence, "challenger": ""},
            actor=actor,
            withdrawn=tuple(withdrawn),
        )

    @property
    def for_good(self) -> bool:
        """Whether the versions it withdrew can never be put back, as consent was withdrawn."""
        return self.trigger.startswith(CONSENT)


class Promotions(Protocol):
    """The port to the promotions of every tenant: they are added and read, never changed."""

    def record(self, tenant: TenantRef, promotion: Promotion) -> Promotion:
        """Write a decision unless its training has one; return the decision on record."""

    def find(
        self, tenant: TenantRef, use_case: str, as_of: datetime, trigger: str
    ) -> Promotion | None:
        """The decision for one training, if it was taken."""

    def champion_at(
        self, tenant: TenantRef, use_case: str, as_of: datetime | None = None
    ) -> Promotion | None:
        """The promotion that is in force at `as_of` (the newest of all when None), if any.

        No promotion is in force where its version was withdrawn for good since, whatever served
        then.
        """

    def gone(self, tenant: TenantRef, use_case: str) -> frozenset[str]:
        """The versions that were withdrawn for good."""

    def history(self, tenant: TenantRef, use_case: str) -> list[Promotion]:
        """Every decision, oldest first."""

    def outline(self, tenant: TenantRef, use_case: str) -> list[Promotion]:
        """`history` with empty evidence, which is large."""

    def challenger(self, tenant: TenantRef, use_case: str) -> str:
        """The newest version that lost, of the tenant's own; empty where there is none."""

    def exclusive(self, tenant: TenantRef, use_case: str) -> AbstractContextManager[None]:
        """One decision at a time per tenant and use case; a killed holder lets go by itself."""


def promoted_from(tenant: TenantRef, version: ModelVersion, as_of: datetime) -> Promotion:
    """A promotion, not yet recorded, of a version that is not the result of a decided training."""
    model = {"rung": version.rung, "name": version.name, "digest": version.digest, "value": None}
    return Promotion(
        tenant=tenant.id,
        use_case=version.use_case,
        as_of=as_of,
        trigger="",
        promoted=True,
        version=version.version,
        rung=version.rung,
        digest=version.digest,
        incumbent_version="",
        reasons=(),
        evidence={
            "metric": "",
            "candidates": [model],
            "incumbent": None,
            "champion": None,
            "reference_digest": version.reference_digest,
            "parent_version": version.parent_version,
        },
    )


def withdrawn(decided: Sequence[Promotion]) -> dict[str, str]:
    """Versions that were withdrawn and not put back since, each with the reason.

    Args:
        decided: as `Promotions.history` gives them.
    """
    reasons: dict[str, str] = {}
    for promotion in decided:
        reasons |= dict.fromkeys(promotion.withdrawn, " ".join(promotion.reasons))
        if promotion.promoted:
            reasons.pop(promotion.version, None)
    return reasons | withdrawn_for_good(decided)


def withdrawn_for_good(decided: Sequence[Promotion]) -> dict[str, str]:
    """Versions made of data whose consent was withdrawn, which stay so, each with the reason."""
    reasons: dict[str, str] = {}
    for promotion in decided:
        if promotion.for_good:
            reasons |= dict.fromkeys(promotion.withdrawn, " ".join(promotion.reasons))
    return reasons
