"""What the fleet's table says of a champion, from the ledger alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from include.pipeline.report import _figures, _live, _retrains, _told
from include.registry.promotions import Promotion

FIRST = datetime(2025, 1, 6, tzinfo=UTC)


def measured(rung: str, value: float, digest: str) -> dict[str, Any]:
    return {"rung": rung, "name": f"a-{rung}", "digest": digest, "value": value}


def decision(week: int, trigger: str, champion: float, **changes: Any) -> Promotion:
    found = Promotion(
        tenant="acme",
        use_case="churn",
        as_of=FIRST + timedelta(weeks=week),
        trigger=trigger,
        promoted=week == 0,
        version="1",
        rung="global",
        digest="c" * 64,
        incumbent_version="1",
        reasons=(),
        evidence={
            "metric": "auc",
            "candidates": [
                measured("baseline", champion - 0.1, "b" * 64),
                measured("global", champion, "c" * 64),
            ],
            "incumbent": None,
        },
    )
    return replace(found, **changes)


def test_figures_are_of_the_newest_training_whatever_was_tried_since() -> None:
    """A decision about an experiment, or a rollback, repeats evidence of before."""
    first, second = decision(0, "scheduled", 0.8), decision(4, "scheduled", 0.7)
    for later in ("experiment-1", "rollback-1"):
        decided = [first, second, decision(5, later, 0.8)]
        assert _figures(decided, second) == ("auc 0.700", "a-baseline 0.600")
    assert _figures([decision(0, "rollback-1", 0.8)], first) == ("not measured", "")


def test_a_decision_is_told_by_what_changed() -> None:
    """Promoted, gone back to, kept, or only withdrawn."""
    assert _told(decision(0, "scheduled", 0.8)) == "promoted 1"
    assert _told(decision(0, "rollback-1", 0.8)) == "back to 1"
    assert _told(decision(4, "scheduled", 0.8)) == "kept 1"
    assert _told(decision(4, "experiment-1", 0.8)) == "kept 1"
    assert _told(decision(4, "rollback-1", 0.8, withdrawn=("2", "3"))) == "withdrew 2, 3"


def test_of_many_retrains_the_newest_are_shown() -> None:
    """A year of them would be a line that nobody reads, whose days do not tell the year."""
    asked = [
        {"as_of": FIRST + timedelta(weeks=week), "outcome": "kept" if week else "", "state": "open"}
        for week in range(5)
    ]
    assert _retrains([], "UTC") == ""
    assert _retrains(asked[:2], "UTC") == "01-06 open; 01-13 kept"
    assert _retrains(asked, "UTC") == "2 earlier; 01-20 kept; 01-27 kept; 02-03 kept"
    assert _retrains(asked[:1], "America/New_York") == "01-05 open"  # the day of its clocks


def test_the_live_figure_is_the_newest_that_there_is() -> None:
    """An instant that could not be measured says nothing of the ones before."""
    measured = [{"value": 0.8, "baseline": 0.7}, {"value": None, "baseline": None}]
    assert _live(measured) == "0.800 vs 0.700"
    assert _live(measured[1:]) == _live([]) == ""
