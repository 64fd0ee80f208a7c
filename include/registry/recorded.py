"""A version of the registry as the promotions ledger knows it: nothing else is loaded.

A registry's own record of a digest can be changed together with the file, and what it says of a
version's descent without any. What a decision was about stands in the ledger, so whoever loads a
model compares with that.
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
        IntegrityError: the registry holds another artifact under its number.
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
    """A version by its number, which has to be what the ledger knows of it.

    A number that the ledger never speaks of is taken as the registry has it.

    Args:
        decided: as `Promotions.history` gives them.

    Raises:
        IntegrityError: the registry holds another artifact under that number.
    """
    expected = digests(decided, number)
    version = registry.get(tenant, use_case, number)
    return _checked(version, expected, decided) if expected else version


def as_told(version: ModelVersion, decided: Sequence[Promotion]) -> ModelVersion:
    """The version with the parent that the ledger has of it, whatever the registry says by now.

    Of a version that the ledger says nothing of, the registry's.

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
    """What a decision calls what it says of a version begins with; None where it says nothing."""
    if decision.promoted and decision.version == number:
        return ""
    return "challenger_" if decision.evidence.get("challenger") == number else None


def digests(decided: Sequence[Promotion], number: str) -> set[str]:
    """What a version can be, by the decisions that speak of it; empty where none does.

    That of its promotion; of one that only ever challenged, that of the challenge.
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
