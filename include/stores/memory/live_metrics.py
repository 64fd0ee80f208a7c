"""Live metrics in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from include.monitoring.live_metrics import LiveMetric
from include.tenants.namespace import TenantRef


@dataclass
class InMemoryLiveMetrics:
    """Keeps every metric until it is taken back, or the process ends."""

    #: By tenant and use case, then by instant and metric.
    _measured: dict[tuple[str, str], dict[tuple[datetime, str], LiveMetric]] = field(
        default_factory=dict
    )

    def record(self, tenant: TenantRef, use_case: str, measured: LiveMetric) -> None:
        """See `LiveMetrics.record`."""
        known = self._measured.setdefault((tenant.id, use_case), {})
        known[measured.as_of, measured.metric] = measured

    def forget(self, tenant: TenantRef, use_case: str, instants: Sequence[datetime]) -> None:
        """See `LiveMetrics.forget`."""
        known = self._measured.get((tenant.id, use_case), {})
        for key in [key for key in known if key[0] in instants]:
            del known[key]

    def history(self, tenant: TenantRef, use_case: str) -> list[LiveMetric]:
        """See `LiveMetrics.history`."""
        known = self._measured.get((tenant.id, use_case), {})
        return [known[key] for key in sorted(known)]
