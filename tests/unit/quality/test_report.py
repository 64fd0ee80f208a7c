"""The report is one page that people can read and that nobody can abuse."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from include.handoffs import Interval
from include.quality.checks import FailedRow
from include.quality.report import render
from include.quality.suites import BETWEEN, Check, Outcome
from include.quality.volume import Delivered

WEEK = Interval(datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 8, tzinfo=UTC))
CHECK = Check("amount.sane", BETWEEN, {"max_value": 9}, "quarantine", "amount")
RESULTS = [CHECK.result("events.pos", Outcome(False, 3, 1200), {})]
DELIVERED = {"pos": [Delivered(WEEK, 990, read=1000, taken=990, set_aside=3, outside=7)]}
HOSTILE = '"><script src="https://evil.example/x.js"></script>\u202egpj.exe\x00'


def _page(value: str) -> str:
    rows = {"pos": [FailedRow(7, "amount.sane", {"user_id": value})]}
    verdict = "1,197 rows accepted."
    return render("Shop & Sons", WEEK, verdict, RESULTS, rows, "UTC", DELIVERED).decode()


def test_the_page_says_what_was_checked_and_found() -> None:
    """Check, outcome, severity and counts stand in it."""
    page = _page("u-1")
    for text in ("Shop &amp; Sons", "amount.sane", "not met", "quarantine", "1,200", "u-1"):
        assert text in page


def test_the_page_says_what_became_of_every_row_read() -> None:
    """What is in, set aside and outside stands there for each slice, and adds up."""
    assert "1,000 rows read: 990 in, 3 set aside, 7 outside" in _page("u-1")


def test_a_hostile_value_is_text() -> None:
    """Markup is escaped, and invisible characters are made visible."""
    page = _page(HOSTILE)
    assert "<script" not in page
    assert "\u202e" not in page
    assert "\x00" not in page
    assert "\\u202e" in page


def test_the_page_needs_nothing_else() -> None:
    """It loads no style, script, font or picture from anywhere."""
    assert not re.search(r"<(link|script|img|iframe)|url\(|@import", _page("u-1"))


def test_equal_input_gives_equal_bytes() -> None:
    """A rerun writes the same page."""
    assert _page(HOSTILE) == _page(HOSTILE)


def test_a_long_value_is_cut() -> None:
    """Ten kilobytes of one value do not drown the others."""
    assert "x" * 300 not in _page("x" * 10_000)
