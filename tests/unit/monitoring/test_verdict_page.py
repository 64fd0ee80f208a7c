from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from include.monitoring.decisions import Verdict
from include.monitoring.gate import WindowComparison
from include.monitoring.statistics import ColumnDrift
from include.monitoring.verdict_page import VerdictSubject, head, told
from include.use_cases.drift_policy import DriftPolicy

ABOUT = VerdictSubject(
    "shop-1",
    "churn",
    "12",
    datetime(2024, 5, 1, tzinfo=UTC),
    datetime(2024, 5, 8, tzinfo=UTC),
)
POLICY = DriftPolicy()
MOVED = ColumnDrift("spend", 0.71, 1e-9, 0.35, True, 300, 80, 0.0, 0.0)
CHANCE = ColumnDrift("visits", 0.71, 0.2, 0.85, False, 300, 40, 0.0, 0.0)
GREW = replace(CHANCE, column="rate", explained="as history grew from 17 days to 45 days")
CALM = ColumnDrift("basket", 0.05, 0.6, 0.35, False, 300, 80, 0.0, 0.0)
EVIL = "<script>alert(1)</script>\u202e"


class Text(HTMLParser):
    """The words of a page, and the elements and links that it has."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.elements: list[str] = []
        self.links: list[str | None] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.links += [value for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def page(verdict: Verdict, *columns: ColumnDrift, **skipped: str) -> Text:
    comparison = WindowComparison(columns, None, skipped, 300, 80)
    unjudged = {"performance": "12 labels have matured at most, 30 are needed"}
    return Text(head(ABOUT, verdict, comparison, POLICY, unjudged))


def test_the_verdict_stands_with_whom_and_what_it_is_about() -> None:
    """Tenant, use case, version, both ends of the window, reasons, and the way back."""
    found = page(Verdict("drift", 0.71, ("1 of 3 features drifted", "auc fell")), MOVED)
    text = " ".join(found.words)
    for word in (
        "shop-1",
        "churn",
        "12",
        "2024-05-01 00:00 UTC to 2024-05-08 00:00 UTC",
        "auc fell",
    ):
        assert word in text
    assert found.links == ["../shop-1"]


def test_every_column_is_there_with_its_reason() -> None:
    """What drifted, what did not and why not, and what was not judged."""
    verdict = Verdict("drift", 0.71, ("1 of 4 features drifted",))
    found = page(verdict, MOVED, CHANCE, GREW, CALM, tenure="grows with history").words
    for column in (MOVED, CHANCE, GREW, CALM):
        assert column.column in found
        assert told(column, POLICY) in found
    assert {"3 judged, not drifted", "2 not judged", "tenure", "grows with history"} <= set(found)
    assert "12 labels have matured at most, 30 are needed" in found


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (MOVED, "drifted: PSI 0.71 reaches the limit of 0.35"),
        (CHANCE, "not drifted: with 40 entities chance alone makes a PSI of up to 0.85"),
        (GREW, "not drifted: it changed as it should (as history grew from 17 days to 45 days)"),
        (CALM, "not drifted: PSI 0.05 is below the threshold of 0.20"),
    ],
)
def test_a_large_distance_is_never_without_its_reason(column: ColumnDrift, words: str) -> None:
    """The same PSI is drift, chance or history, and it is said which."""
    assert told(column, POLICY) == words


def test_no_text_becomes_markup() -> None:
    """Names and reasons come from tenants' files and data; nor do bidi characters act."""
    hostile = VerdictSubject("shop-1", EVIL, EVIL, None, ABOUT.until)
    comparison = WindowComparison((replace(MOVED, column=EVIL),), None, {EVIL: EVIL}, 300, 80)
    made = head(hostile, Verdict("drift", 1.0, (EVIL,)), comparison, POLICY, {EVIL: EVIL})
    assert Text(made).elements.count("script") == 1  # our own, which hides the link in a frame
    assert "\u202e" not in made
    assert "alert(1)" not in re.findall(r"<script>(.*?)</script>", made)[0]
