"""One word, one thing: the names of the code, held against each other and the glossary."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

from include.runtime.state import PROJECT

GLOSSARY = (PROJECT / "docs/glossary.md").read_text("utf-8")


def public_classes() -> dict[str, list[str]]:
    """Name → the modules that have a public class of it at their top level."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted((PROJECT / "include").rglob("*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(str(path.relative_to(PROJECT)))
    return found


def words() -> list[tuple[str, tuple[str, ...]]]:
    """Each word of the glossary with the names that the code has for it."""
    lines = [line for line in GLOSSARY.splitlines() if line.startswith("|")][2:]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [(word, tuple(re.findall(r"`([^`]+)`", names))) for word, _, names in rows]


def test_no_two_classes_share_a_name() -> None:
    """Whoever reads a name knows which of them is meant."""
    assert {name: places for name, places in public_classes().items() if len(places) > 1} == {}


def test_what_the_glossary_names_is_there() -> None:
    """Classes, modules and packages by the names under which the glossary has them."""
    known = set(public_classes()) | {
        str(Path(path).relative_to(PROJECT / "include").with_suffix(""))
        for path in (PROJECT / "include").rglob("*.py")
    }
    missing = {word: set(names) - known for word, names in words()}
    assert {word: names for word, names in missing.items() if names} == {}


def test_a_word_stands_once() -> None:
    """In alphabetical order of what is looked up, and no name of the code under two words."""
    listed = [word for word, _ in words()]
    assert len(listed) == len(set(listed))
    names = [name for _, names in words() for name in names]
    assert len(names) == len(set(names))
