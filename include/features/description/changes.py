"""What changed between two catalogues: which views, in which way, and whether their values do."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from include.errors import ConfigError
from include.features.description.catalogue_page import Catalogue

Kind = Literal["added", "removed", "changed", "edited"]

#: What a view says about itself, none of which is part of its meaning.
_EDITABLE: Final = ("module", "owner", "description", "tags", "ttl", "used_by")
_MEANING: Final = ("entity", "join_keys")
_NEEDED: Final = frozenset({"fingerprint", "features", "stream", "aggregations", "inputs"})
_ROLES: Final = {"aggregations": "", "inputs": "input "}


@dataclass(frozen=True)
class ViewChange:
    """One view; `changed` in what its values are, `edited` only in what is said about it."""

    view: str
    kind: Kind
    details: tuple[str, ...]
    before: str | None  #: fingerprints
    after: str | None


def parse(text: str, where: str) -> Catalogue:
    """A catalogue as `catalogue_page.as_json` wrote it."""
    try:
        views = json.loads(text)["views"]
        if not all(view.keys() >= _NEEDED for view in views.values()):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ConfigError(
            f"{where} is no feature catalogue; `tenantry features docs` writes one"
        ) from None
    catalogue: Catalogue = views
    return catalogue


def compare(before: Catalogue, after: Catalogue) -> list[ViewChange]:
    """Every view that is not the same in both, by name."""
    changes = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old is None and new is not None:
            columns = tuple(_column_words(feature) for feature in new["features"])
            changes.append(ViewChange(name, "added", columns, None, new["fingerprint"]))
        elif new is None and old is not None:
            columns = tuple(_column_words(feature) for feature in old["features"])
            changes.append(ViewChange(name, "removed", columns, old["fingerprint"], None))
        elif old is not None and new is not None and _common(old, new) != _common(new, old):
            changes.append(_change(name, old, new))
    return changes


def _common(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Without what only one of them says: an older platform's catalogue has other keys."""
    return {key: value for key, value in one.items() if key in other}


def _change(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> ViewChange:
    meaning = list(_meaning(old, new))
    changed = old["fingerprint"] != new["fingerprint"]
    if changed and not meaning:
        meaning.append(_order(old, new) or "not a word: the language reads it in another way now")
    edits = [
        _from_to(key, old.get(key), new.get(key)) for key in _EDITABLE if _differ(old, new, key)
    ]
    return ViewChange(
        name,
        "changed" if changed else "edited",
        (*meaning, *edits),
        old["fingerprint"],
        new["fingerprint"],
    )


def _meaning(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for key in _MEANING:
        if _differ(old, new, key):
            yield _from_to(key, old.get(key), new.get(key))
    streams = (old.get("stream") or {}, new.get("stream") or {})
    for key in ("events", "where", "looked_up", "retention"):
        if _differ(*streams, key):
            yield _from_to(f"stream, {key}", streams[0].get(key), streams[1].get(key))
    for role, prefix in _ROLES.items():
        yield from _aggregations(_by_feature(old, role), _by_feature(new, role), prefix)
    for role in ("derived", "attributes"):
        yield from _named(old.get(role, {}), new.get(role, {}), role.removesuffix("s"))


def _aggregations(
    old: dict[str, dict[str, Any]], new: dict[str, dict[str, Any]], prefix: str
) -> Iterator[str]:
    """Windows told together per function and value; then what changed in those that stayed."""
    windows: dict[str, tuple[list[str], list[str]]] = {}
    for side, features in enumerate((old, new)):
        for feature in features.values():
            windows.setdefault(_function(feature), ([], []))[side].append(feature["window"])
    for function, (were, are) in windows.items():
        if set(were) != set(are):
            yield _from_to(f"{prefix}{function}, windows", were, are)
    for name in (name for name in old if name in new):
        for key in ("where", "read_as"):
            if _differ(old[name], new[name], key):
                yield _from_to(f"{prefix}{name}, {key}", old[name].get(key), new[name].get(key))


def _named(old: Mapping[str, str], new: Mapping[str, str], role: str) -> Iterator[str]:
    for name in [*old, *(name for name in new if name not in old)]:
        if old.get(name) != new.get(name):
            yield _from_to(f"{role} {name}", old.get(name), new.get(name))


def _order(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    names = [[feature["name"] for feature in side["features"]] for side in (old, new)]
    return None if names[0] == names[1] else "the order of its features"


def _by_feature(view: Mapping[str, Any], role: str) -> dict[str, dict[str, Any]]:
    return {feature["feature"]: feature for feature in view.get(role, ())}


def _function(feature: Mapping[str, Any]) -> str:
    label = f"{feature['label']} " if feature["label"] else ""
    return f"{label}{feature['function']}" + (f" of {feature['value']}" if feature["value"] else "")


def _column_words(feature: Mapping[str, Any]) -> str:
    return f"{feature['name']}: {feature['meaning']}"


def _differ(old: Mapping[str, Any], new: Mapping[str, Any], key: str) -> bool:
    return bool(old.get(key) != new.get(key))


def _from_to(what: str, before: object, after: object) -> str:
    return f"{what}: {_shown(before)} → {_shown(after)}"


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None or value == "" else str(value)
