"""Skew findings: features that differ, computed again, from the vectors that models used.

A finding names no entity: it says in which row of the vectors' file the first difference stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, Protocol

from include.incidents import Incident
from include.tenants.namespace import TenantRef
from include.wall_clock import local_day

Cause = Literal["definition", "past", "engine", "unknown", "online"]
#: Kind of the incidents.
KIND: Final = "feature_skew"
#: Cause → what it means.
CAUSES: Final[dict[Cause, str]] = {
    "definition": "the features are declared differently since",
    "past": "the past was rewritten in the lake since",
    "engine": "the same declaration on the same rows gives something else",
    "unknown": "the rows read then are gone, so the past or the engine",
    "online": "the online store answers something else",
}
#: How many features a summary names.
_NAMED: Final = 5


@dataclass(frozen=True)
class Mismatch:
    """A feature that differs in some of the rows compared."""

    feature: str
    compared: int
    mismatched: int
    first: int  #: the first of the rows that differ
    difference: float | None  #: the largest relative one; None where a null, text or column differs


@dataclass(frozen=True)
class SkewFinding:
    """One feature of one log that differs from what was logged."""

    use_case: str
    as_of: datetime
    path: Literal["offline", "online"]
    mismatch: Mismatch
    cause: Cause
    model_version: str  #: which used the vectors

    def told(self, timezone: str) -> str:
        """The finding in words, with the day of a time zone."""
        differs, day = self.mismatch, local_day(self.as_of, timezone)
        return (
            f"{day} {self.path} {differs.feature}: {differs.mismatched} of "
            f"{differs.compared} vectors differ, the first in row {differs.first}: "
            f"{CAUSES[self.cause]}"
        )


class SkewFindings(Protocol):
    """The port to what skew replays have found, with an incident per instant."""

    def record(
        self,
        tenant: TenantRef,
        use_case: str,
        instants: Sequence[datetime],
        findings: Sequence[SkewFinding],
        replayed_at: datetime,
    ) -> None:
        """Make the findings all that is on record of the instants, and open or close incidents."""

    def all_of(self, tenant: TenantRef, use_case: str | None = None) -> list[SkewFinding]:
        """Every finding on record of one use case, or of all: by instant, path and feature."""


def incident_of(use_case: str, as_of: datetime, findings: Sequence[SkewFinding]) -> Incident:
    """The incident of an instant's findings, of which there is at least one."""
    names = sorted({finding.mismatch.feature for finding in findings})
    causes = sorted({finding.cause for finding in findings})
    shown = ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")
    summary = (
        f"{len(names)} features differ from the vectors that version {findings[0].model_version} "
        f"used: {shown}; {' and '.join(CAUSES[cause] for cause in causes)}"
    )
    return Incident(KIND, use_case, as_of, summary, {"features": names, "causes": causes})
