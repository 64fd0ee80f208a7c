"""The report of one run as one HTML page that needs nothing else; equal input, equal bytes."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from include.handoffs import Interval
from include.quality.results import Result, SetAside

_LONGEST: Final = 200

_STYLE: Final = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem;
  color: #1d2129; background: #fff }
h1 { font-size: 1.5rem; margin-bottom: 0 } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #e3e5e8;
  vertical-align: top; overflow-wrap: anywhere }
th { font-weight: 600; background: #f6f7f9; white-space: nowrap }
td { min-width: 5.5rem } td.number { text-align: right; min-width: 3rem; white-space: nowrap }
.met { color: #22733d } .warn, .quarantine { color: #8a5a00 } .fail { color: #b3261e }
code { font-size: .85em } p.verdict { font-size: 1.1rem }
"""


def render(
    tenant: str,
    interval: Interval,
    verdict: str,
    results: Sequence[Result],
    set_aside: Mapping[str, Sequence[SetAside]],
) -> bytes:
    """The page in UTF-8.

    Args:
        verdict: one sentence on what became of the data.
        set_aside: by source, the first rows that were not accepted.
    """
    title = f"Data quality of {visible(tenant)}"
    suites = list(dict.fromkeys(result.suite for result in results))
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{escape(title)}</h1>",
        f"<p>{interval.start.isoformat()} to {interval.end.isoformat()}</p>",
        f'<p class="verdict">{escape(verdict)}</p>',
        *(_suite(suite, [r for r in results if r.suite == suite]) for suite in suites),
        *(_rows(source, rows) for source, rows in sorted(set_aside.items()) if rows),
        "</body></html>",
    ]
    return "\n".join(parts).encode()


def visible(value: object) -> str:
    """Text in which control, bidi and other invisible characters stand as escapes, shortened."""
    text = str(value)
    shown = "".join(
        f"\\u{ord(c):04x}" if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") else c
        for c in text[:_LONGEST]
    )
    return shown + ("…" if len(text) > _LONGEST else "")


def _suite(suite: str, results: Sequence[Result]) -> str:
    rows = "\n".join(_check(result) for result in results)
    return (
        f"<h2>{escape(suite)}</h2><table><tr><th>check</th><th>outcome</th><th>severity</th>"
        f"<th>unexpected</th><th>of</th><th>observed</th><th>expected</th></tr>\n{rows}</table>"
    )


def _check(result: Result) -> str:
    check = result.check
    outcome = "met" if result.success else "not met"
    style = "met" if result.success else check.severity
    observed = ", ".join(_observed(name, value) for name, value in result.observed.items())
    expected = ", ".join(
        f"{name} {visible(value)}" for name, value in check.kwargs.items() if value is not None
    )
    return (
        f'<tr><td>{escape(visible(check.name))}</td><td class="{style}">{outcome}</td>'
        f'<td>{check.severity}</td><td class="number">{result.unexpected_count:,}</td>'
        f'<td class="number">{result.element_count:,}</td><td>{escape(observed)}</td>'
        f"<td><code>{escape(check.type)}</code> {escape(expected)}</td></tr>"
    )


def _observed(name: str, value: Any) -> str:
    if name != "value":
        return visible(f"{name}: {value}")
    return f"{value:.4g}"


def _rows(source: str, rows: Sequence[SetAside]) -> str:
    lines = "\n".join(
        f'<tr><td class="number">{row.row_number}</td><td>{escape(visible(row.reason))}</td>'
        f"<td>{_cells(row.row)}</td></tr>"
        for row in rows
    )
    return (
        f"<h2>Rows set aside: {escape(source)} (the first {len(rows)}; all of them are in table "
        "<code>quarantine</code>)</h2><table><tr><th>row</th><th>checks not met</th>"
        f"<th>content</th></tr>\n{lines}</table>"
    )


def _cells(row: Mapping[str, Any]) -> str:
    return ", ".join(
        f"<code>{escape(name)}</code> {escape(visible(value))}"
        for name, value in row.items()
        if value is not None
    )
