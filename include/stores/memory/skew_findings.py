"""Skew findings in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from include.incidents import Incidents
from include.monitoring.skew_findings import KIND, SkewFinding, incident_of
from include.tenants.namespace import TenantRef

_Key = tuple[str, str, datetime]  #: tenant, use case and instant


@dataclass
class InMemorySkewFindings:
    """Keeps every finding until the process ends."""

    incidents: Incidents  #: that are opened and closed with the findings
    _findings: dict[_Key, list[SkewFinding]] = field(default_factory=dict)

    def record(
        self,
        tenant: TenantRef,
        use_case: str,
        instants: Sequence[datetime],
        findings: Sequence[SkewFinding],
        replayed_at: datetime,
    ) -> None:
        """See `SkewFindings.record`."""
        for as_of in instants:
            here = [finding for finding in findings if finding.as_of == as_of]
            of_feature = {(finding.path, finding.mismatch.feature): finding for finding in here}
            self._findings[tenant.id, use_case, as_of] = list(of_feature.values())
            if here:
                self.incidents.put(tenant, incident_of(use_case, as_of, here))
            else:
                self.incidents.close(tenant, KIND, use_case, as_of, replayed_at)

    def all_of(self, tenant: TenantRef, use_case: str | None = None) -> list[SkewFinding]:
        """See `SkewFindings.all_of`."""
        mine = [
            finding
            for (owner, name, _), findings in self._findings.items()
            if owner == tenant.id and use_case in (None, name)
            for finding in findings
        ]
        return sorted(mine, key=lambda f: (f.use_case, f.as_of, f.path, f.mismatch.feature))
