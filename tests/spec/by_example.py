"""What features mean, by example: the specs' own tables as a page of the docs.

    python tests/spec/by_example.py        write docs/features-by-example.md

`test_by_example.py` fails where the page is not what the specs say.
"""

from __future__ import annotations

import inspect
import itertools
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

PROJECT: Final = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(PROJECT), str(Path(__file__).parent)]

from spec_views import spec_view  # noqa: E402

from include.features.declarations import USER  # noqa: E402
from include.features.description.wording import condition_words, feature_words  # noqa: E402

PAGE: Final = PROJECT / "docs" / "features-by-example.md"
#: Those that are about meaning; what engines do at their limits is none of a reader's business.
MODULES: Final = ("test_feature_windows", "test_feature_values", "test_feature_language")
_HEAD: Final = """\
# Features by example

What a feature means, told by small tables: these are the tests that every engine has to pass
(`tests/spec`), printed by `python tests/spec/by_example.py`. A row of *events* happened `at` an instant and
became `known` then, where nothing else is said; *expected* is what is known of an entity at `as_of`.
`-` is null. How features are declared: [adding a feature](adding-a-feature.md).
"""


@dataclass(frozen=True)
class Example:
    """One table of a spec."""

    told: dict[str, str]  #: feature → what it means
    events: str
    attributes: str
    expect: str
    notes: tuple[str, ...]


def page() -> str:
    """The whole page."""
    parts = [_HEAD]
    for name in MODULES:
        module = import_module(name)
        parts.append(f"## {_sentence(module.__doc__)}\n")
        for spec in _specs(module):
            parts.append(f"### {spec.__name__.removeprefix('test_').replace('_', ' ')}\n")
            parts.append(f"{textwrap.dedent(spec.__doc__ or '').strip()}\n")
            before: Example | None = None
            for one in _examples(spec):
                parts.append(_shown(one, before))
                before = one
    return "\n".join(parts)


def _sentence(text: str | None) -> str:
    return (text or "").strip().splitlines()[0].rstrip(".")


def _specs(module: Any) -> Iterator[Callable[..., None]]:
    for name, found in vars(module).items():
        if name.startswith("test_") and "check" in inspect.signature(found).parameters:
            yield found


def _examples(spec: Callable[..., None]) -> Iterator[Example]:
    """What a spec hands to `check`, for each of its parameters."""
    recorded: list[Example] = []

    def check(*aggregations: Any, events: str, expect: str, **more: Any) -> None:
        attributes = more.pop("attributes", "")
        zone = more.pop("timezone", "UTC")
        notes = []
        entity = more.get("entity", USER)
        if entity != USER:
            notes.append(f"per {' and '.join(key.removesuffix('_id') for key in entity.join_keys)}")
        if names := more.get("names"):
            notes.append(f"of the events {', '.join(names)}")
        if where := more.get("where"):
            notes.append(f"of events where {' and '.join(condition_words(where))}")
        if zone != "UTC":
            notes.append(f"by the clock of {zone}")
        view = spec_view(aggregations, **more)
        told = {name.removeprefix("v__"): words for name, words in feature_words(view).items()}
        recorded.append(Example(told, events, attributes, expect, tuple(notes)))

    for values in itertools.product(*_parameters(spec)):
        arguments: dict[str, Any] = {}
        for one in values:
            arguments |= one
        spec(check, **arguments)
    yield from recorded


def _parameters(spec: Callable[..., None]) -> Iterator[list[dict[str, Any]]]:
    for mark in getattr(spec, "pytestmark", []):
        if mark.name == "parametrize":
            names, rows = mark.args[:2]
            names = [n.strip() for n in names.split(",")] if isinstance(names, str) else names
            told = [getattr(row, "values", row) for row in rows]
            yield [dict(zip(names, row if len(names) > 1 else [row], strict=True)) for row in told]


def _shown(example: Example, before: Example | None) -> str:
    """Its tables; those that the example before had, too, are not repeated."""
    meanings = "\n".join(f"- `{name}`: {words}" for name, words in example.told.items())
    notes = f"{'; '.join(example.notes)}\n\n" if example.notes else ""
    same = before is not None and (before.events, before.attributes) == (
        example.events,
        example.attributes,
    )
    given = () if same else (("events", example.events), ("attributes", example.attributes))
    tables = (*given, ("expected", example.expect))
    shown = "\n\n".join(f"{name}\n{_aligned(text)}" for name, text in tables if text.strip())
    return f"{notes}{meanings}\n\n```text\n{shown}\n```\n"


def _aligned(text: str) -> str:
    lines = [
        [cell.strip() for cell in line.split("|")] for line in text.splitlines() if line.strip()
    ]
    widths = [max(len(line[n]) for line in lines) for n in range(len(lines[0]))]
    rows = (
        " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) for line in lines
    )
    return "\n".join(f"  {row.rstrip()}" for row in rows)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
