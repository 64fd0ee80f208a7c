"""The page of examples in the docs is what the specs say."""

from __future__ import annotations

import by_example


def test_the_page_is_current() -> None:
    """If not: `python tests/spec/by_example.py`."""
    assert by_example.PAGE.read_text("utf-8") == by_example.page()
