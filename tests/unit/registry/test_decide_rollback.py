"""When a champion has decayed: a pure decision with its reasons."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from include.registry.decay import RollbackFacts, decide_rollback
from include.registry.decline import PromisedFigure, Window
from include.registry.two_way import UNKNOWN, Swing

#: Many windows that differ by no more than their entities do, and the one before the newest.
STILL = Swing(variance=0.02**2, freedom=200.0, chance=0.02**2)
PROMISED = PromisedFigure(0.84, 0.02, 8, STILL)
#: Windows that swing by 0.1, as known from ten of them.
SWINGS = replace(PROMISED, swing=Swing(0.1**2, 9.0))


def last(value: float, error: float = 0.02) -> list[Window]:
    """The window before, with as many labels."""
    return [Window(value, error, 400)]


#: What is above the baseline in the windows before: known well.
GAINS = [Window(0.1 + 0.02 * (-1) ** n, 0.02, 400) for n in range(60)]
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
    effective=400,
    promised=PROMISED,
    before=last(0.75),
    gains=GAINS,
)


@pytest.mark.parametrize(
    ("changes", "back", "told"),
    [
        ({}, False, "not significantly below its floor of 0.8000 at promotion or its baseline's"),
        ({"live": 0.79}, False, "not significantly below"),
        ({"live": 0.75}, True, "is significantly below its floor of 0.8000 at promotion."),
        ({"live": 0.75, "labels": 29}, False, "29 labels of 2024-03-04 are too few"),
        ({"live": 0.75, "error_rate": 1e-9}, False, "not significantly below"),
        ({"live": 0.75, "low": None}, False, "below its baseline's 0.7000"),
        ({"live": 0.4, "low": None, "baseline": None}, False, "any floor: none is known"),
        ({"live": 0.4, "rung": "baseline"}, False, "cannot decay below itself"),
        # one odd window, however far it is off
        ({"live": 0.75, "before": last(0.85)}, False, "not significantly below"),
        ({"live": 0.30, "baseline": None, "before": []}, False, "takes another one"),
        # its baseline's, on labels of their own
        (
            {"live": 0.79, "baseline": 0.85, "gains": [*GAINS, *last(-0.07)], "before": last(0.9)},
            True,
            "is significantly below its baseline's 0.8500.",
        ),
        ({"live": 0.82, "baseline": 0.9}, False, "not significantly below"),
        # windows that swing: not by two at 0.65, by two at 0.4
        ({"live": 0.65, "before": last(0.65), "promised": SWINGS}, False, "not significantly"),
        ({"live": 0.40, "before": last(0.40), "promised": SWINGS, "baseline": None}, True, "floor"),
        # not known how much: nothing can be said
        (
            {"live": 0.40, "baseline": None, "promised": replace(PROMISED, swing=UNKNOWN)},
            False,
            "to know how much windows swing",
        ),
    ],
)
def test_a_fall_counts_where_it_is_below_a_floor_and_no_accident(
    changes: dict[str, Any], back: bool, told: str
) -> None:
    """Two floors, each tested one-sided by the newest windows; reasons either way."""
    found = decide_rollback(replace(FINE, **changes))
    assert found.back is back
    assert told in found.reason


def test_both_floors_are_named() -> None:
    """Below both, both are reasons."""
    gains = [*GAINS, *last(-0.2)]
    found = decide_rollback(replace(FINE, live=0.5, before=last(0.5), gains=gains))
    assert len(found.reasons) == 2
