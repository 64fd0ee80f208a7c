"""Every page, drawing and card, from its template: only here does a value meet markup.

Whatever a template prints is text. Characters that hide themselves are made visible and markup is
escaped, for HTML and SVG in one way and for Markdown in another, so that neither a template nor
its caller has to think of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from include.redaction import visible
from include.wall_clock import local

_BRIEF: Final = 32  #: letters that stay on one line of a table
_LONGEST: Final = 200  #: characters that `short` leaves
#: What begins markup within a line of Markdown, a bare address included.
_INLINE: Final = re.compile(r"[\\`*\[\]|~$]|(?<!\w)_|_(?!\w)|:(?=//)|(?<=www)\.")
_LINE_START: Final = re.compile(r"^(\s*\d*)([#>+=.)-])")
_CODE: Final = re.compile(r"[\w ./:,()@-]+")


@dataclass(frozen=True)
class Link:
    """A text that leads somewhere.

    Args:
        href: relative to the page, or a path; its parts are quoted by whoever makes it.
    """

    text: str
    href: str


@dataclass(frozen=True)
class Alarm:
    """A text that somebody should look at."""

    text: str


def render(template: str, **values: object) -> str:
    """The text of a template; the same values give the same text.

    Args:
        template: name of a file in `include/pages/templates`.
        values: what the template reads; a name that it does not find is an error.
    """
    environment = _MARKDOWN if template.endswith(".md.jinja") else _HTML
    return environment.get_template(template).render(values)


def atop(page: str, content: str) -> str:
    """A page that somebody else has made, with this at the top of its body."""
    before, body, after = page.partition("<body>")
    return f"{before}{body}\n{content}{after}" if body else content + page


def _environment(printed: Callable[[object], object]) -> Environment:
    environment = Environment(
        loader=PackageLoader("include.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=printed,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
    )
    environment.filters |= {"code": _code, "local": local, "short": _short}
    environment.tests |= {
        "alarm": lambda value: isinstance(value, Alarm),
        "brief": _is_brief,
        "instant": lambda value: isinstance(value, datetime),
        "link": lambda value: isinstance(value, Link),
        "listed": lambda value: isinstance(value, list | tuple),
    }
    return environment


def _text(value: object) -> object:
    """A value as HTML prints it; Jinja escapes all of it but a macro's own markup."""
    if isinstance(value, Markup):
        return value
    return "" if value is None else visible(value)


def _markdown(value: object) -> Markup:
    """A value as Markdown prints it: on one line, and nothing in it is markup."""
    if isinstance(value, Markup):
        return value
    text = "" if value is None else visible(re.sub(r"\s+", " ", str(value)))
    text = _LINE_START.sub(r"\1\\\2", _INLINE.sub(r"\\\g<0>", text))
    return Markup(text.replace("&", "&amp;").replace("<", "&lt;"))  # noqa: S704 - escaped here


def _code(value: object) -> Markup:
    """A name as Markdown sets code; as plain text where it holds what could end the code."""
    harmless = _CODE.fullmatch(str(value))
    return Markup(f"`{value}`") if harmless else _markdown(value)  # noqa: S704 - harmless


def _is_brief(value: object) -> bool:
    """Whether a text stays on one line of a table."""
    text = value.text if isinstance(value, Link | Alarm) else value
    return isinstance(text, str) and len(text) <= _BRIEF


def _short(value: object) -> str:
    """The beginning of a long text."""
    text = str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


_HTML: Final = _environment(_text)
_MARKDOWN: Final = _environment(_markdown)
