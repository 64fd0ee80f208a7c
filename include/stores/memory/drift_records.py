"""Drift records in memory: the meaning of the port in plain Python, and the reference in tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Lock
from typing import Any

from include.incidents import Incidents
from include.monitoring.drift_records import DriftVerdict
from include.monitoring.profiles import WindowProfile
from include.monitoring.season import StoredWindow
from include.monitoring.storms import (
    DAY,
    KIND,
    POLICY,
    Reports,
    Storm,
    day_of,
    follow,
    member_of,
)
from include.tenants.namespace import TenantRef

_Scope = tuple[str, str]  #: owner and use case
_Key = tuple[datetime, str]  #: instant, and model version or member


@dataclass
class InMemoryDriftRecords:
    """Keeps everything until the process ends."""

    incidents: Incidents  #: that storms are written to
    _references: dict[_Scope, dict[_Key, WindowProfile]] = field(default_factory=dict)
    _windows: dict[_Scope, dict[_Key, StoredWindow]] = field(default_factory=dict)
    _verdicts: dict[_Scope, dict[_Key, DriftVerdict]] = field(default_factory=dict)
    _breaches: dict[_Scope, dict[_Key, bool]] = field(default_factory=dict)
    _reporting: Lock = field(default_factory=Lock, repr=False)

    def reference(self, tenant: TenantRef, use_case: str, version: str) -> WindowProfile | None:
        """See `DriftRecords.reference`."""
        kept = self._references.get((tenant.id, use_case), {})
        newest = max((key for key in kept if key[1] == version), default=None)
        return None if newest is None else kept[newest]

    def store_reference(
        self,
        tenant: TenantRef,
        use_case: str,
        version: str,
        as_of: datetime,
        profile: WindowProfile,
    ) -> None:
        """See `DriftRecords.store_reference`."""
        kept = self._references.setdefault((tenant.id, use_case), {})
        kept[as_of, version] = _json(profile)

    def windows(
        self, tenant: TenantRef, use_case: str, since: datetime, until: datetime
    ) -> list[StoredWindow]:
        """See `DriftRecords.windows`."""
        kept = self._windows.get((tenant.id, use_case), {})
        return [kept[key] for key in sorted(kept) if since <= key[0] <= until]

    def store_window(self, tenant: TenantRef, use_case: str, window: StoredWindow) -> None:
        """See `DriftRecords.store_window`."""
        scope, since = (tenant.id, use_case), window.keeps_since
        windows = self._windows.get(scope, {}) | {
            (window.as_of, window.model_version): replace(window, profile=_json(window.profile))
        }
        self._windows[scope] = {key: one for key, one in windows.items() if key[0] >= since}
        self._references[scope] = {
            key: one
            for key, one in self._references.get(scope, {}).items()
            if key[0] >= since or key[1] == window.model_version
        }

    def store_verdict(
        self, tenant: TenantRef, verdict: DriftVerdict, details: Mapping[str, Any]
    ) -> None:
        """See `DriftRecords.store_verdict`; only the reasons of the details are ever read."""
        kept = self._verdicts.setdefault((tenant.id, verdict.use_case), {})
        reasons = tuple(json.loads(json.dumps(dict(details)))["reasons"])
        kept[verdict.as_of, verdict.model_version] = replace(verdict, reasons=reasons)

    def verdicts(self, tenant: TenantRef, use_case: str) -> list[DriftVerdict]:
        """See `DriftRecords.verdicts`."""
        kept = self._verdicts.get((tenant.id, use_case), {})
        return sorted(kept.values(), key=lambda verdict: verdict.as_of)

    def report_window(
        self,
        tenant: TenantRef,
        use_case: str,
        as_of: datetime,
        *,
        breached: bool,
        pool: TenantRef,
    ) -> str:
        """See `DriftRecords.report_window`."""
        day = day_of(as_of)
        with self._reporting:
            breaches = self._breaches.setdefault((pool.id, use_case), {})
            breaches[as_of, member_of(tenant)] = breached
            storms = [Storm.read(one) for one in self.incidents.of_kind(pool, KIND, use_case)]
            days = _days(breaches, day - POLICY.memory, day + DAY)
            followed = follow(use_case, day, days, storms)
            if followed.changed is not None:
                self.incidents.put(pool, followed.changed.incident())
            for key in [key for key in breaches if key[0] < day - 2 * POLICY.memory]:
                del breaches[key]
        return followed.storm.name if breached and followed.storm is not None else ""


def _days(
    breaches: Mapping[_Key, bool], since: datetime, until: datetime
) -> dict[datetime, Reports]:
    """Reports by day; a tenant counts once, and as breached if it ever was that day."""
    members: dict[datetime, dict[str, bool]] = {}
    for (as_of, member), breached in breaches.items():
        if since <= as_of < until:
            of_day = members.setdefault(day_of(as_of), {})
            of_day[member] = of_day.get(member, False) or breached
    return {day: Reports(len(one), sum(one.values())) for day, one in members.items()}


def _json(profile: WindowProfile) -> WindowProfile:
    """The profile as Postgres would give it back."""
    return WindowProfile.from_json(json.loads(json.dumps(profile.to_json())))
