"""Checks in memory: the meaning of the port in plain Python, and the reference in tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import groupby
from typing import Any

from include.handoffs import Interval
from include.incidents import Incident, Incidents
from include.quality.checks import FailedRow, Inspection, Result, Summary, UnacceptedRows, to_json
from include.tenants.namespace import TenantRef

_Row = tuple[Interval, FailedRow]  #: of the slice that it was set aside of


@dataclass
class InMemoryChecks:
    """Keeps every inspection until the process ends; incidents go where all of them are."""

    _incidents: Incidents
    _inspections: dict[tuple[str, Interval], Inspection] = field(default_factory=dict)
    _rows: dict[tuple[str, str], list[_Row]] = field(default_factory=dict)  #: by tenant and source

    def record(
        self,
        tenant: TenantRef,
        inspection: Inspection,
        incidents: Sequence[Incident],
        rejected: Sequence[UnacceptedRows],
    ) -> None:
        """See `Checks.record`."""
        rows = dict(self._rows)  # before anything changes, as reading rows may fail
        for slice_ in rejected:
            key = (tenant.id, slice_.source)
            kept = [row for row in rows.get(key, ()) if not _arrived(row, slice_.interval)]
            new = [(slice_.interval, replace(row, row=_stored(row.row))) for row in slice_.rows]
            rows[key] = [*kept, *new]
        results = [
            replace(result, observed=_stored(result.observed), arguments={})
            for result in inspection.results
        ]
        self._rows = rows
        self._inspections[tenant.id, inspection.interval] = replace(
            inspection, results=tuple(sorted(results, key=_name))
        )
        for incident in incidents:
            self._incidents.put(tenant, incident)

    def rename(self, tenant: TenantRef, former: str, name: str) -> None:
        """See `Checks.rename`."""
        suites = {f"{kind}.{former}": f"{kind}.{name}" for kind in ("events", "attributes")}
        for key, one in self._inspections.items():
            there = {_name(result) for result in one.results}
            renamed = [
                replace(result, suite=suites.get(result.suite, result.suite))
                for result in one.results
                if (suites.get(result.suite), result.check) not in there
            ]
            if key[0] == tenant.id:
                results = tuple(sorted(renamed, key=_name))
                self._inspections[key] = replace(one, results=results)
        taken = {interval for interval, _ in self._rows.get((tenant.id, name), [])}
        moved = [row for row in self._rows.pop((tenant.id, former), []) if row[0] not in taken]
        if moved:
            self._rows[tenant.id, name] = [*self._rows.get((tenant.id, name), []), *moved]

    def inspections(self, tenant: TenantRef) -> list[Inspection]:
        """See `Checks.inspections`."""
        kept = self._inspections.items()
        own = [one for (owner, _), one in kept if owner == tenant.id and one.results]
        return sorted(own, key=lambda one: (one.interval.start, one.interval.end))

    def judged(self, tenant: TenantRef) -> set[tuple[str, Interval]]:
        """See `Checks.judged`."""
        inspections = self.inspections(tenant)
        return {(result.suite, one.interval) for one in inspections for result in one.results}

    def summaries(self, tenant: TenantRef) -> list[Summary]:
        """See `Checks.summaries`."""
        inspections = sorted(self.inspections(tenant), key=_end)
        return [_summary(end, list(ending)) for end, ending in groupby(inspections, _end)]

    def set_aside(self, tenant: TenantRef, source: str) -> list[FailedRow]:
        """See `Checks.set_aside`."""
        rows = self._rows.get((tenant.id, source), [])
        return [row for _, row in sorted(rows, key=_order)]


def _arrived(row: _Row, interval: Interval) -> bool:
    arrived = datetime.fromisoformat(row[1].row["created_timestamp"])
    return interval.start <= arrived < interval.end


def _order(row: _Row) -> tuple[object, ...]:
    return row[0].start, row[0].end, row[1].row_number


def _end(inspection: Inspection) -> datetime:
    return inspection.interval.end


def _summary(end: datetime, inspections: Sequence[Inspection]) -> Summary:
    results = [result for inspection in inspections for result in inspection.results]
    failed = sorted((result for result in results if not result.success), key=_name)
    return Summary(
        end,
        len(results),
        ", ".join(f"{result.suite}.{result.check} ({result.severity})" for result in failed),
        max(inspection.report_path for inspection in inspections),
    )


def _name(result: Result) -> tuple[str, str]:
    return result.suite, result.check


def _stored(value: Mapping[str, Any]) -> dict[str, Any]:
    """As it comes back from where JSON is kept."""
    stored: dict[str, Any] = json.loads(to_json(value))
    return stored
