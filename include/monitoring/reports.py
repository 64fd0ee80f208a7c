"""What is left to read of a verdict: its numbers as JSON and, at times, Evidently's page."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from include.handoffs import Scored
from include.monitoring import evidently_report
from include.monitoring.decisions import Performance, Verdict
from include.monitoring.statistics import ColumnDrift
from include.monitoring.windows import Windows
from include.storage.lake import Lake
from include.tenants.namespace import TenantRef


@dataclass(frozen=True)
class Comparison:
    """The current window against the reference."""

    windows: Windows
    columns: tuple[ColumnDrift, ...]
    prediction: ColumnDrift | None
    skipped: Mapping[str, str]  #: column → why it was not judged

    @property
    def judged(self) -> tuple[ColumnDrift, ...]:
        """The columns, and the prediction where there is one."""
        return (*self.columns, *filter(None, [self.prediction]))


def numbers(
    verdict: Verdict, comparison: Comparison | None, performance: Performance | None
) -> dict[str, Any]:
    """Everything the verdict rests on, as JSON knows it; Evidently's count is part of it."""
    details: dict[str, Any] = {"reasons": list(verdict.reasons)}
    if comparison is not None:
        windows = comparison.windows
        count = evidently_report.count_drifted(
            comparison.judged, windows.reference, windows.current
        )
        details |= {
            "reference_entities": windows.reference_entities,
            "current_entities": windows.current_entities,
            "features": [_finite(asdict(c)) for c in comparison.columns],
            "prediction": None
            if comparison.prediction is None
            else _finite(asdict(comparison.prediction)),
            "skipped": dict(sorted(comparison.skipped.items())),
            "evidently": None if count is None else asdict(count),
        }
    if performance is not None:
        details["performance"] = _finite(
            {**asdict(performance), "as_of": performance.as_of.astimezone(UTC).isoformat()}
        )
    return details


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON knows no infinity: the limit of a column with a single bin becomes null."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }


def write(
    tenant: TenantRef,
    scored: Scored,
    verdict: Verdict,
    comparison: Comparison | None,
    details: Mapping[str, Any],
    lake: Lake,
    report: bool,
) -> str:
    """Path of the page, or of the numbers where no page was drawn; empty without numbers."""
    if comparison is None:
        return ""
    stem = f"reports/drift/{scored.use_case}/{_instant(scored.as_of)}-v{scored.version}"
    text = json.dumps({"verdict": verdict.name, **details}, indent=1, sort_keys=True)
    path = lake.put(tenant, f"{stem}.json", text.encode()).path
    if report or verdict.name == "drift":
        windows = comparison.windows
        page = evidently_report.render(
            comparison.judged, windows.reference, windows.current, scored.as_of
        )
        if page:
            path = lake.put(tenant, f"{stem}.html", page.encode()).path
    return path


def _instant(as_of: datetime) -> str:
    """The day, and the time of day where it is not midnight."""
    instant = as_of.astimezone(UTC)
    return (
        f"{instant:%Y-%m-%d}" if instant.hour == instant.minute == 0 else f"{instant:%Y-%m-%dT%H%M}"
    )
