"""The head of a drift page: the verdict, and each column with the reason it counts or does not.

It stands above Evidently's drawings, which know columns only: not what they mean together, nor what
matured labels say.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from include.monitoring.decisions import Verdict
from include.monitoring.gate import WindowComparison
from include.monitoring.statistics import ColumnDrift
from include.monitoring.windows import PREDICTION
from include.pages import render
from include.use_cases.drift_policy import DriftPolicy
from include.wall_clock import PLATFORM


@dataclass(frozen=True)
class VerdictSubject:
    """The window and the model that a verdict is about."""

    tenant: str
    use_case: str
    version: str
    since: datetime | None  #: start of the window; None where it is only known when it ended
    until: datetime
    timezone: str = PLATFORM  #: of the tenant


def head(
    about: VerdictSubject,
    verdict: Verdict,
    comparison: WindowComparison,
    policy: DriftPolicy,
    unjudged: Mapping[str, str],
) -> str:
    """The verdict as HTML that stands at the top of a page's body.

    Args:
        unjudged: what else was not judged, such as performance, with the reason.
    """
    return render(
        "verdict_head.html.jinja",
        about=about,
        verdict=verdict,
        comparison=comparison,
        drifted=_columns((one for one in comparison.judged if one.drifted), policy),
        calm=_columns((one for one in comparison.judged if not one.drifted), policy),
        skipped=sorted({**comparison.skipped, **unjudged}.items()),
    )


def told(column: ColumnDrift, policy: DriftPolicy) -> str:
    """The reason why a column counts as drifted, or does not."""
    threshold = policy.prediction_threshold if column.column == PREDICTION else policy.threshold
    if column.drifted:
        return f"drifted: PSI {column.psi:.2f} reaches the limit of {column.limit:.2f}"
    if column.explained:
        return f"not drifted: it changed as it should ({column.explained})"
    if column.psi < threshold:
        return f"not drifted: PSI {column.psi:.2f} is below the threshold of {threshold:.2f}"
    few = min(column.reference_entities, column.current_entities)
    return (
        f"not drifted: with {few:,} entities chance alone makes a PSI of up to {column.limit:.2f}"
    )


def _columns(columns: Iterable[ColumnDrift], policy: DriftPolicy) -> list[tuple[str, ...]]:
    """Name, PSI, limit and verdict of each column, the largest PSI first."""
    return [
        (one.column, f"{one.psi:.3f}", _limit(one), told(one, policy))
        for one in sorted(columns, key=lambda one: (-one.psi, one.column))
    ]


def _limit(column: ColumnDrift) -> str:
    return "none" if column.limit == float("inf") else f"{column.limit:.3f}"
