"""Drift records: profiles of windows, verdicts about them, and who of a fleet drifted on a day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from include.tenants.namespace import TenantRef

if TYPE_CHECKING:  # these import pyarrow, which commands that read verdicts do without
    from include.monitoring.profiles import WindowProfile
    from include.monitoring.season import StoredWindow


@dataclass(frozen=True)
class DriftVerdict:
    """The verdict about the window that a model scored at an instant."""

    use_case: str
    as_of: datetime
    model_version: str  #: empty where no model serves
    verdict: str
    score: float | None  #: the largest PSI of a judged column or the prediction
    reasons: tuple[str, ...]
    report_path: str  #: of the page, or of the numbers; empty where nothing was compared


class DriftRecords(Protocol):
    """The port to what monitoring knows of windows, and to what tenants tell of their drift."""

    def reference(self, tenant: TenantRef, use_case: str, version: str) -> WindowProfile | None:
        """The profile of what a version was judged on; None where it was never profiled."""

    def store_reference(
        self,
        tenant: TenantRef,
        use_case: str,
        version: str,
        as_of: datetime,
        profile: WindowProfile,
    ) -> None:
        """Keep the profile of what a version, trained at `as_of`, was judged on."""

    def windows(
        self, tenant: TenantRef, use_case: str, since: datetime, until: datetime
    ) -> list[StoredWindow]:
        """The windows from `since` to `until`, both included, oldest first."""

    def store_window(self, tenant: TenantRef, use_case: str, window: StoredWindow) -> None:
        """Keep a window's profile, and forget those that no later window will be compared with.

        These are the ones before its `keeps_since`, and references of other versions before it.
        """

    def store_verdict(
        self, tenant: TenantRef, verdict: DriftVerdict, details: Mapping[str, Any]
    ) -> None:
        """Write the verdict of one model at one instant; a rerun replaces it.

        Args:
            details: all that it rests on, its reasons among them.
        """

    def verdicts(self, tenant: TenantRef, use_case: str) -> list[DriftVerdict]:
        """Every verdict about a use case, oldest first."""

    def report_window(
        self,
        tenant: TenantRef,
        use_case: str,
        as_of: datetime,
        *,
        breached: bool,
        pool: TenantRef,
    ) -> str:
        """Tell the platform whether the tenant's window drifted.

        What follows for the pool's storms (`storms.follow`) is written with it, one report after
        another: reports that come at once open one incident, and a repeated one changes nothing.

        Args:
            pool: owner of the global models that the tenant is offered, whose rows these are.
        Returns:
            The name of the storm that the drift is part of, else empty.
        """
