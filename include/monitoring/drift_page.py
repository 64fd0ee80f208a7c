"""The page of a judgement: the verdict with its reasons, and Evidently's drawings below."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final

import pyarrow as pa

from include.monitoring import verdict_page
from include.monitoring.judgement import Judgement
from include.monitoring.statistics import ColumnDrift
from include.monitoring.windows import WindowPair, align, bounded
from include.pages import atop, render
from include.tenants.config import TenantConfig

#: Columns that are drawn at most; of those that did not drift, the nearest to their limits, so that
#: there are some. Above the drawings every column stands in words.
_DRIFTED: Final = 24
_DRAWN: Final = 12


def draw(
    tenant: TenantConfig,
    use_case: str,
    judgement: Judgement,
    reference: pa.Table,
    window: pa.Table,
    keys: Sequence[str],
) -> str:
    """HTML of some 2 MB that needs nothing else; without drawings where no column can be drawn.

    Args:
        reference: rows of what the champion was judged on.
        window: rows of the window, with the champion's `prediction`.
        keys: their join keys, the entity first.
    """
    from include.monitoring import evidently_report  # takes seconds, and most runs draw nothing

    policy, comparison = judgement.policy, judgement.comparison
    before, after = (bounded(side, policy.sample_rows, policy.seed) for side in (reference, window))
    windows = align(before, after, keys)
    shown = columns_to_draw(comparison.judged, windows)
    reasons = {column.column: verdict_page.told(column, policy) for column in shown}
    drawn = evidently_report.render(
        shown, windows.reference, windows.current, judgement.until, reasons
    )
    about = verdict_page.VerdictSubject(
        tenant.id, use_case, judgement.version, judgement.since, judgement.until, tenant.timezone
    )
    head = verdict_page.head(about, judgement.verdict, comparison, policy, judgement.unjudged)
    return atop(drawn or render("no_drawings.html.jinja", title=about.use_case), head)


def page_of(figures: str) -> str:
    """Path of the page that belongs to a file of figures."""
    return str(PurePosixPath(figures).with_suffix(".html"))


def columns_to_draw(judged: Sequence[ColumnDrift], windows: WindowPair) -> list[ColumnDrift]:
    """The columns that a page draws, in the order in which they were judged."""
    there = [column for column in judged if column.column in windows.current]
    first = sorted(there, key=lambda column: (not column.drifted, -column.psi / column.limit))
    drifted = min(sum(column.drifted for column in there), _DRIFTED)
    chosen = first[: max(drifted, _DRAWN)]
    return [column for column in there if column in chosen]
