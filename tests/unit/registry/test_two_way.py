"""How sure a figure is: by entity, by time, and by both."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from include.registry.two_way import (
    PLAIN,
    UNKNOWN,
    Swing,
    Uncertainty,
    blocks_of,
    two_way,
)

DAY = np.timedelta64(1, "D")


def panel(
    draw: np.random.Generator, windows: int, entities: int, swing: float, lasting: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values whose true mean is 0, their entities and windows.

    Windows have 40 to 100 % of the entities; `swing` is what all of a window share, in standard
    errors of a window's mean, `lasting` what an entity has in every window.
    """
    sizes = np.linspace(0.4, 1.0, windows).round(1) * entities
    who = np.concatenate([draw.permutation(entities)[: int(size)] for size in sizes])
    when = np.repeat(np.arange(windows), sizes.astype(int))
    shared = draw.normal(0, swing / np.sqrt(entities), windows)
    own = draw.normal(0, lasting, entities)
    return shared[when] + own[who] + draw.normal(size=len(who)), who, when


@pytest.mark.parametrize("windows", [2, 4, 10])
@pytest.mark.parametrize("swing", [0.0, 1.0, 10.0])
@pytest.mark.parametrize("lasting", [0.0, 1.0])
def test_an_interval_misses_as_often_as_it_says(windows: int, swing: float, lasting: float) -> None:
    """At most 5 %, whether windows swing not at all or much, and entities come back or not."""
    draw = np.random.default_rng(int(100 * windows + 10 * swing + lasting))
    missed = 0
    for _ in range(300):
        values, who, when = panel(draw, windows, 60, swing, lasting)
        mean = values.mean()
        found = two_way((values - mean) / len(values), who, when)
        missed += abs(mean) > found.half_width()
    assert missed <= 300 * 0.05 + 3 * np.sqrt(300 * 0.05 * 0.95)


def test_by_entity_alone_the_same_interval_would_miss_most_of_the_time() -> None:
    """What is simulated is what is wrong with it: all of a window swing together."""
    draw, missed = np.random.default_rng(7), 0
    for _ in range(200):
        values, who, when = panel(draw, 4, 60, 10.0, 0.0)
        found = two_way((values - values.mean()) / len(values), who, when * 0)
        missed += abs(values.mean()) > found.half_width()
    assert missed > 120


def test_many_windows_without_a_swing_cost_little() -> None:
    """The interval is then about that of the entities."""
    values, who, when = panel(np.random.default_rng(1), 30, 200, 0.0, 1.0)
    influence = (values - values.mean()) / len(values)
    both, alone = two_way(influence, who, when), two_way(influence, who, when * 0)
    assert alone.half_width() <= both.half_width() < 1.15 * alone.half_width()


def test_the_parts_are_the_textbooks() -> None:
    """Of windows of one size: by entity, by window, and Cameron, Gelbach and Miller's sum."""
    draw = np.random.default_rng(3)
    windows, entities = 5, 40
    values = draw.normal(size=(windows, 1)) + draw.normal(size=entities)
    values = values + draw.normal(size=(windows, entities))
    off = (values - values.mean()) / values.size
    when, who = np.indices(values.shape).reshape(2, -1)
    found = two_way(off.ravel(), who, when)
    assert found.by_entity**2 == pytest.approx((off.sum(0) ** 2).sum() * 40 / 39)
    assert found.by_block**2 == pytest.approx((off.sum(1) ** 2).sum() * 5 / 4)
    inside = (off**2).sum() * 200 / 199
    assert found.returning**2 == pytest.approx(found.by_entity**2 - inside)
    assert (found.blocks, found.freedom) == (pytest.approx(5), pytest.approx(4))
    assert found.swing.variance == pytest.approx(values.mean(1).var(ddof=1))
    blocks, rest = stats.t.ppf(0.975, 4), stats.t.ppf(0.975, found.entities - 1)
    width = np.hypot(blocks * found.by_block, rest * found.returning)
    assert found.half_width() == pytest.approx(max(width, rest * found.by_entity))


def test_one_window_has_no_swing_unless_others_tell() -> None:
    """Its interval is about itself; with a known swing it is as wide as that."""
    draw = np.random.default_rng(1)
    values = draw.normal(size=500)
    one = two_way((values - values.mean()) / 500, np.arange(500), np.zeros(500, int))
    assert not one.known
    assert one.half_width() == pytest.approx(1.96 / np.sqrt(500), rel=0.1)
    told = replace(one, elsewhere=Swing(0.5**2, 7))
    assert told.known
    assert told.half_width() == pytest.approx(stats.t.ppf(0.975, 7) * 0.5)
    assert Uncertainty.read(asdict(told)) == told


@given(st.floats(0.01, 1), st.floats(2, 500), st.floats(0, 1), st.floats(0.01, 1), st.floats(1, 40))
def test_a_chance_is_the_level_whose_interval_ends_there(
    by_entity: float, entities: float, returning: float, by_block: float, freedom: float
) -> None:
    """`chance_above` is the inverse of `half_width`, on either side of what is tested."""
    found = Uncertainty(by_entity, entities, returning * by_entity, by_block, freedom + 1, freedom)
    for level in (PLAIN, 0.2, 0.001):
        width = found.half_width(level)
        assert found.chance_above(width) == pytest.approx(level, rel=1e-6)
        assert found.chance_above(-width) == pytest.approx(1 - level, rel=1e-6)
    assert found.chance_above(0.0) == 0.5


def test_swings_are_pooled_by_what_they_rest_on() -> None:
    """Variances, not deviations; what is not known adds nothing."""
    both = Swing(1.0, 2, 0.5).pooled(Swing(4.0, 1, 0.2))
    assert (both.variance, both.freedom) == (pytest.approx(2.0), 3)
    assert both.chance == pytest.approx(0.4)
    assert Swing(1.0, 2).pooled(UNKNOWN) == Swing(1.0, 2)
    assert UNKNOWN.pooled(UNKNOWN) == UNKNOWN
    assert Swing.among([1.0]) == UNKNOWN
    assert Swing.among([1.0, 3.0], [0.3, 0.4]) == Swing(2.0, 1, pytest.approx(0.125))


def test_a_swing_along_time_does_not_take_a_change_of_level_for_one() -> None:
    """Windows that fall once and stay there swing as little as they did before."""
    draw = np.random.default_rng(2)
    figures = draw.normal(size=40)
    fallen = figures - 10 * (np.arange(40) >= 20)
    assert Swing.along(fallen.tolist()).variance < 0.1 * Swing.among(fallen.tolist()).variance
    many = [Swing.along(draw.normal(size=12).tolist()).variance for _ in range(400)]
    assert np.mean(many) == pytest.approx(1, abs=0.1)
    assert 2 / np.var(many) == pytest.approx(Swing.along(figures[:12].tolist()).freedom, rel=0.25)
    assert Swing.along([1.0]) == UNKNOWN


def test_windows_within_a_horizon_are_one_block() -> None:
    """Labels that share days do not count twice; which window stands first does not matter."""
    start = np.datetime64("2024-01-01", "us")
    days = np.array([0, 14, 28, 42, 56, 70, 100])
    assert blocks_of(start + days * DAY, timedelta(days=30)).tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert blocks_of(start + days[::-1] * DAY, timedelta(days=30)).tolist() == [2, 1, 1, 1, 0, 0, 0]
    assert blocks_of(start + days * DAY, timedelta(days=14)).tolist() == list(range(7))
    assert blocks_of(start + days[:0] * DAY, timedelta(days=14)).tolist() == []


def test_what_one_entity_makes_has_no_interval() -> None:
    """Of a thousand entities on which two models agree but for one, that one is all there is."""
    influence = np.full(1_000, -1e-6)
    influence[7] = 999e-6
    found = two_way(influence, np.arange(1_000), np.zeros(1_000, np.int64))
    assert found.half_width() == np.inf
    assert found.chance_above(0.5) == pytest.approx(0.5)


def test_two_entities_are_enough_for_an_interval() -> None:
    """Which is then as wide as Student's of one degree of freedom makes it."""
    influence = np.array([0.1, -0.1, 0.0, 0.0])
    found = two_way(influence, np.arange(4), np.zeros(4, np.int64))
    assert found.half_width() == pytest.approx(12.706 * found.by_entity, rel=1e-4)


@pytest.mark.parametrize("large", [1.0, 3.0, 10.0, 1e3, 1e9, 1e50])
def test_an_interval_is_of_some_use_or_there_is_none(large: float) -> None:
    """However much of a figure one entity makes: never a bound that no number can say."""
    values = np.append(np.random.default_rng(4).normal(size=400), large)
    influence = (values - values.mean()) / len(values)
    found = two_way(influence, np.arange(401), np.zeros(401, np.int64))
    width = found.half_width()
    assert width < 200 * found.by_entity or width == np.inf
