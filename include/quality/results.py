"""What a check leaves in Postgres: results, rows set aside, incidents. Each write is idempotent."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Final

import pyarrow as pa

from include.handoffs import Interval
from include.quality.suites import Expectation, Outcome
from include.quality.volume import Delivered, Incident, Outage
from include.storage.postgres import Connection

STAGE: Final = "quality"
DATA_LOSS: Final = "data_loss"
_CHUNK: Final = 2_000


@dataclass(frozen=True)
class Result:
    """One check, evaluated."""

    suite: str
    check: Expectation
    success: bool
    unexpected_count: int
    element_count: int
    observed: Mapping[str, Any]  #: `value` of a fact, `error` of a check that did not run

    @classmethod
    def of(
        cls, suite: str, check: Expectation, outcome: Outcome, observed: Mapping[str, Any]
    ) -> Result:
        """An outcome, with the check and the fact it is about."""
        error = {"error": outcome.error} if outcome.error else {}
        return cls(
            suite,
            check,
            outcome.success,
            outcome.unexpected_count,
            outcome.element_count,
            {**observed, **error},
        )

    @property
    def refuses(self) -> bool:
        """Whether the run must stop here.

        A check that would set rows aside but could not be evaluated leaves no row to trust.
        """
        severity = self.check.severity
        decisive = severity == "fail" or (severity == "quarantine" and "error" in self.observed)
        return decisive and not self.success


@dataclass(frozen=True)
class SetAside:
    """One row that was not accepted."""

    row_number: int  #: position in the slice
    reason: str
    row: Mapping[str, Any]


def delivered(connection: Connection, tenant: str) -> dict[str, list[Delivered]]:
    """What ingestion recorded, by source."""
    found: dict[str, list[Delivered]] = {}
    for row in connection.execute(
        "SELECT source, interval_start, interval_end, rows FROM slices WHERE tenant_id = %s "
        "ORDER BY source, interval_start, interval_end",
        [tenant],
    ):
        interval = Interval(row["interval_start"], row["interval_end"])
        found.setdefault(row["source"], []).append(Delivered(interval, row["rows"]))
    return found


def incidents(connection: Connection, tenant: str) -> list[Incident]:
    """The tenant's incidents of data loss, oldest first."""
    rows = connection.execute(
        "SELECT as_of, summary, details, closed_at FROM incidents "
        "WHERE tenant_id = %s AND kind = %s AND use_case = '' ORDER BY as_of",
        [tenant, DATA_LOSS],
    )
    return [
        Incident(row["as_of"], row["summary"], _outages(row["details"]), row["closed_at"])
        for row in rows
    ]


def write_incident(connection: Connection, tenant: str, incident: Incident) -> None:
    """Open, change or close an incident."""
    details = {
        "outages": [
            {
                "source": one.source,
                "kind": one.kind,
                "start": one.start.isoformat(),
                "until": one.until and one.until.isoformat(),
                "rows": one.rows,
                "expected": round(one.expected, 1),
                "recovered_at": one.recovered_at and one.recovered_at.isoformat(),
            }
            for one in incident.outages
        ]
    }
    connection.execute(
        "INSERT INTO incidents (tenant_id, kind, as_of, summary, details, closed_at) "
        "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (tenant_id, kind, use_case, as_of) "
        "DO UPDATE SET summary = EXCLUDED.summary, details = EXCLUDED.details, "
        "closed_at = EXCLUDED.closed_at",
        [
            tenant,
            DATA_LOSS,
            incident.as_of,
            incident.summary,
            json.dumps(details),
            incident.closed_at,
        ],
    )


def write_results(
    connection: Connection,
    tenant: str,
    interval: Interval,
    results: Sequence[Result],
    report_path: str,
) -> None:
    """Make `results` all that is on record for the interval."""
    span = [tenant, interval.start, interval.end]
    connection.execute(
        "DELETE FROM quality_results WHERE tenant_id = %s AND interval_start = %s AND "
        "interval_end = %s AND (suite, check_name) NOT IN "
        "(SELECT * FROM unnest(%s::text[], %s::text[]))",
        [*span, [r.suite for r in results], [r.check.name for r in results]],
    )
    connection.cursor().executemany(
        "INSERT INTO quality_results (tenant_id, interval_start, interval_end, suite, check_name, "
        "severity, success, unexpected_count, element_count, observed, report_path) "
        "VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
        "ON CONFLICT (tenant_id, suite, interval_start, interval_end, check_name) DO UPDATE SET "
        "severity = EXCLUDED.severity, success = EXCLUDED.success, "
        "unexpected_count = EXCLUDED.unexpected_count, element_count = EXCLUDED.element_count, "
        "observed = EXCLUDED.observed, report_path = EXCLUDED.report_path",
        [
            [
                *span,
                result.suite,
                result.check.name,
                result.check.severity,
                result.success,
                result.unexpected_count,
                result.element_count,
                to_json({"expectation": result.check.type, **result.observed}),
                report_path,
            ]
            for result in results
        ],
    )


def write_set_aside(
    connection: Connection, tenant: str, source: str, slice_: Interval, rows: Iterable[SetAside]
) -> None:
    """Make `rows` all that this stage has set aside of the source within the slice.

    Within means by arrival, as in the lake: a slice checked again inside a longer one, or around
    a shorter one, replaces what that one left.
    """
    connection.execute(
        "DELETE FROM quarantine WHERE tenant_id = %s AND stage = %s AND source = %s "
        "AND (row->>'created_timestamp')::timestamptz >= %s "
        "AND (row->>'created_timestamp')::timestamptz < %s",
        [tenant, STAGE, source, slice_.start, slice_.end],
    )
    pending = iter(rows)
    while chunk := list(islice(pending, _CHUNK)):
        connection.execute(
            "INSERT INTO quarantine (tenant_id, stage, source, interval_start, interval_end, "
            "row_number, reason, row) SELECT %s, %s, %s, %s, %s, * FROM "
            "unnest(%s::bigint[], %s::text[], %s::jsonb[])",
            [
                *[tenant, STAGE, source, slice_.start, slice_.end],
                [row.row_number for row in chunk],
                [row.reason for row in chunk],
                [to_json(row.row) for row in chunk],
            ],
        )


def readable_rows(rows: pa.Table) -> list[dict[str, Any]]:
    """Rows as JSON-ready dicts; instants as text, since they can be beyond what Python holds."""
    for position, column in enumerate(rows.schema):
        if pa.types.is_timestamp(column.type):
            text = rows[column.name].cast(pa.string())
            rows = rows.set_column(position, column.name, text)
    found: list[dict[str, Any]] = rows.to_pylist()
    return found


def to_json(value: Mapping[str, Any]) -> str:
    """JSON that `jsonb` takes: NaN and infinities as words, no NUL."""
    return json.dumps(_plain(value), sort_keys=True, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, str):
        return value.replace("\x00", "\\u0000")
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    return value


def _outages(details: Mapping[str, Any]) -> tuple[Outage, ...]:
    return tuple(
        Outage(
            one["source"],
            _instant(one["start"]),
            one["until"] and _instant(one["until"]),
            one["rows"],
            one["expected"],
            one["recovered_at"] and _instant(one["recovered_at"]),
        )
        for one in details.get("outages", ())
    )


_instant: Final = datetime.fromisoformat
