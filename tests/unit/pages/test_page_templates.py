"""A template knows what is in it, prints values as people write them, and comes along."""

from __future__ import annotations

import re
import socket
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import pytest
from jinja2 import UndefinedError

from include import pages
from include.pages import Alarm, Link, atop, render

ROOT = Path(__file__).parents[3]
TEMPLATES = sorted((ROOT / "include" / "pages" / "templates").iterdir())
AT = datetime(2017, 10, 16, 1, 30, tzinfo=UTC)


def records(*rows: dict[str, object]) -> str:
    """The table of the rows, as a page of the fleet holds it."""
    page = render("fleet.html.jinja", title="", tenants=rows, more="")
    return page[page.index("</h1>") + 5 : page.index("</body>")].replace("\n", "")


def test_values_read_as_people_write_them() -> None:
    """Nothing for nothing, three decimals, UTC to the minute, one line per part."""
    row = {
        "a_b": None,
        "figure": 0.85391,
        "at": AT,
        "both": ["x", 0.5],
        "none": [],
        "map": {"n": 1},
    }
    assert records(row) == (
        "<table><tr><th>a b</th><th>figure</th><th>at</th><th>both</th><th>none</th><th>map</th>"
        "</tr><tr><td></td><td>0.854</td><td>2017-10-16 01:30 UTC</td><td>x<br>0.500</td><td></td>"
        "<td>n: 1</td></tr></table>"
    )
    assert records() == "<p>Nothing yet.</p>"


def test_links_lead_and_alarms_stand_out() -> None:
    """A short text stays on its line, whatever it is."""
    row = {"short": Link("acme", "reports/acme"), "long": Alarm("x" * 40), "word": "calm"}
    assert records(row).endswith(
        '<td class="whole"><a href="reports/acme">acme</a></td>'
        f'<td><span class="bad">{"x" * 40}</span></td><td class="whole">calm</td></tr></table>'
    )


def test_a_mapping_is_no_link() -> None:
    """What a ledger holds leads nowhere, however its keys are called."""
    assert "<a " not in records({"details": {"href": "https://evil.example", "text": "click"}})


def test_a_value_that_a_template_misses_is_an_error() -> None:
    """Nothing is left out unseen."""
    with pytest.raises(UndefinedError, match="message"):
        render("message.html.jinja", title="Tenantry")


def test_a_head_stands_at_the_top_of_the_body() -> None:
    """Of a page that has one; of anything else it comes first."""
    assert atop("<html><body><p>x</p></body>", "HEAD") == "<html><body>\nHEAD<p>x</p></body>"
    assert atop("x", "HEAD") == "HEADx"


def test_rendering_uses_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Templates come from the package, and equal values give equal pages."""

    def refuse(*_: object) -> NoReturn:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    first, second = (render("message.html.jinja", title="a", message="b") for _ in range(2))
    assert first == second


@pytest.mark.parametrize("environment", [pages._HTML, pages._MARKDOWN])
def test_no_environment_leaves_values_as_they_are(environment: pages.Environment) -> None:
    """Escaping is on for every template, and nothing compiled is kept on disk."""
    assert environment.autoescape is True
    assert environment.bytecode_cache is None


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_goes_round_the_escaping(path: Path) -> None:
    """None marks a value as safe, prints one outside quotes of an attribute, or in a script."""
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"\|\s*safe\b|autoescape|Markup", text)
    assert not re.search(r"<[^<>{]*=\s*\{\{", text)
    for inside in re.findall(r"<(?:script|style)>(.*?)</(?:script|style)>", text, re.S):
        assert "{{" not in inside


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_loads_from_elsewhere(path: Path) -> None:
    """No style, script, font or picture: a page needs nothing else."""
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"<(link|img|object|embed|form|base)\b|<script\s|url\(|@import", text)
    assert not re.search(r"https?://|\bon\w+=", text)


def test_every_template_comes_with_an_installation() -> None:
    """Their ending is among the package's data, and the image copies the folder they are in."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shipped = settings["tool"]["setuptools"]["package-data"]["*"]
    assert {f"*{path.suffix}" for path in TEMPLATES} == {"*.jinja"}
    assert "*.jinja" in shipped
    assert "COPY include include" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
