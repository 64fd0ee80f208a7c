"""The catalogue as data (`docs/features.json`) and as a page (`docs/features.md`)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from include.features.declarations import Aggregation, window_name
from include.features.description.wording import (
    aggregation_words,
    attribute_words,
    condition_words,
    expression_words,
    feature_words,
)
from include.features.library import LibraryEntry
from include.features.views import FeatureView
from include.pages import render

#: The catalogue as data: what `describe` returns of every view, by its name.
Catalogue = dict[str, dict[str, Any]]
#: Feature view → the use cases that read it.
UsedBy = Mapping[str, Sequence[str]]

PAGE: Final = "docs/features.md"
DATA: Final = "docs/features.json"


def catalogue(entries: Iterable[LibraryEntry], used_by: UsedBy) -> Catalogue:
    """Everything there is to know about the views, in their order."""
    return {
        e.view.name: {"module": e.module, **describe(e.view)}
        | {"used_by": list(used_by.get(e.view.name, ()))}
        for e in entries
    }


def describe(view: FeatureView) -> dict[str, Any]:
    """A view as JSON values."""
    stream = view.stream and {
        "events": sorted(set(view.stream.events)),
        "where": condition_words(view.stream.where),
        "looked_up": [lookup.column for lookup in view.stream.lookups],
        "retention": view.stream.retention and window_name(view.stream.retention),
    }
    words = feature_words(view)
    return {
        "entity": view.entity.name,
        "join_keys": list(view.entity.join_keys),
        "ttl": view.ttl and window_name(view.ttl),
        "owner": view.owner,
        "description": view.description,
        "tags": list(view.tags),
        "fingerprint": view.fingerprint,
        "features": [
            {"name": name, "type": kind, "meaning": words[name]}
            for name, kind in view.columns.items()
        ],
        "stream": stream,
        "aggregations": _described(view.aggregations),
        "inputs": _described(view.inputs),
        "derived": {d.name: expression_words(d.expression) for d in view.derived},
        "attributes": {a.feature: attribute_words(a) for a in view.attributes},
    }


def as_json(catalogue: Catalogue) -> str:
    """The text of `docs/features.json`."""
    return json.dumps({"views": catalogue}, indent=1, ensure_ascii=False) + "\n"


def as_page(catalogue: Catalogue) -> str:
    """The text of `docs/features.md`."""
    return render("feature_catalogue.md.jinja", views=catalogue)


def documents(catalogue: Catalogue) -> dict[str, str]:
    """Both generated files: path from the project's root → text."""
    return {PAGE: as_page(catalogue), DATA: as_json(catalogue)}


def stale(catalogue: Catalogue, root: Path) -> list[str]:
    """Paths of the generated files that are not what the declarations say."""
    return [
        path
        for path, text in documents(catalogue).items()
        if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != text
    ]


def _described(aggregations: Iterable[Aggregation]) -> list[dict[str, Any]]:
    return [
        {
            "feature": aggregation.feature(window),
            "function": aggregation.function,
            "value": aggregation.value,
            "label": aggregation.label,
            "window": window_name(window),
            "where": condition_words(aggregation.where),
            **({"read_as": read} if (read := aggregation.read_as) else {}),
            "meaning": aggregation_words(aggregation, window),
        }
        for aggregation in aggregations
        for window in aggregation.windows
    ]
