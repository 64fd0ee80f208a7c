"""A version as text: card, lines and tags."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from include.registry.card import card, from_tags, lines, to_tags
from include.registry.port import NewVersion
from include.tenants.namespace import TenantRef

ACME = TenantRef("acme", "eu", "pool")
NEW = NewVersion(
    key="k",
    rung="own",
    name="lightgbm",
    model=b"{}",
    reference=b"PAR1",
    parent_version="",
    as_of=datetime(2017, 1, 1, tzinfo=UTC),
    feature_fingerprint="f",
    parameters={"b": 2, "a": (1, 2.5)},
    metrics={"auc": float("nan")},
    lineage={"at": datetime(2017, 1, 1, tzinfo=UTC), "nested": {"x": float("inf")}},
)


def test_a_card_is_plain_json() -> None:
    """What JSON cannot say is null or text, and equal versions give equal bytes."""
    content = card("acme", "churn", NEW)
    assert content == card("acme", "churn", NEW)
    found = json.loads(content, parse_constant=pytest.fail)
    assert found["metrics"] == {"auc": None}
    assert found["parameters"] == {"a": [1, 2.5], "b": 2}
    assert found["lineage"] == {"at": "2017-01-01T00:00:00+00:00", "nested": {"x": None}}


def test_lines_are_sorted_text() -> None:
    """One text per key; what is nested stands there as JSON."""
    assert list(lines(NEW.parameters, "p.").items()) == [("p.a", "[1, 2.5]"), ("p.b", "2")]


def test_tags_give_the_version_back() -> None:
    """A version survives its tags; a missing tag makes it none of ours."""
    version = NEW.at(ACME, "churn", "3")
    tags = to_tags(version)
    assert from_tags("acme", "churn", "3", tags) == version
    for name in tags:
        assert from_tags("acme", "churn", "3", {k: v for k, v in tags.items() if k != name}) is None
