"""Reports of a verdict: its numbers as JSON and, at times, Evidently's page."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from include.handoffs import Scored
from include.monitoring import verdict_page
from include.monitoring.decisions import Calibration, Performance, Verdict
from include.monitoring.gate import WindowComparison
from include.monitoring.windows import WindowPair
from include.pages import atop
from include.storage.lake import Lake
from include.tenants.config import TenantConfig
from include.tenants.namespace import TenantRef
from include.use_cases.drift_policy import DriftPolicy


def numbers(
    verdict: Verdict,
    comparison: WindowComparison | None,
    performance: Performance | None,
    calibration: Calibration | None,
    unjudged: Mapping[str, str],
) -> dict[str, Any]:
    """Everything the verdict rests on, as JSON knows it.

    Args:
        unjudged: what besides columns was not judged, with the reason.
    """
    details: dict[str, Any] = {"reasons": list(verdict.reasons)}
    if unjudged:
        details["unjudged"] = dict(unjudged)
    if comparison is not None:
        details |= {
            "reference_entities": comparison.reference_entities,
            "current_entities": comparison.current_entities,
            "features": [_finite(asdict(c)) for c in comparison.columns],
            "prediction": None
            if comparison.prediction is None
            else _finite(asdict(comparison.prediction)),
            "skipped": dict(sorted(comparison.skipped.items())),
        }
    if performance is not None:
        details["performance"] = _finite(
            {**asdict(performance), "as_of": performance.as_of.astimezone(UTC).isoformat()}
        )
    if calibration is not None:
        details["calibration"] = _finite(
            {**asdict(calibration), "as_of": calibration.as_of.astimezone(UTC).isoformat()}
        )
    return details


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with null for infinity, such as the limit of a column with a single bin."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
    }


def is_due(
    verdict: Verdict, drawn_at: datetime | None, as_of: datetime, every: timedelta | None
) -> bool:
    """Whether a page is drawn unasked: on a breach, and `every` so often after the last page."""
    if verdict.name == "drift":
        return True
    return every is not None and drawn_at is not None and as_of - drawn_at >= every


def write(
    tenant: TenantRef,
    scored: Scored,
    verdict: Verdict,
    details: Mapping[str, Any],
    lake: Lake,
) -> None:
    """Write the numbers to `path_of`."""
    text = json.dumps({"verdict": verdict.name, **details}, indent=1, sort_keys=True)
    lake.put(tenant, path_of(scored), text.encode())


def path_of(scored: Scored) -> str:
    """Where the numbers are, relative to the tenant's part of the lake."""
    return f"{_stem(scored)}.json"


def draw(
    tenant: TenantConfig,
    scored: Scored,
    verdict: Verdict,
    comparison: WindowComparison,
    windows: WindowPair,
    policy: DriftPolicy,
    lake: Lake,
    *,
    since: datetime | None,
    unjudged: Mapping[str, str],
) -> tuple[str, dict[str, Any] | None]:
    """Path of the page, the verdict above Evidently's drawings, and Evidently's count.

    Nothing where there is no column that Evidently could draw.

    Args:
        since: start of the interval.
        unjudged: what besides columns was not judged, with the reason.
    """
    from include.monitoring import evidently_report  # takes seconds, and most runs draw nothing

    shown = [c for c in comparison.judged if c.column in windows.current]
    sides = (windows.reference, windows.current)
    reasons = {c.column: verdict_page.told(c, policy) for c in shown}
    drawn = evidently_report.render(shown, *sides, scored.as_of, reasons)
    if not drawn:
        return "", None
    count = evidently_report.count_drifted(shown, *sides)
    about = verdict_page.VerdictSubject(
        tenant.id, scored.use_case, scored.version, since, scored.as_of, tenant.timezone
    )
    head = verdict_page.head(about, verdict, comparison, policy, unjudged)
    page = atop(drawn, head)
    path = lake.put(tenant.ref, f"{_stem(scored)}.html", page.encode()).path
    return path, None if count is None else asdict(count)


def _stem(scored: Scored) -> str:
    return f"reports/drift/{scored.use_case}/{_instant(scored.as_of)}-v{scored.version}"


def _instant(as_of: datetime) -> str:
    """The day, and the time of day where it is not midnight."""
    instant = as_of.astimezone(UTC)
    return (
        f"{instant:%Y-%m-%d}" if instant.hour == instant.minute == 0 else f"{instant:%Y-%m-%dT%H%M}"
    )
