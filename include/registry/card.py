"""A version in text: the card people read, and the tags and parameters a registry can show."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from include.registry.port import ModelVersion, NewVersion

_FIELDS: Final = (
    "rung",
    "name",
    "digest",
    "reference_digest",
    "parent_version",
    "as_of",
    "feature_fingerprint",
)


def card(tenant: str, use_case: str, new: NewVersion) -> bytes:
    """Everything about a version except its bytes, as JSON; equal versions give equal cards."""
    content = {
        "tenant": tenant,
        "use_case": use_case,
        "key": new.key,
        "rung": new.rung,
        "name": new.name,
        "parent_version": new.parent_version,
        "as_of": new.as_of.isoformat(),
        "feature_fingerprint": new.feature_fingerprint,
        "parameters": plain(new.parameters),
        "metrics": plain(new.metrics),
        "lineage": plain(new.lineage),
        "judged": plain(new.judged),
    }
    return json.dumps(content, sort_keys=True, indent=2, allow_nan=False).encode()


def judged(key: str, document: Mapping[str, Any], decision: Sequence[str]) -> dict[str, Any]:
    """The part of an evaluation that concerns one model, with the figures of the others.

    Args:
        key: the model's `rung/name`.
        document: the evaluation.
        decision: the reasons of the decision about the training.
    """
    evidence, models = document["evidence"], document["models"]
    ours = models[key]
    compared = [
        {"metric": evidence["metric"], **comparison}
        for comparison in evidence["comparisons"]
        if comparison["candidate"] == key
    ]
    return {
        "metric": evidence["metric"],
        "metrics": ours["metrics"],
        "entities": evidence["entities"],
        "minimum_entities": evidence["minimum_entities"],
        "baselines": {
            name.removeprefix("baseline/"): measured["metrics"]
            for name, measured in sorted(models.items())
            if name.startswith("baseline/")
        },
        "others": {
            name: measured["metrics"]
            for name, measured in sorted(models.items())
            if name != key and not name.startswith("baseline/")
        },
        "comparisons": [
            *compared,
            *(one for one in document.get("secondary_comparisons", ()) if one["candidate"] == key),
        ],
        "tenants": [effect for effect in evidence["tenants"] if effect["candidate"] == key],
        "groups": [gap for gap in evidence.get("groups", ()) if gap["candidate"] == key],
        "parents": sorted({one.get("parent_version", "") for one in models.values()} - {""}),
        "decision": list(decision),
    }


def lines(content: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """One text per key, sorted; nested values as JSON."""
    values = {f"{prefix}{key}": plain(value) for key, value in sorted(content.items())}
    return {
        k: v if isinstance(v, str) else json.dumps(v, sort_keys=True) for k, v in values.items()
    }


def to_tags(version: ModelVersion) -> dict[str, str]:
    """The recorded fields as text; `from_tags` reads them back."""
    values = {name: getattr(version, name) for name in _FIELDS}
    return values | {"as_of": version.as_of.isoformat()}


def from_tags(
    tenant: str, use_case: str, version: str, tags: Mapping[str, str]
) -> ModelVersion | None:
    """The version that the tags describe; None where a tag is missing, so not one of ours."""
    if any(name not in tags for name in _FIELDS):
        return None
    values: dict[str, Any] = {name: tags[name] for name in _FIELDS}
    values["as_of"] = datetime.fromisoformat(tags["as_of"])
    return ModelVersion(tenant=tenant, use_case=use_case, version=version, **values)


def plain(value: Any) -> Any:
    """The value in JSON's types; numbers that are not finite become null."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return value.isoformat() if isinstance(value, datetime) else str(value)
