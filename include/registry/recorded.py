"""Reads a version from the registry only where the version is what the promotions ledger records.

Whoever can change a file can change the registry's digest of that file, too, and a version's parent
without touching any file. The ledger records digest and parent of every decision and is never
changed, so every model is compared with the ledger before anybody loads it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from include.errors import IntegrityError
from include.registry.ancestry import ModelName
from include.registry.port import ModelVersion, Registry
from include.registry.promotions import Promotion
from include.tenants.namespace import TenantRef


def promoted(tenant: TenantRef, decision: Promotion, registry: Registry) -> ModelVersion:
    """The version that a decision is about.

    Raises:
        IntegrityError: the registry holds another artifact under the version's number.
    """
    version = registry.get(tenant, decision.use_case, decision.version)
    return _checked(version, {decision.digest}, (decision,))


def registered(
    tenant: TenantRef,
    use_case: str,
    number: str,
    registry: Registry,
    decided: Sequence[Promotion],
) -> ModelVersion:
    """A version by its number, compared with the ledger.

    A version that no decision mentions is returned as the registry has it.

    Args:
        decided: as `Promotions.history` gives them.

    Raises:
        IntegrityError: the registry holds another artifact under that number.
    """
    expected = digests(decided, number)
    version = registry.get(tenant, use_case, number)
    return _checked(version, expected, decided) if expected else version


def as_told(version: ModelVersion, decided: Sequence[Promotion]) -> ModelVersion:
    """The version with the parent that the ledger records, whatever the registry says by now.

    A version that no decision mentions keeps the parent that the registry has.

    Args:
        decided: as `Promotions.history` gives them.
    """
    for decision in decided:
        prefix = _part(decision, version.version)
        if prefix is not None:
            parent = decision.evidence.get(f"{prefix}parent_version")
            if parent is not None:
                return replace(version, parent_version=parent)
    return version


def made_of(decided: Sequence[Promotion], number: str) -> set[str]:
    """Ids of the tenants whose rows a global version was made of, as far as the ledger says."""
    return {
        tenant
        for decision in decided
        if _part(decision, number) is not None
        for tenant in decision.evidence.get("made_of", ())
    }


def _part(decision: Promotion, number: str) -> str | None:
    """The prefix of a decision's evidence on a version; None where it has none."""
    if decision.promoted and decision.version == number:
        return ""
    return "challenger_" if decision.evidence.get("challenger") == number else None


def digests(decided: Sequence[Promotion], number: str) -> set[str]:
    """The digests that a version may have, by the decisions on it; empty where there are none.

    A version that ever served has the digest of its promotions; one that only challenged, those of
    its challenges.
    """
    serving = {one.digest for one in decided if one.version == number and one.digest}
    if serving:
        return serving
    challenged = (one.evidence for one in decided if one.evidence.get("challenger") == number)
    return {one["challenger_digest"] for one in challenged if one.get("challenger_digest")}


def _checked(
    version: ModelVersion, allowed: set[str], decided: Sequence[Promotion]
) -> ModelVersion:
    if version.digest not in allowed:
        names = " or ".join(sorted(f"{digest[:12]}…" for digest in allowed))
        raise IntegrityError(
            f"{ModelName.of(version)} is {version.digest[:12]}… in the registry, which is not the "
            f"artifact that was promoted or tried ({names}); restore the registry, or train and "
            "promote again"
        )
    parent = as_told(version, decided).parent_version
    if version.parent_version != parent:
        raise IntegrityError(
            f"{ModelName.of(version)} comes from {version.parent_version or 'nothing'} by the "
            f"registry, and from {parent or 'nothing'} by the ledger; restore the registry, or "
            "train and promote again"
        )
    return version
