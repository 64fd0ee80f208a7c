"""Chains whose series swing together: few false decisions, and not for want of any."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.quality.common_shocks import SWINGS, TEMPLATES, Chain, Template, rates

DEMAND, CHURN = TEMPLATES[:2]
SMALL = replace(DEMAND, entities=120)  # where there is nothing to be told apart


def shares(template: Template, chains: int, swing: float) -> dict[str, dict[str, float]]:
    found = rates(template, chains, swing)
    return {
        what: {name: share[0] for name, share in told.items()}
        for what, told in found.items()
        if what != "chains"
    }


def test_a_week_that_all_series_share_decides_nothing() -> None:
    """Weeks that swing by ten times their entities' error: by these alone nearly every chain is
    wrong within a year, by both nearly none."""
    found = shares(DEMAND, 12, 10.0)
    for what in ("equal: promoted", "unchanged: rollback"):
        assert found[what]["two-way"] <= 2 / 12, what
        assert found[what]["by entity"] >= 6 / 12, what
    assert found["unchanged: decay"]["two-way"] <= 1 / 12


def test_without_swings_what_is_better_or_worse_is_found() -> None:
    """Caution that finds nothing would be none."""
    found = shares(SMALL, 6, 0.0)
    assert found["better: promoted"]["two-way"] >= 5 / 6
    assert found["equal: promoted"]["two-way"] <= 1 / 6
    assert found["unchanged: rollback"]["two-way"] <= 1 / 6


def test_windows_share_as_much_as_their_labels_do() -> None:
    """Labels of 30 days, a fortnight apart, have about half of what happens in common."""
    chain = Chain(CHURN, 3, 1.0, "equal")
    together = [(chain.shared(day)[0], chain.shared(day + 14)[0]) for day in range(0, 600, 31)]
    one, other = zip(*together, strict=True)
    apart = [chain.shared(day + 31)[0] for day in range(0, 600, 31)]
    squares = [[x * y for x, y in zip(one, rest, strict=True)] for rest in (other, apart, one)]
    near, far, itself = (sum(found) / len(found) for found in squares)
    assert far < near < itself


@pytest.mark.soak
@pytest.mark.parametrize("template", TEMPLATES, ids=lambda one: one.name)
def test_false_decisions_keep_their_promise(template: Template) -> None:
    """Of a hundred chains at each swing, at most 5 % beyond chance are ever decided wrongly."""
    for swing in SWINGS:
        found = rates(template, 100, swing)
        for what in ("equal: promoted", "unchanged: rollback", "unchanged: decay"):
            _, least, _ = found[what]["two-way"]
            assert least <= 0.05, (swing, what, found[what])
