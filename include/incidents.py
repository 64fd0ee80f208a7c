"""Incidents: what went wrong, for whom and since when, until it is over.

Each is opened once per kind, use case and instant, may be changed and closed, and is never deleted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from include.tenants.namespace import TenantRef


@dataclass(frozen=True)
class Incident:
    """Something that went wrong."""

    kind: str
    use_case: str  #: empty where all of the owner's are concerned
    as_of: datetime
    summary: str
    details: Mapping[str, Any]  #: JSON
    closed_at: datetime | None = None


class Incidents(Protocol):
    """The port to the incidents of tenants, of owners of global models, and of the platform."""

    def put(self, owner: TenantRef, incident: Incident) -> None:
        """Write an incident in the place of one of the same kind, use case and instant."""

    def open(self, owner: TenantRef, incident: Incident) -> None:
        """Open an incident, again where it was closed; other details on record of it stay."""

    def close(
        self,
        owner: TenantRef,
        kind: str,
        use_case: str,
        as_of: datetime,
        at: datetime | None = None,
    ) -> None:
        """Say that an incident is over since `at` (since now when None), if it is open."""

    def answer(
        self, owner: TenantRef, answered: Incident, action: str, entry: Mapping[str, Any], by: str
    ) -> None:
        """Close an incident with what a person said to it, and enter that in the audit chain.

        Args:
            answered: when it was closed, and the details that are new.
            action: of the entry in the chain.
            entry: the details of the entry.
        """

    def of_kind(self, owner: TenantRef, kind: str, use_case: str = "") -> list[Incident]:
        """The use case's incidents of a kind, oldest first."""

    def about(self, owner: TenantRef, use_case: str) -> list[Incident]:
        """The use case's incidents and those of the whole owner, oldest first."""
