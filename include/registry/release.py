"""Carries out somebody's answer to suspected target leakage: a version is released, or is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from include.errors import ConfigError, TenantryError
from include.incidents import Incidents
from include.registry import recorded
from include.registry.aliases import follow_ledger
from include.registry.incidents import Suspected, answer_suspicion, suspected
from include.registry.port import Registry
from include.registry.promotions import RELEASE, Promotion, Promotions
from include.registry.rollback import next_trigger
from include.registry.suspicions import HELD, Answer, held_versions
from include.registry.withdrawal import Withdrawn, check_whole
from include.tenants.namespace import TenantRef


@dataclass(frozen=True)
class Answered:
    """The effect of an answer."""

    answer: Answer
    origins: tuple[str, ...]
    released: str  #: the version that serves from now on; empty where none was released
    reason: str


def dismiss(
    owner: TenantRef,
    use_case: str,
    *,
    because: str,
    by: str,
    at: datetime,
    as_of: datetime,
    registry: Registry,
    promotions: Promotions,
    incidents: Incidents,
) -> Answered:
    """Dismiss the open suspicions, and let the version serve that they held back.

    Their origins are not suspected again as long as the sources map them as now. The version is
    released only where the same champion serves as when the version was held back, since it was
    compared with no other.

    Args:
        at: now.
        as_of: end of the newest interval, from which the version serves.

    Raises:
        ConfigError: there is no reason, or nothing open.
    """
    with promotions.exclusive(owner, use_case):
        incident = _open(owner, use_case, because, incidents)
        decided = promotions.history(owner, use_case)
        held = held_versions(decided).get(incident.version)
        refusal = "nothing was held back for it"
        if held is not None:
            refusal = _refusal(owner, use_case, decided, held, registry, promotions)
            if not refusal:
                _release(owner, use_case, decided, held, because, by, as_of, promotions)
        elif incident.version and _serves(owner, use_case, incident.version, promotions):
            refusal = ""  # done by a call that was killed before it could say so
        answer_suspicion(incidents, owner, use_case, incident, "dismissed", because, by, at)
        follow_ledger(owner, use_case, registry, promotions)
    origins = tuple(suspicion.origin for suspicion in incident.suspicions)
    if refusal:
        return Answered("dismissed", origins, "", f"No version was released: {refusal}.")
    version = incident.version
    return Answered("dismissed", origins, version, f"Version {version} serves from now on.")


def confirm(
    owner: TenantRef,
    use_case: str,
    *,
    because: str,
    by: str,
    at: datetime,
    promotions: Promotions,
    incidents: Incidents,
) -> Answered:
    """Confirm the open suspicions: models that read them stay back until the sources change.

    Raises:
        ConfigError: there is no reason, or nothing open.
    """
    with promotions.exclusive(owner, use_case):
        incident = _open(owner, use_case, because, incidents)
        answer_suspicion(incidents, owner, use_case, incident, "confirmed", because, by, at)
    origins = tuple(suspicion.origin for suspicion in incident.suspicions)
    reason = "What reads it is held back until the tenant's source is mapped otherwise."
    return Answered("confirmed", origins, "", reason)


def _open(owner: TenantRef, use_case: str, because: str, incidents: Incidents) -> Suspected:
    if not because.strip():
        raise ConfigError("say why with --because: whoever asks later will want to know")
    open_incidents = [one for one in suspected(incidents, owner, use_case) if one.closed_at is None]
    if not open_incidents:
        raise ConfigError(
            f"nothing is suspected of {owner.id}/{use_case}; `tenantry suspicion list` shows what "
            "is open"
        )
    return open_incidents[-1]


def _serves(owner: TenantRef, use_case: str, version: str, promotions: Promotions) -> bool:
    champion = promotions.champion_at(owner, use_case)
    return champion is not None and champion.version == version


def _refusal(
    owner: TenantRef,
    use_case: str,
    decided: Sequence[Promotion],
    held: Mapping[str, Any],
    registry: Registry,
    promotions: Promotions,
) -> str:
    """Why the version cannot be released; empty where it can."""
    decision = _decision(decided, held)
    champion = promotions.champion_at(owner, use_case)
    serving = champion.version if champion else ""
    if serving != decision.version:
        return (
            f"version {serving or 'none'} serves by now, and {held['version']} was not compared "
            "with it; the next training is"
        )
    try:
        version = recorded.registered(owner, use_case, held["version"], registry, decided)
        version = replace(version, parent_version=held["parent_version"])
        if reason := Withdrawn.of(owner, use_case, decided, promotions).why(version, registry):
            return reason
        check_whole(owner, version, held["digest"], registry)
    except TenantryError as error:
        return str(error).rstrip(".")
    return ""


def _release(
    owner: TenantRef,
    use_case: str,
    decided: Sequence[Promotion],
    held: Mapping[str, Any],
    because: str,
    by: str,
    as_of: datetime,
    promotions: Promotions,
) -> Promotion:
    decision = _decision(decided, held)
    evidence = {
        **decision.evidence,
        HELD: None,
        "champion": held["champion"],
        "challenger": "",
        "reference_digest": held["reference_digest"],
        "parent_version": held["parent_version"],
    }
    reason = f"Released by hand: what was suspected is no target leakage, since {because.strip()}"
    return promotions.record(
        owner,
        Promotion(
            tenant=owner.id,
            use_case=use_case,
            as_of=max(as_of, decision.as_of),
            trigger=next_trigger(decided, RELEASE),
            promoted=True,
            version=held["version"],
            rung=held["rung"],
            digest=held["digest"],
            incumbent_version=decision.version,
            reasons=(f"{reason.rstrip('.')}.",),
            evidence=evidence,
            actor=by,
        ),
    )


def _decision(decided: Sequence[Promotion], held: Mapping[str, Any]) -> Promotion:
    key = (held["as_of"], held["trigger"])
    (decision,) = (decision for decision in decided if (decision.as_of, decision.trigger) == key)
    return decision
