"""Incidents of the registry: rows of whoever owns the model, opened once per training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

from psycopg.types.json import Jsonb

from include.registry.suspicions import Answer, Suspicion, Verdict, of_document
from include.storage import audit
from include.storage.postgres import tenant_transaction
from include.tenants.namespace import TenantRef

LEAK: Final = "leak"
SUSPECTED_LEAK: Final = "suspected_leak"
_OPEN: Final = """
    INSERT INTO incidents (tenant_id, kind, use_case, as_of, summary, details)
    VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (tenant_id, kind, use_case, as_of)
    DO UPDATE SET summary = excluded.summary, details = excluded.details, closed_at = NULL
"""
#: What was said to it before stays.
_SUSPECT: Final = """
    INSERT INTO incidents (tenant_id, kind, use_case, as_of, summary, details)
    VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (tenant_id, kind, use_case, as_of)
    DO UPDATE SET summary = excluded.summary, details = incidents.details || excluded.details,
        closed_at = NULL
"""
_SUSPECTED: Final = """
    SELECT as_of, summary, details, closed_at FROM incidents
    WHERE tenant_id = %s AND kind = %s AND use_case = %s ORDER BY as_of, opened_at
"""
_CLOSE: Final = """
    UPDATE incidents SET closed_at = now()
    WHERE tenant_id = %s AND kind = %s AND use_case = %s AND as_of = %s AND closed_at IS NULL
"""
_ANSWER: Final = """
    UPDATE incidents SET details = details || %s, closed_at = %s
    WHERE tenant_id = %s AND kind = %s AND use_case = %s AND as_of = %s
"""


@dataclass(frozen=True)
class Suspected:
    """An incident of suspected target leakage."""

    as_of: datetime
    summary: str
    suspicions: tuple[Suspicion, ...]
    version: str  #: that is held back; empty where none would have been promoted
    verdicts: tuple[Verdict, ...]  #: oldest first
    closed_at: datetime | None


def open_leak(
    owner: TenantRef, use_case: str, as_of: datetime, found: Mapping[str, tuple[str, ...]]
) -> None:
    """Record that models of a training held what too few tenants have.

    Args:
        found: model → columns whose texts stand in it; no text itself.
    """
    summary = f"Models for all held what single tenants have: {', '.join(sorted(found))}"
    details = Jsonb({"models": {name: list(columns) for name, columns in sorted(found.items())}})
    with tenant_transaction(owner) as connection:
        connection.execute(_OPEN, [owner.id, LEAK, use_case, as_of, summary, details])


def open_suspicion(
    owner: TenantRef,
    use_case: str,
    as_of: datetime,
    suspicions: Sequence[Suspicion],
    version: str,
) -> None:
    """Record what training suspects to carry its outcome; one that is on record is brought up.

    Args:
        version: that is held back for it; empty where nothing would have been promoted.
    """
    what = ", ".join(one.origin for one in suspicions)
    held = f"Version {version} is held back" if version else "Nothing was to be promoted anyway"
    summary = (
        f"Suspected target leakage: {what} may carry the outcome of {use_case}. {held}. Look at "
        f"the source, then `tenantry suspicion dismiss` or `confirm {owner.id} {use_case}`"
    )
    details = {"suspicions": [asdict(one) for one in suspicions], "version": version}
    with tenant_transaction(owner) as connection:
        connection.execute(
            _SUSPECT, [owner.id, SUSPECTED_LEAK, use_case, as_of, summary, Jsonb(details)]
        )


def close_suspicion(owner: TenantRef, use_case: str, as_of: datetime) -> None:
    """Close an incident that a later training does not bring up any more."""
    with tenant_transaction(owner) as connection:
        connection.execute(_CLOSE, [owner.id, SUSPECTED_LEAK, use_case, as_of])


def suspected(owner: TenantRef, use_case: str) -> list[Suspected]:
    """The use case's incidents of suspected target leakage, oldest first."""
    with tenant_transaction(owner) as connection:
        rows = connection.execute(_SUSPECTED, [owner.id, SUSPECTED_LEAK, use_case]).fetchall()
    return [
        Suspected(
            row["as_of"],
            row["summary"],
            of_document(row["details"]),
            row["details"].get("version", ""),
            tuple(
                Verdict(**{**one, "mappings": tuple(one["mappings"])})
                for one in row["details"].get("verdicts", ())
            ),
            row["closed_at"],
        )
        for row in rows
    ]


def answer_suspicion(
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
        asdict(Verdict(one.origin, one.mappings, answer, because, by, at.isoformat()))
        for one in incident.suspicions
    ]
    before = [asdict(one) for one in incident.verdicts]
    with tenant_transaction(owner) as connection:
        connection.execute(
            _ANSWER,
            [
                *(Jsonb({"verdicts": [*before, *said]}), at),
                *(owner.id, SUSPECTED_LEAK, use_case, incident.as_of),
            ],
        )
        told = {
            "use_case": use_case,
            "as_of": incident.as_of.isoformat(),
            "origins": [one.origin for one in incident.suspicions],
            "version": incident.version,
            "because": because,
        }
        audit.record(owner, f"suspected leak {answer}", told, by, connection)
