"""Checks: what was found of each interval's data, and the rows that failed one."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

from include.handoffs import Interval
from include.incidents import Incident
from include.tenants.namespace import TenantRef

Severity = Literal["fail", "quarantine", "warn"]


@dataclass(frozen=True)
class Result:
    """One check, evaluated."""

    suite: str
    check: str  #: its name, unique within the suite
    severity: Severity
    expectation: str  #: Great Expectations' name of it
    success: bool
    unexpected_count: int
    element_count: int
    observed: Mapping[str, Any]  #: `value` of a fact, `error` of a check that did not run
    #: Of the expectation; in the report alone, not on record.
    arguments: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def refuses(self) -> bool:
        """Whether the run must stop here.

        A check that would set rows aside but could not be evaluated leaves no row to trust.
        """
        failed_to_run = self.severity == "quarantine" and "error" in self.observed
        return (self.severity == "fail" or failed_to_run) and not self.success


@dataclass(frozen=True)
class Inspection:
    """All that the checks of one interval found."""

    interval: Interval
    results: tuple[Result, ...]
    report_path: str  #: within the tenant's part of the lake


@dataclass(frozen=True)
class FailedRow:
    """One row that was not accepted."""

    row_number: int  #: position in the slice
    reason: str
    row: Mapping[str, Any]


@dataclass(frozen=True)
class UnacceptedRows:
    """The rows of one slice that were not accepted."""

    source: str
    interval: Interval
    rows: Iterable[FailedRow]  #: read once


@dataclass(frozen=True)
class Summary:
    """The checks of the intervals that end at one instant."""

    interval_end: datetime
    checks: int
    failed: str  #: names of those that were not met, each with its severity
    report_path: str


class Checks(Protocol):
    """The port to what was found of every tenant's data."""

    def record(
        self,
        tenant: TenantRef,
        inspection: Inspection,
        incidents: Sequence[Incident],
        rejected: Sequence[UnacceptedRows],
    ) -> None:
        """Put an inspection, incidents and rejected rows on record, all of them or nothing.

        The inspection takes the place of an earlier one of the interval. The rows of a slice take
        the place of those that arrived within its interval: a slice that is checked again inside a
        longer one, or around a shorter one, replaces what that one left.
        """

    def rename(self, tenant: TenantRef, former: str, name: str) -> None:
        """Let the results and rejected rows of a source bear another name.

        Of two results of one check and interval that of the name stays.
        """

    def inspections(self, tenant: TenantRef) -> list[Inspection]:
        """Every inspection, by interval, with its results by suite and check."""

    def judged(self, tenant: TenantRef) -> set[tuple[str, Interval]]:
        """Suites, each with the intervals of the inspections that have results of it."""

    def summaries(self, tenant: TenantRef) -> list[Summary]:
        """`inspections` in a line for each end of an interval, oldest first."""

    def set_aside(self, tenant: TenantRef, source: str) -> list[FailedRow]:
        """The rejected rows of a source, by interval and position."""


def to_json(value: Mapping[str, Any]) -> str:
    """JSON that Postgres stores: NaN and infinities as words, no NUL, keys sorted."""
    return json.dumps(_plain(value), sort_keys=True, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str):
        return value.replace("\x00", "\\u0000")
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    return value
