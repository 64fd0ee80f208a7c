"""Incidents in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from threading import Lock
from typing import Any

from include.incidents import Incident
from include.tenants.namespace import TenantRef

_Key = tuple[str, str, str, datetime]  #: owner, kind, use case, instant


@dataclass
class InMemoryIncidents:
    """Keeps every incident until the process ends."""

    _kept: dict[_Key, Incident] = field(default_factory=dict)
    _writing: Lock = field(default_factory=Lock, repr=False)

    def put(self, owner: TenantRef, incident: Incident) -> None:
        """See `Incidents.put`."""
        with self._writing:
            self._kept[_key(owner, incident)] = replace(incident, details=_json(incident.details))

    def open(self, owner: TenantRef, incident: Incident) -> None:
        """See `Incidents.open`."""
        key = _key(owner, incident)
        with self._writing:
            before = self._kept[key].details if key in self._kept else {}
            details = {**before, **_json(incident.details)}
            self._kept[key] = replace(incident, details=details, closed_at=None)

    def close(
        self,
        owner: TenantRef,
        kind: str,
        use_case: str,
        as_of: datetime,
        at: datetime | None = None,
    ) -> None:
        """See `Incidents.close`."""
        key = (owner.id, kind, use_case, as_of)
        with self._writing:
            kept = self._kept.get(key)
            if kept is not None and kept.closed_at is None:
                self._kept[key] = replace(kept, closed_at=at or datetime.now(UTC))

    def answer(
        self, owner: TenantRef, answered: Incident, action: str, entry: Mapping[str, Any], by: str
    ) -> None:
        """See `Incidents.answer`; what is in memory has no audit chain."""
        key = _key(owner, answered)
        with self._writing:
            details = {**self._kept[key].details, **_json(answered.details)}
            self._kept[key] = replace(
                self._kept[key], details=details, closed_at=answered.closed_at
            )

    def of_kind(self, owner: TenantRef, kind: str, use_case: str = "") -> list[Incident]:
        """See `Incidents.of_kind`."""
        return [one for one in self._of(owner) if (one.kind, one.use_case) == (kind, use_case)]

    def about(self, owner: TenantRef, use_case: str) -> list[Incident]:
        """See `Incidents.about`."""
        return [one for one in self._of(owner) if one.use_case in ("", use_case)]

    def _of(self, owner: TenantRef) -> list[Incident]:
        kept = (incident for key, incident in self._kept.items() if key[0] == owner.id)
        return sorted(kept, key=lambda incident: (incident.as_of, incident.kind, incident.use_case))


def _key(owner: TenantRef, incident: Incident) -> _Key:
    return owner.id, incident.kind, incident.use_case, incident.as_of


def _json(details: Mapping[str, Any]) -> dict[str, Any]:
    """The details as Postgres would give them back."""
    kept: dict[str, Any] = json.loads(json.dumps(dict(details)))
    return kept
