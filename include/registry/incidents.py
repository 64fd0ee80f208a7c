"""Incidents of the registry: rows of whoever owns the model, opened once per training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

from include.incidents import Incident, Incidents
from include.registry.suspicions import Answer, Suspicion, SuspicionAnswer, of_document
from include.tenants.namespace import TenantRef

LEAK: Final = "leak"
SUSPECTED_LEAK: Final = "suspected_leak"


@dataclass(frozen=True)
class Suspected:
    """An incident of suspected target leakage."""

    as_of: datetime
    summary: str
    suspicions: tuple[Suspicion, ...]
    version: str  #: that is held back; empty where none would have been promoted
    verdicts: tuple[SuspicionAnswer, ...]  #: oldest first
    closed_at: datetime | None


def open_leak(
    incidents: Incidents,
    owner: TenantRef,
    use_case: str,
    as_of: datetime,
    columns: Mapping[str, tuple[str, ...]],
) -> None:
    """Record that models of a training held what too few tenants have.

    Args:
        columns: model → columns whose texts stand in it; no text itself.
    """
    summary = f"Models for all held what single tenants have: {', '.join(sorted(columns))}"
    details = {"models": {name: list(names) for name, names in sorted(columns.items())}}
    incidents.put(owner, Incident(LEAK, use_case, as_of, summary, details))


def open_suspicion(
    incidents: Incidents,
    owner: TenantRef,
    use_case: str,
    as_of: datetime,
    suspicions: Sequence[Suspicion],
    version: str,
) -> None:
    """Record what training suspects to carry its outcome; what people said to it before stays.

    Args:
        version: that is held back for it; empty where nothing would have been promoted.
    """
    what = ", ".join(suspicion.origin for suspicion in suspicions)
    held = f"Version {version} is held back" if version else "Nothing was to be promoted anyway"
    summary = (
        f"Suspected target leakage: {what} may carry the outcome of {use_case}. {held}. Look at "
        f"the source, then `tenantry suspicion dismiss` or `confirm {owner.id} {use_case}`"
    )
    details = {"suspicions": [asdict(suspicion) for suspicion in suspicions], "version": version}
    incidents.open(owner, Incident(SUSPECTED_LEAK, use_case, as_of, summary, details))


def close_suspicion(incidents: Incidents, owner: TenantRef, use_case: str, as_of: datetime) -> None:
    """Close an incident that a later training does not bring up any more."""
    incidents.close(owner, SUSPECTED_LEAK, use_case, as_of)


def suspected(incidents: Incidents, owner: TenantRef, use_case: str) -> list[Suspected]:
    """The use case's incidents of suspected target leakage, oldest first."""
    return [
        Suspected(
            incident.as_of,
            incident.summary,
            of_document(incident.details),
            incident.details.get("version", ""),
            tuple(
                SuspicionAnswer(**{**verdict, "mappings": tuple(verdict["mappings"])})
                for verdict in incident.details.get("verdicts", ())
            ),
            incident.closed_at,
        )
        for incident in incidents.of_kind(owner, SUSPECTED_LEAK, use_case)
    ]


def answer_suspicion(
    incidents: Incidents,
    owner: TenantRef,
    use_case: str,
    incident: Suspected,
    answer: Answer,
    because: str,
    by: str,
    at: datetime,
) -> None:
    """Close an incident with what somebody said to it, and enter that in the audit chain."""
    said = [
        SuspicionAnswer(suspicion.origin, suspicion.mappings, answer, because, by, at.isoformat())
        for suspicion in incident.suspicions
    ]
    verdicts = [asdict(verdict) for verdict in (*incident.verdicts, *said)]
    entry = {
        "use_case": use_case,
        "as_of": incident.as_of.isoformat(),
        "origins": [suspicion.origin for suspicion in incident.suspicions],
        "version": incident.version,
        "because": because,
    }
    answered = Incident(
        SUSPECTED_LEAK, use_case, incident.as_of, incident.summary, {"verdicts": verdicts}, at
    )
    incidents.answer(owner, answered, f"suspected leak {answer}", entry, by)
