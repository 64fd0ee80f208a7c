"""Whether what serves has become worse: by several windows, and by how much they swing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from include.registry.decline import PromisedFigure, Window, chance_of_fall
from include.registry.two_way import UNKNOWN, Swing


def windows(values: list[float], error: float = 0.1) -> list[Window]:
    return [Window(value, error) for value in values]


@pytest.mark.parametrize(("blocks", "before"), [(4, 1), (1, 6), (16, 0)])
@pytest.mark.parametrize("swing", [0.0, 1.0])
def test_what_has_not_changed_falls_as_often_as_it_may(
    blocks: int, before: int, swing: float
) -> None:
    """Whether windows swing or not, and from however few it is known."""
    draw, error = np.random.default_rng(blocks), 0.1
    spread, fallen = float(np.hypot(swing, error)), 0
    for _ in range(500):
        holdout, later = draw.normal(0, spread, blocks), draw.normal(0, spread, before + 4)
        known = Swing.among(holdout.tolist(), [error] * blocks)
        expected = PromisedFigure(float(holdout.mean()), error / np.sqrt(blocks), blocks, known)
        fallen += chance_of_fall(windows(later.tolist(), error), expected) < 0.05
    assert fallen <= 500 * 0.05 + 3 * np.sqrt(500 * 0.05 * 0.95)


def test_all_of_the_newest_windows_have_to_be_low() -> None:
    """Two that fell far do, one among many does not; four need not have fallen as far."""
    expected = PromisedFigure(0.0, 0.01, 20, Swing(1.0, 60))
    calm = [0.1, -0.2] * 4
    assert chance_of_fall(windows([*calm, -4.0, -4.0]), expected) < 1e-4
    assert chance_of_fall(windows([*calm, -40.0]), expected) > 0.3
    assert chance_of_fall(windows([*calm, -1.6, -1.6]), expected) > 0.005
    assert chance_of_fall(windows([*calm, *[-1.6] * 4]), expected) < 0.001


def test_one_window_or_an_unknown_swing_says_nothing() -> None:
    """However low it is; of a run, the windows before it can tell how much they swing."""
    known = PromisedFigure(0.0, 0.01, 20, Swing(1.0, 60))
    unknown = replace(known, swing=UNKNOWN, blocks=1)
    assert chance_of_fall(windows([-40.0]), known) is None
    assert chance_of_fall(windows([-40.0, -40.0]), unknown) is None
    assert chance_of_fall(windows([0.1, 0.0, 0.2, 0.1, -40.0, -40.0]), unknown) < 0.01


def test_it_is_never_surer_than_by_entity() -> None:
    """Windows that hardly swing do not make few labels many."""
    expected = PromisedFigure(0.0, 0.0, 50, Swing(1e-6, 1e5))
    both = 2 * stats.norm.sf(1.5) ** 2
    assert chance_of_fall(windows([-0.15, -0.15]), expected) == pytest.approx(both, rel=1e-3)
    few = [Window(-0.15, 0.1, 4.0)] * 2
    assert chance_of_fall(few, expected) > both


def test_smaller_windows_than_those_that_told_the_swing_count_less() -> None:
    """By as much as their own entities are more by chance than theirs were."""
    expected = PromisedFigure(0.0, 0.0, 50, Swing(0.04, 100, chance=0.01))
    alike, small = (chance_of_fall(windows([-0.6, -0.6], error), expected) for error in (0.1, 0.4))
    assert alike < 0.01 < small
