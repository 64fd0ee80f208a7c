"""Slices in memory: the meaning of the port in plain Python, and the reference in tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from include.handoffs import Interval
from include.ingestion.slices import NOT_KEPT, Rejected, Remaining, SetAside, Slice
from include.tenants.namespace import TenantRef

_Key = tuple[str, Interval]  #: source and interval


@dataclass
class InMemorySlices:
    """Keeps every slice and the rows set aside of it until the process ends."""

    _slices: dict[str, dict[_Key, Slice]] = field(default_factory=dict)
    _rows: dict[str, dict[_Key, list[SetAside]]] = field(default_factory=dict)

    def record(self, tenant: TenantRef, delivered: Slice, rejected: Rejected) -> Slice:
        """See `Slices.record`."""
        key = (delivered.source, delivered.interval)
        slices = self._slices.setdefault(tenant.id, {})
        rows = self._rows.setdefault(tenant.id, {})
        others = [other for other in slices if other[0] == delivered.source and other != key]
        elsewhere = sum(slices[other].undated for other in others)
        stored = (row for other in others for row in rows[other])
        known = {row.digest for row in stored if row.number != NOT_KEPT}
        slices[key] = rejected.counted_in(delivered, elsewhere)
        rows[key] = rejected.stored(slices[key].undated, known)
        return slices[key]

    def recount(self, tenant: TenantRef, source: str, remaining: Sequence[Remaining]) -> None:
        """See `Slices.recount`."""
        slices, rows = self._slices.get(tenant.id, {}), self._rows.get(tenant.id, {})
        for left in remaining:
            key = (source, left.interval)
            if (before := slices.get(key)) is None:
                continue
            changed = left.changed.count if before.rows != left.rows else 0
            slices[key] = replace(
                before,
                rows=left.rows,
                late=left.late,
                duplicates=before.duplicates + before.rows - left.rows - changed,
                quarantined=before.quarantined + changed,
            )
            if changed:
                last = max((row.number for row in rows[key]), default=NOT_KEPT)
                rows[key] = [*rows[key], *left.numbered(last)]

    def rename(self, tenant: TenantRef, former: str, name: str) -> None:
        """See `Slices.rename`."""
        slices, rows = self._slices.get(tenant.id, {}), self._rows.get(tenant.id, {})
        for source, interval in [key for key in slices if key[0] == former]:
            before, set_aside = slices.pop((source, interval)), rows.pop((source, interval))
            if (name, interval) not in slices:
                slices[name, interval] = replace(before, source=name)
                rows[name, interval] = set_aside

    def recorded(self, tenant: TenantRef) -> list[Slice]:
        """See `Slices.recorded`."""
        slices = self._slices.get(tenant.id, {})
        return [slices[key] for key in sorted(slices, key=_order)]

    def set_aside(self, tenant: TenantRef, source: str) -> list[SetAside]:
        """See `Slices.set_aside`."""
        rows = self._rows.get(tenant.id, {})
        keys = sorted((key for key in rows if key[0] == source), key=_order)
        return [row for key in keys for row in sorted(rows[key], key=lambda row: row.number)]


def _order(key: _Key) -> tuple[object, ...]:
    source, interval = key
    return source, interval.start, interval.end
