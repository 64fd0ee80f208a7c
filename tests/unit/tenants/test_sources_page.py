"""`docs/sources.md`: every key of a source, as the models read it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.tenants import sources_page

KEYS = [(model, key) for model in sources_page._MODELS for key in sources_page.keys(model)]


@pytest.mark.parametrize(("model", "key"), KEYS, ids=lambda part: getattr(part, "__name__", part))
def test_every_key_has_an_example_that_is_read_and_an_error(model: type[Any], key: str) -> None:
    """And a sentence that says what it is for."""
    sources_page.accepted(model, key)
    assert sources_page.answer(model, key, sources_page.EXAMPLES[model][key][1])
    assert len(sources_page.comment(model, key)) > 10


def test_the_page_is_what_the_models_say() -> None:
    """`python tests/unit/tenants/sources_page.py` writes it anew."""
    assert sources_page.PAGE.read_text(encoding="utf-8") == sources_page.page()
