"""Tables for people, on wide and narrow terminals."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from include.runtime.tables import print_table

ROWS: list[dict[str, Any]] = [
    {
        "tenant": "store-292",
        "use_case": "churn",
        "champion": "1 global/logistic",
        "metric": "auc 0.806",
        "live": None,
        "until": datetime(2017, 11, 27, tzinfo=UTC),
    }
]


def printed(width: int, rows: list[dict[str, Any]] = ROWS, *, terminal: bool = True) -> str:
    out = io.StringIO()
    print_table(Console(file=out, width=width, force_terminal=terminal), rows, "What serves")
    return out.getvalue()


def test_what_only_some_rows_say_has_a_column() -> None:
    """And the other rows have nothing there."""
    found = printed(80, [{"tenant": "a", "by": "ada"}, {"tenant": "b", "besides": "2 for 20%"}])
    assert "besides" in found
    (line,) = [line for line in found.splitlines() if "2 for 20%" in line]
    assert "ada" not in line


def test_a_wide_terminal_has_a_table() -> None:
    """One line per row."""
    found = printed(120)
    assert "┃" in found
    assert len([line for line in found.splitlines() if "store-292" in line]) == 1


@pytest.mark.parametrize("width", [20, 60, 80])
def test_a_narrow_terminal_has_the_rows_one_below_the_other(width: int) -> None:
    """No word is broken; what is empty is left out."""
    found = printed(width)
    assert "┃" not in found
    for word in ("store-292", "churn", "global/logistic", "auc", "2017-11-27"):
        assert word in found
    assert "live" not in found
