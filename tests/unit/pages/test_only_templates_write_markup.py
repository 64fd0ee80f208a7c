"""Markup is written in templates: no module makes it of texts, or escapes by itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
FOLDERS = ("include", "plugins", "dags", "benchmarks")
#: An element's beginning or end, and a document's type.
ELEMENT = re.compile(
    r"<!doctype|</?(?:a|b|body|br|circle|code|details|div|head|h[1-6]|html|iframe|img|li|line|link|"
    r"meta|ol|p|path|pre|rect|script|section|span|style|summary|svg|table|tbody|td|text|th|thead|"
    r"title|tr|ul)\b[^<]{0,200}?>|<(?:a|circle|div|iframe|img|line|span|svg|td|text|th) ",
    re.IGNORECASE,
)
ESCAPING = re.compile(r"\bhtml\.escape\b|from html import|import html\b|markupsafe|jinja2")


def modules() -> Iterator[Path]:
    """Every module that is not the one that renders."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path != ROOT / "include" / "pages" / "__init__.py":
                yield path


def written(source: str) -> Iterator[tuple[int, str]]:
    """Texts of a module, parts of f-strings too, with their lines; no docstring."""
    tree = ast.parse(source)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            yield node.lineno, node.value


def test_no_module_writes_elements() -> None:
    """Whoever wants a page writes a template."""
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text[:60]!r}"
        for path in modules()
        for line, text in written(path.read_text(encoding="utf-8"))
        if ELEMENT.search(text)
    ]
    assert found == []


def test_no_module_escapes_by_itself() -> None:
    """What escapes in a second place escapes differently one day."""
    found = [
        str(path.relative_to(ROOT))
        for path in modules()
        if ESCAPING.search(path.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        'x = f"<td>{y}</td>"',
        'x = f"<td class={y}>"',
        "x = '<svg viewBox=\"0 0 1 1\">' + y",
        'x = f"<!doctype html><p>{y}"',
        'def f():\n    "Doc."\n    return "<br>".join(y)',
    ],
)
def test_markup_would_be_found(source: str) -> None:
    """The pattern knows elements in texts and in parts of f-strings."""
    assert any(ELEMENT.search(text) for _, text in written(source))


def test_other_texts_are_let_through() -> None:
    """Comparisons, types, placeholders and docstrings are no markup."""
    for text in ("a < b", "TENANT <ID>", "'<lambda>'", "x<y>z", "<= 3"):
        assert not ELEMENT.search(text)
    assert not list(written('"""A page with <p>."""'))
