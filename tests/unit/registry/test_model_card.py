"""The model card as a page, and its drawing."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from include.pages import render
from include.registry import interval_chart
from include.registry.card import card, judged
from include.registry.interval_chart import ChartedInterval
from include.registry.model_card import page
from include.registry.port import NewVersion

HOSTILE = "<script>alert(1)</script>"
NEW = NewVersion(
    key="k",
    rung="own",
    name="lightgbm",
    model=b"{}",
    reference=b"PAR1",
    parent_version="global/churn@3",
    as_of=datetime(2017, 1, 1, tzinfo=UTC),
    feature_fingerprint="f" * 16,
    parameters={"leaves": 8},
    metrics={"auc": 0.87},
    lineage={
        "tables": [
            {
                "tenant": "acme",
                "table": "events",
                "version": 12,
                "rows": 12_345,
                "schema_fingerprint": "s",
            }
        ],
        "windows": {"training": ["2016-11-01", "2016-12-01"], "holdout": ["2016-12-15"]},
        "rows": {"training": 4_000, "holdout": 1_000},
        "segments": {"recency=low": {"rows": 300, "value": 0.91, "low": 0.88, "high": 0.94}},
        "seed": 7,
        "code_revision": "abc",
        "libraries": {"numpy": "2"},
    },
)
ESTIMATE = {"value": 0.87, "low": 0.85, "high": 0.89}
DOCUMENT = {
    "models": {
        "own/lightgbm": {"metrics": {"auc": ESTIMATE}, "parent_version": "global/churn@3"},
        "baseline/recency": {"metrics": {"auc": {"value": 0.8, "low": 0.78, "high": 0.82}}},
        "incumbent/x": {"metrics": {"auc": {"value": None, "low": None, "high": None}}},
    },
    "evidence": {
        "metric": "auc",
        "entities": 1_000,
        "minimum_entities": 50,
        "comparisons": [
            {
                "candidate": "own/lightgbm",
                "against": "baseline/recency",
                "difference": 0.07,
                "low": 0.05,
                "high": 0.09,
            },
            {"candidate": "baseline/recency", "against": "x", "difference": 0, "low": 0, "high": 0},
        ],
        "tenants": [],
        "groups": [
            {
                "candidate": "own/lightgbm",
                "best": "region=north",
                "worst": "region=south",
                "gap": 0.0312,
                "low": 0.01,
                "high": 0.05,
                "largest": None,
            }
        ],
    },
}


class Elements(HTMLParser):
    """Every element of a page with its attributes, and whether each is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the element."""
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "line", "circle"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """It closes the last one that is open."""
        if tag not in ("line", "circle"):
            assert self.open.pop() == tag


def document(**changes: Any) -> dict[str, Any]:
    """A card as it is stored."""
    told = judged("own/lightgbm", DOCUMENT, ["It is better.", HOSTILE])
    found: dict[str, Any] = json.loads(card("acme", "churn", replace(NEW, judged=told)))
    return {**found, **changes}


def chart(title: str, intervals: list[ChartedInterval]) -> str:
    """The drawing, as a page holds it."""
    return render("interval_chart.svg.jinja", chart=interval_chart.chart(title, intervals))


def test_a_card_tells_data_metrics_limits_and_lineage() -> None:
    """What the model learnt from, how well it does beside its baseline, and why it was chosen."""
    text = page(document())
    for told in (
        *("acme.churn", "own/lightgbm", "12,345", "2016-11-01 to 2016-12-01 (2)"),
        *("baseline/recency", "0.8700", "+0.0700", "recency=low", "It is better."),
        *("global/churn@3", "abc", "Limits", "region=south", "0.0312"),
    ):
        assert told in text, told
    assert "against" in text
    assert text.count("<svg") == 1


def test_a_page_stands_alone_and_its_values_stay_text() -> None:
    """Nothing is loaded from anywhere, nothing runs, and a hostile value is no element."""
    served = [{"since": HOSTILE, "until": None, "actor": HOSTILE}]
    text = page(document(served=served, tenant=HOSTILE, version=HOSTILE))
    elements = Elements(text)
    assert elements.open == []
    names = {name for name, _ in elements.found}
    assert not names & {"script", "link", "img", "iframe", "object", "form", "a"}
    assert not re.search(r"https?:|url\(|@import", text)
    assert not any(key.startswith("on") for _, found in elements.found for key in found)
    assert "default-src 'none'" in text


def test_a_version_without_figures_has_a_card_all_the_same() -> None:
    """One that was registered elsewhere, or measured on nothing, says that nothing was measured."""
    for bare in (
        document(judged={}, lineage={"tables": {"events": 3}}),
        json.loads(card("acme", "churn", NEW)),
    ):
        assert "Nothing was measured." in page(bare)


def test_equal_cards_give_equal_pages() -> None:
    """The page is made of the card and of nothing else."""
    assert page(document()) == page(document())


@pytest.mark.parametrize(
    "intervals",
    [
        [ChartedInterval("a", 0.5)],
        [ChartedInterval("a", 0.0, 0.0, 0.0), ChartedInterval("b", 0.0)],
        [ChartedInterval("a", 0.87, 0.85, 0.89, ours=True), ChartedInterval("b", 0.8, 0.78, 0.82)],
        [ChartedInterval("a", -1_250.0, -1_300.0, -1_200.0), ChartedInterval("b", 3.0)],
        [ChartedInterval(HOSTILE * 3, 1e-9, 0.0, 2e-9)],
        [
            ChartedInterval("a", 0.4, 0.2, 0.6, ours=True),
            ChartedInterval("far", -2_253.8, -3_000.0, -1_000.0),
        ],
    ],
)
def test_every_interval_is_drawn_within_the_picture(intervals: list[ChartedInterval]) -> None:
    """Whatever the range, all coordinates lie inside and each estimate has its mark."""
    text = chart("auc", intervals)
    elements = Elements(text)
    assert elements.open == []
    assert [name for name, _ in elements.found].count("circle") == len(intervals)
    width, height = map(float, re.findall(r'viewBox="0 0 (\S+) (\S+)"', text)[0])
    for name, most in (("x1", width), ("x2", width), ("cx", width), ("y1", height), ("cy", height)):
        for value in re.findall(rf'\b{name}="([^"]+)"', text):
            assert 0 <= float(value) <= most
    assert HOSTILE not in text


def test_what_is_far_off_does_not_flatten_the_rest() -> None:
    """The axis is about our interval; a figure far beyond stands at its edge, hollow, as a text."""
    text = chart(
        "skill",
        [
            ChartedInterval("a", 0.4, 0.2, 0.6, ours=True),
            ChartedInterval("far", -2_253.8, -3e3, -1e3),
        ],
    )
    assert "-2253.8000" in text
    assert text.count('fill="#fff"') == 1
    ends = [float(x) for x in re.findall(r'x[12]="([^"]+)" y1="[^"]+" x2', text)]
    assert max(ends) - min(ends) > 50
