"""When a champion has decayed: a pure decision with its reasons."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from include.registry.decay import RollbackFacts, decide_rollback

FINE = RollbackFacts(
    version="3",
    rung="own",
    metric="auc",
    low=0.80,
    live=0.82,
    live_error=0.02,
    baseline=0.70,
    labels=500,
    measured_at=datetime(2024, 3, 4, tzinfo=UTC),
)


@pytest.mark.parametrize(
    ("changes", "back", "told"),
    [
        ({}, False, "not significantly below its floor of 0.8000 at promotion or its baseline's"),
        ({"live": 0.79}, False, "not significantly below"),
        ({"live": 0.76}, False, "not significantly below"),
        ({"live": 0.75}, True, "is significantly below its floor of 0.8000 at promotion."),
        ({"live": 0.75, "tolerance": 0.02}, False, "its floor of 0.7800"),
        ({"live": 0.75, "labels": 29}, False, "29 labels of 2024-03-04 are too few"),
        ({"live": 0.75, "error_rate": 0.001}, False, "not significantly below"),
        ({"live": 0.75, "low": None}, False, "below its baseline's 0.7000"),
        ({"live": 0.79, "baseline": 0.85}, True, "is significantly below its baseline's 0.8500."),
        ({"live": 0.4, "low": None, "baseline": None}, False, "any floor: none is known"),
        ({"live": 0.4, "rung": "baseline"}, False, "cannot decay below itself"),
        ({"live": 0.79, "live_error": 0.0}, True, "significantly below its floor"),
    ],
)
def test_a_fall_counts_where_it_is_below_a_floor_and_no_accident(
    changes: dict[str, Any], back: bool, told: str
) -> None:
    """Two floors, each tested one-sided with the live metric's error; reasons either way."""
    found = decide_rollback(replace(FINE, **changes))
    assert found.back is back
    assert told in found.reason


def test_both_floors_are_named() -> None:
    """Below both, both are reasons."""
    found = decide_rollback(replace(FINE, live=0.5))
    assert len(found.reasons) == 2
