from __future__ import annotations

import re
import socket
from datetime import UTC, datetime
from typing import NoReturn

import numpy as np
import pytest

from include.monitoring.evidently_report import render
from include.monitoring.profiles import profile
from include.monitoring.statistics import ColumnDrift, compare
from include.monitoring.windows import WindowSample

AS_OF = datetime(2024, 5, 8, tzinfo=UTC)
Side = dict[str, WindowSample]


def windows(hostile: bool = False) -> tuple[tuple[ColumnDrift, ...], Side, Side]:
    draw = np.random.default_rng(8)
    before = {f"c{i}": WindowSample(draw.normal(size=200), 200) for i in range(4)}
    after = {f"c{i}": WindowSample(draw.normal(3.0 * (i == 0), size=80), 80) for i in range(4)}
    if hostile:
        before["void"], after["void"] = (
            WindowSample(np.zeros(200), 200),
            WindowSample(np.full(80, np.nan), 80),
        )
        before["flat"], after["flat"] = (
            WindowSample(np.ones(200), 200),
            WindowSample(np.ones(80), 80),
        )
        before["kind"] = WindowSample(np.array(["a", None] * 100, dtype=object), 200)
        after["kind"] = WindowSample(
            np.array(["new", "</script><script>alert(1)"] * 40, dtype=object), 80
        )
    return compared(before, after), before, after


def drawn(hostile: bool = False) -> str:
    judged, *sides = windows(hostile)
    reasons = {one.column: f"why {one.column}: <b>it is so</b>" for one in judged}
    return render(judged, *sides, AS_OF, reasons)


def compared(before: Side, after: Side) -> tuple[ColumnDrift, ...]:
    profiles = (
        {name: profile(sample) for name, sample in side.items()} for side in (before, after)
    )
    return compare(*profiles, 0.2, 0.01)


def test_columns_that_evidently_cannot_take_are_kept_from_it() -> None:
    """An all-null column is not drawn, a constant and a text column are."""
    page = drawn(hostile=True)
    assert "why void: " not in page
    assert all(f"why {name}: " in page for name in ("flat", "kind", "c3"))


def test_there_is_no_drawing_of_nothing() -> None:
    """No usable column is no failure: nothing is drawn."""
    column = {"void": WindowSample(np.full(50, np.nan), 50)}
    reference = {"void": WindowSample(np.zeros(50), 50)}
    judged = compared(reference, column)
    assert render(judged, reference, column, AS_OF, {}) == ""


def test_the_page_is_the_same_every_time_and_stands_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two renderings are equal, load nothing from elsewhere, and open no connection."""

    def refuse(*_: object) -> NoReturn:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    page = drawn(hostile=True)
    assert page == drawn(hostile=True)
    assert "c0" in page
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=[\"']?(?:https?:)?//", page)


def test_a_hostile_value_is_not_markup() -> None:
    """A text from the data cannot end the page's script and start its own."""
    page = drawn(hostile=True)
    assert "alert(1)" in page
    assert "<script>alert(1)" not in page


def test_evidently_judges_no_window() -> None:
    """The page says of each column why it counts or not, and nothing of the dataset as a whole."""
    page = drawn()
    for words in ("Dataset Drift", "is NOT detected", "Dataset drift detection threshold"):
        assert words not in page
    assert all(f"why c{number}: " in page for number in range(4))
    assert "<b>it is so" not in page
