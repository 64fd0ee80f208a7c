"""Rows of values as a page that needs nothing else. Every value is escaped here, and only here."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any, Final

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884 }
body { font: 14px/1.5 system-ui, sans-serif; margin: 1.5rem auto; max-width: 100rem;
  padding: 0 1.5rem }
h1 { font-size: 1.4rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2rem 0 .3rem }
h3 { font-size: 1rem; margin: 1rem 0 .2rem } p { margin: .3rem 0; max-width: 60rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: break-word; min-width: 5rem }
.whole { white-space: nowrap } .bad { color: #c33; font-weight: 600 }
th { font-weight: 600; background: #8881; white-space: nowrap }
"""
#: Letters that stay on one line.
_SHORT: Final = 32
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


@dataclass(frozen=True)
class Link:
    """A cell that leads somewhere.

    Args:
        href: relative to the page, or a path; its parts are quoted by whoever makes it.
    """

    text: str
    href: str


@dataclass(frozen=True)
class Alarm:
    """A cell that somebody should look at."""

    text: str


def page(title: str, *parts: str) -> str:
    """A whole page of parts made by the functions below."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{_text(title)}</h1>\n" + "\n".join(parts) + "\n</body></html>"
    )


def heading(text: str, level: int = 2) -> str:
    """A heading within the page."""
    return f"<h{level}>{_text(text)}</h{level}>"


def paragraph(value: object) -> str:
    """A sentence, or a link that stands alone."""
    return f"<p>{_cell(value)}</p>"


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with the first one's columns."""
    if not rows:
        return paragraph("Nothing yet.")
    head = "".join(f"<th>{_text(name.replace('_', ' '))}</th>" for name in rows[0])
    body = "\n".join(
        "<tr>" + "".join(_column(value) for value in row.values()) + "</tr>" for row in rows
    )
    return f"<table><tr>{head}</tr>\n{body}</table>"


def _column(value: Any) -> str:
    text = value.text if isinstance(value, Link | Alarm) else value
    whole = ' class="whole"' if isinstance(text, str) and len(text) <= _SHORT else ""
    return f"<td{whole}>{_cell(value)}</td>"


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case Link(text, href):
            return f'<a href="{escape(href)}">{_text(text)}</a>'
        case float():
            return f"{value:.3f}"
        case datetime():
            return f"{value.astimezone(UTC):%Y-%m-%d %H:%M}"
        case Alarm(text):
            return f'<span class="bad">{_text(text)}</span>'
        case list() | tuple():
            return "<br>".join(_cell(part) for part in value)
        case dict():
            return "<br>".join(f"{_text(name)}: {_cell(part)}" for name, part in value.items())
    return _text(value)


def _text(value: object) -> str:
    """Text that cannot become markup, nor hide a control or bidi character."""
    return escape(
        "".join(
            f"\\u{ord(c):04x}" if unicodedata.category(c) in _INVISIBLE else c for c in str(value)
        )
    )
