"""The report of one run as one HTML page that needs nothing else; equal input, equal bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from include.handoffs import Interval
from include.pages import render as render_page
from include.quality.checks import FailedRow, Result
from include.quality.volume import Delivered


def render(
    tenant: str,
    interval: Interval,
    verdict: str,
    results: Sequence[Result],
    set_aside: Mapping[str, Sequence[FailedRow]],
    timezone: str,
    delivered: Mapping[str, Sequence[Delivered]],
) -> bytes:
    """The page in UTF-8.

    Args:
        verdict: one sentence on what became of the data.
        set_aside: by source, the first rows that were not accepted.
        timezone: the tenant's, which the interval is told in.
        delivered: by source, the slices that the report is about.
    """
    suites: dict[str, list[Result]] = {}
    for result in results:
        suites.setdefault(result.suite, []).append(result)
    page = render_page(
        "quality_report.html.jinja",
        title=f"Data quality of {tenant}",
        interval=interval,
        verdict=verdict,
        suites=suites,
        set_aside=set_aside,
        timezone=timezone,
        delivered=delivered,
    )
    return page.encode()
