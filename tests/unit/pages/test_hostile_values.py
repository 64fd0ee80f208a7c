"""Whatever a tenant's file or data holds, a page has the elements that its template wrote."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any, Final

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from include.features.declarations import USER, Aggregation, EventStream
from include.features.description import catalogue_page
from include.features.library import LibraryEntry
from include.features.views import FeatureView
from include.handoffs import Interval
from include.monitoring.decisions import Verdict
from include.monitoring.gate import WindowComparison
from include.monitoring.statistics import ColumnDrift
from include.monitoring.verdict_page import VerdictSubject, head
from include.pages import Alarm, Link, render
from include.quality import report
from include.quality.checks import FailedRow
from include.quality.suites import Check, Outcome
from include.registry import interval_chart, model_card
from include.use_cases.drift_policy import DriftPolicy

AT: Final = datetime(2024, 3, 4, tzinfo=UTC)
HOSTILE: Final = (
    "</title></style><script>alert(1)</script><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)" x=\'',
    "' onmouseover='alert(1)' x=\"",
    "{{7*7}}{% include 'base.html.jinja' %}{# x #}",
    "[click](javascript:alert(1)) ![x](https://evil.example/x.png) <https://evil.example>",
    "https://evil.example www.evil.example",
    "`code` **bold** _it_ ~~gone~~ $x$ a|b|c",
    "# heading",
    "> quote",
    "1. item",
    "- item",
    "x\n\n# heading\n\n| a |\n| - |\n<b>block</b>",
    "\n===",
    "``` \nfence",
    "&lt;b&gt; &#x3c;script&#x3e; \\<b\\>",
    "\u202egpj.exe\x00\u2028",
)


def card(text: str) -> str:
    """A model card with the text in every place that is free."""
    estimate = {"value": 0.8, "low": 0.7, "high": 0.9}
    window = {"training": [text, text], "holdout": [text], "horizon_days": 30}
    between = {"difference": 0.1, "low": 0.0, "high": 0.2}
    return model_card.page(
        {
            **dict.fromkeys(
                ("tenant", "use_case", "version", "rung", "name", "as_of", "key"), text
            ),
            **{"parent_version": text, "feature_fingerprint": text, "parameters": {text: text}},
            "judged": {
                "metric": text,
                "metrics": {text: estimate},
                **{"entities": 1, "minimum_entities": 2},
                "baselines": {text: {text: estimate}},
                "others": {text: {text: estimate}},
                "comparisons": [{"metric": text, "against": text, **between}],
                "tenants": [{"tenant": text, **between}],
                "groups": [{"best": text, "worst": text, "gap": text, "largest": text, **between}],
            },
            "lineage": {
                "tables": [dict.fromkeys(("tenant", "table", "schema_fingerprint"), text)],
                "windows": window,
                "rows": {text: text},
                "segments": {text: {text: text}},
                **dict.fromkeys(("code_revision", "seed", "trigger"), text),
                "libraries": {text: text},
                "training_sets": [{"recipe": {"tenant": text}, "digest": text}],
                "timezone": text,
            },
            "served": [{"since": text, "until": text, "actor": text}],
            "decisions": [{"as_of": text, "trigger": text, "actor": text, "reasons": [text, text]}],
        }
    )


def copied_card(text: str) -> str:
    """The card of a global version that a tenant took over."""
    plain = {"tenant": "acme", "use_case": "churn", "rung": "global", "name": text, "as_of": text}
    lineage = {"windows": {"training": [text]}}
    made = {"feature_fingerprint": text, "parameters": text, "key": text, "lineage": lineage}
    return model_card.page({**plain, **made, "parent_version": text})


def chart(text: str) -> str:
    """A drawing by itself."""
    drawing = interval_chart.chart(text, [interval_chart.ChartedInterval(text, 0.5, 0.4, 0.6)])
    return render("interval_chart.svg.jinja", chart=drawing)


def verdict_head(text: str) -> str:
    """What stands above Evidently's drawings."""
    drifted = ColumnDrift(text, 0.71, 1e-9, 0.35, True, 300, 80, 0.0, 0.0)
    calm = replace(drifted, drifted=False, explained=text)
    comparison = WindowComparison((drifted, calm), None, {text: text}, 300, 80)
    about = VerdictSubject(text, text, text, None, AT)
    return head(about, Verdict(text, 0.7, (text,)), comparison, DriftPolicy(), {"labels": text})


def quality(text: str) -> str:
    """The report of a check."""
    # as a fact's name, `value` is a number
    check = Check(text, text, {text: text, "none": None}, text, text)  # type: ignore[arg-type]
    result = check.result(text, Outcome(False, 1, 2), {text: text, "value": 0.5})
    rows = {text: [FailedRow(1, text, {text: text})]}
    return report.render(
        text, Interval(AT, AT + timedelta(days=1)), text, [result], rows, "UTC", {}
    ).decode()


def fleet(text: str) -> str:
    """The fleet: every kind of cell, and names of columns."""
    row = {
        text: text,
        "link": Link(text, text),
        "alarm": Alarm(text),
        "list": [text, (text,)],
        "map": {text: {text: [text]}},
        "error": ValueError(text),
    }
    return render("fleet.html.jinja", title=text, tenants=[row], more=text)


def history(text: str) -> str:
    """A tenant's history."""
    ledgers = {text: {text: [{text: text}]}}
    return render("history.html.jinja", title=text, reports=[{text: text}], use_cases=ledgers)


def framed(text: str) -> str:
    """A page around a report."""
    return render("report_frame.html.jinja", title=text, tenant=text, path=text, drawn=False)


def message(text: str) -> str:
    """A message that stands alone."""
    return render("message.html.jinja", title=text, message=ValueError(text))


PAGES: Final = (
    card, copied_card, chart, verdict_head, quality, fleet, history, framed, message
)  # fmt: skip


class Elements(HTMLParser):
    """Elements of a page with the names of their attributes, in their order, and addresses."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, ...]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, *(name for name, _ in attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.found.append((f"/{tag}",))

    def handle_comment(self, data: str) -> None:
        self.found.append(("comment",))


@pytest.mark.parametrize("made", PAGES, ids=lambda made: made.__name__)
@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_value_adds_no_element(made: Callable[[str], str], text: str) -> None:
    """Elements and attributes are those of a page with harmless words of the same length."""
    page = made(text)
    assert Elements(page).found == Elements(made("w" * len(text))).found
    assert not set(page) & set("\u202e\x00\u2028")


@pytest.mark.parametrize("made", [card, quality, fleet, history], ids=lambda made: made.__name__)
def test_half_a_character_does_not_break_a_page(made: Callable[[str], str]) -> None:
    """It is shown by its number, and the page can be written to a file."""
    assert "\\ud800" in made("\ud800").encode().decode()


@pytest.mark.parametrize("made", PAGES, ids=lambda made: made.__name__)
def test_a_value_is_no_template(made: Callable[[str], str]) -> None:
    """Braces are text."""
    page = made("{{7*7}}")
    assert "{{7*7}}" in page or "%7B%7B7%2A7%7D%7D" in page
    assert "49" not in page.replace("#495", "")


def catalogue(text: str) -> str:
    """The feature catalogue, whose views say the text wherever they may say anything."""
    stream = EventStream((text,))
    given: Mapping[str, Any] = {"owner": text, "description": text, "tags": (text,)}
    view = FeatureView("odd", USER, stream, (Aggregation("count"),), **given)
    views = catalogue_page.catalogue([LibraryEntry(view, text)], {"odd": [text]})
    odd = views["odd"]
    odd["stream"]["where"] = [text]
    odd["features"].append({"name": text, "type": text, "meaning": text})
    odd["inputs"] = [{"feature": text, "meaning": text}]
    odd["join_keys"], odd["entity"], odd["ttl"] = [text, "user_id"], text, text
    return catalogue_page.as_page(json.loads(json.dumps(views)))


def tokens(page: str) -> list[str]:
    """What a page of Markdown is made of, but for where names are set as code."""
    markdown = MarkdownIt("commonmark").enable(["table", "strikethrough"])

    def kinds(parts: list[Token]) -> list[str]:
        listed = []
        for part in parts:
            if part.type not in ("text", "code_inline", "softbreak"):
                listed += [part.type, *kinds(part.children or [])]
        return listed

    return kinds(markdown.parse(page))


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_value_adds_nothing_to_a_page_of_markdown(text: str) -> None:
    """No link, picture, heading, list, cell, emphasis or HTML, nor an address that becomes one."""
    page = catalogue(text)
    assert tokens(page) == tokens(catalogue("harmless"))
    assert not {"html_inline", "html_block", "image"} & set(tokens(page))
    assert not re.search(r"(?<!\\)://|www\.", re.sub("`[^`]*`", "", page))
    assert not set(page) & set("\u202e\x00\u2028")


def test_markdown_shows_a_value_as_it_is() -> None:
    """Escapes are for the source: a reader sees the text."""
    markdown = MarkdownIt("commonmark").enable("table")
    text = "1. [a](b) *c* _d_ e_f `g` <h> &amp; \\ i|j ~k~ $l$ https://m.example #n"
    (first, *_) = [
        token
        for token in markdown.parse(catalogue(text))
        if token.type == "inline" and "\\[a" in token.content
    ]
    assert "".join(part.content for part in first.children or []) == text
