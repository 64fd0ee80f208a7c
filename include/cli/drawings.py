"""Lineage and previews as people read them on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.markup import escape
from rich.tree import Tree

from include.features.description.lineage import Node
from include.runtime.tables import print_table
from include.wall_clock import local

if TYPE_CHECKING:
    from include.features.description.preview import Distribution, Preview

_BARS: Final = " ▁▂▃▄▅▆▇█"
_LONGEST_TEXT: Final = 40
_STYLES: Final = {
    "view": "bold",
    "feature": "cyan",
    "aggregation": "green",
    "attribute": "green",
    "stream": "magenta",
    "column": "",
    "source": "yellow",
}


def lineage_tree(node: Node) -> Tree:
    """The lineage as a tree; what was drawn before is not drawn again."""
    return _grow(None, node, set())


def print_preview(console: Console, preview: Preview, timezone: str) -> None:
    """Sample, distributions and cost."""
    at = local(preview.as_of, timezone)
    console.print(f"{preview.view} of {preview.tenant} at {at}", markup=False, highlight=False)
    if preview.sample:
        rows = [{k: _value(v) for k, v in row.items() if k != "as_of"} for row in preview.sample]
        print_table(console, _turned(rows), title="Sample")
    print_table(
        console,
        [_distribution(distribution) for distribution in preview.distributions],
        title="Distribution",
    )
    cost = preview.cost
    console.print(
        f"Cost: {cost.events:,} events and {cost.attributes:,} attributes read in "
        f"{cost.read_seconds:.2f} s, {cost.spine_rows:,} rows computed in "
        f"{cost.compute_seconds:.2f} s; the process took at most {cost.peak_bytes / 1e6:,.0f} MB",
        highlight=False,
        soft_wrap=True,
    )


def visible(text: str) -> str:
    """A text of the tenant's on one line, short, and without anything a terminal would obey."""
    safe = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: _LONGEST_TEXT + 1])
    return safe if len(safe) <= _LONGEST_TEXT else safe[: _LONGEST_TEXT - 1] + "…"


def histogram(counts: tuple[int, ...]) -> str:
    """One bar per step; whatever is not empty can be seen."""
    most = max(counts)
    return "".join(_BARS[0 if not n else 1 + (7 * n) // most] for n in counts)


def _grow(parent: Tree | None, node: Node, drawn: set[Node]) -> Tree:
    text, made_of = escape(node.text), node.made_of
    if len(made_of) == 1 and made_of[0].kind == "source":
        text, made_of = f"{text} ← [yellow]{escape(made_of[0].text)}[/yellow]", ()
    elif node in drawn:
        text, made_of = f"{text}, as above", ()
    if made_of and node.kind in ("feature", "stream"):
        drawn.add(node)
    if node.kind == "stream":
        text = f"stream {text}"
    style = _STYLES[node.kind]
    label = f"[{style}]{text}[/{style}]" if style else text
    tree = Tree(label, highlight=False) if parent is None else parent.add(label)
    for part in made_of:
        _grow(tree, part, drawn)
    return tree


def _turned(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """A row per feature and a column per entity: features are many, sampled entities few."""
    return [
        {"column": name} | {str(n): row[name] for n, row in enumerate(rows, 1)} for name in rows[0]
    ]


def _distribution(distribution: Distribution) -> dict[str, Any]:
    words = ("least", "quarter", "half", "3/4", "greatest")
    whole = distribution.kind == "integer"
    quartiles = [_value(int(n) if whole else n) for n in distribution.quartiles or ()]
    shape = histogram(distribution.histogram) if distribution.histogram else ""
    if distribution.top:
        shape = ", ".join(f"{visible(text)} {rows}" for text, rows in distribution.top)
    return {
        "feature": distribution.feature.partition("__")[2],
        "null": f"{distribution.nulls:.1%}",
        "distinct": distribution.distinct,
        **dict(zip(words, quartiles or [""] * len(words), strict=True)),
        "shape": shape,
    }


def _value(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, float):
        return f"{value:.4g}"
    return visible(str(value))
