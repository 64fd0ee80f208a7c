from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import chi2, chi2_contingency

from include.monitoring.profiles import Profile, profile
from include.monitoring.statistics import compare, distance
from include.monitoring.windows import WindowSample

Floats = npt.NDArray[np.float64]
VALUES = st.floats(-1e6, 1e6) | st.just(float("nan")) | st.sampled_from([0.0, 1.0, 2.0])


def column(values: npt.NDArray[Any], entities: int | None = None) -> Profile:
    return profile(WindowSample(values, len(values) if entities is None else entities))


def raw(draw: np.random.Generator, entities: int, count: int = 20) -> dict[str, Floats]:
    """Columns as features are: counts with many zeros, long tails with nulls, shares, flags."""
    shapes = [
        lambda: draw.normal(size=entities),
        lambda: draw.poisson(0.5, size=entities).astype(np.float64),
        lambda: np.where(draw.random(entities) < 0.4, np.nan, draw.lognormal(size=entities)),
        lambda: draw.poisson(4, size=entities).astype(np.float64),
        lambda: (draw.random(entities) < 0.1).astype(np.float64),
    ]
    return {f"c{i}": shapes[i % len(shapes)]() for i in range(count)}


def columns(draw: np.random.Generator, entities: int, count: int = 20) -> dict[str, Profile]:
    return {name: column(values) for name, values in raw(draw, entities, count).items()}


def drifted(before: Mapping[str, Profile], after: Mapping[str, Profile]) -> list[str]:
    return [c.column for c in compare(before, after, 0.2, 0.01) if c.drifted]


def one(values: Floats, entities: int | None = None) -> dict[str, Profile]:
    return {"x": column(values, entities)}


@pytest.mark.parametrize(("m", "n"), [(30, 30), (32, 56), (100, 50), (300, 100), (2_000, 2_000)])
def test_same_distribution_rarely_drifts(m: int, n: int) -> None:
    """At most 3 % of comparisons of 20 unchanged columns call any of them drifted."""
    draw = np.random.default_rng(7)
    alarms = sum(bool(drifted(columns(draw, m), columns(draw, n))) for _ in range(300))
    assert alarms <= 9


def test_significance_alone_stays_honest() -> None:
    """With no floor on the effect size, the family of tests errs at most about its 1 %."""
    draw = np.random.default_rng(11)
    runs = [compare(columns(draw, 100), columns(draw, 80), 1e-9, 0.01) for _ in range(400)]
    assert sum(any(c.drifted for c in run) for run in runs) <= 12


def test_repeated_snapshots_do_not_create_evidence() -> None:
    """Ten copies of each entity's row, which carry no news, keep the false alarms down."""
    draw = np.random.default_rng(3)
    alarms = 0
    for _ in range(200):
        before = {n: column(np.repeat(v, 10), 60) for n, v in raw(draw, 60).items()}
        alarms += bool(drifted(before, columns(draw, 60)))
    assert alarms <= 6


@pytest.mark.parametrize("entities", [60, 200, 5_000])
def test_a_shift_of_a_standard_deviation_is_found(entities: int) -> None:
    """A mean that moves by one standard deviation has drifted, and only that column."""
    draw = np.random.default_rng(5)
    before, moved = columns(draw, entities), raw(draw, entities)
    moved["c0"] += 1.0
    after = {name: column(values) for name, values in moved.items()}
    assert drifted(before, after) == ["c0"]


def test_a_tiny_change_of_many_rows_does_not_matter() -> None:
    """Significance without effect, as 200,000 rows make it, is no drift."""
    draw = np.random.default_rng(1)
    (found,) = compare(
        one(draw.normal(size=200_000)), one(draw.normal(0.05, size=200_000)), 0.2, 0.01
    )
    assert found.p_value < 1e-6
    assert not found.drifted


def test_a_large_change_of_few_rows_is_not_proven() -> None:
    """Effect without significance is no drift: PSI of ten rows is mostly noise."""
    before, after = np.repeat([0.0, 1.0], [5, 5]), np.repeat([0.0, 1.0], [2, 8])
    (found,) = compare(one(before), one(after), 0.2, 0.01)
    assert found.psi > 0.2
    assert not found.drifted


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (np.full(100, 3.0), np.full(100, 2.0)),
        (np.zeros(100), np.ones(100)),
        (np.arange(100.0), np.full(100, np.nan)),
        (np.arange(100.0), np.where(np.arange(100) % 2, np.nan, np.arange(100.0))),
    ],
    ids=["constant falls", "constant rises", "all null", "half null"],
)
def test_constants_and_nulls_are_compared(before: Floats, after: Floats) -> None:
    """Constants that change and values that go missing are drift."""
    assert drifted(one(before), one(after)) == ["x"]


def test_texts_are_compared_by_their_commonest_values() -> None:
    """A new value that takes over is drift, the same mix is not."""
    before = np.array(["tea", "milk", None, "rye"] * 50, dtype=object)
    after = np.array(["gin", "milk", None, "rye"] * 50, dtype=object)
    assert drifted({"x": column(before)}, {"x": column(after)}) == ["x"]
    assert drifted({"x": column(before)}, {"x": column(before[::-1])}) == []


def test_p_value_is_the_chi_square_tail_of_the_smaller_statistic() -> None:
    """PSI * nm / (n + m) or Pearson's chi-square, whichever is smaller, with bins - 1 degrees."""
    draw = np.random.default_rng(4)
    before, after = draw.integers(0, 4, 300).astype(float), draw.integers(0, 3, 100).astype(float)
    found = distance(column(before), column(after))
    counts = [[(side == value).sum() for value in range(4)] for side in (before, after)]
    pearson = chi2_contingency(counts, correction=False).statistic
    statistic = min(found.psi * 300 * 100 / 400, pearson)
    assert found.bins == 4
    assert found.p_value == pytest.approx(chi2.sf(statistic, 3), rel=1e-9)
    assert found.significant_from(found.p_value) == pytest.approx(found.psi, rel=1e-6)


def test_few_rows_against_many_are_not_alarming() -> None:
    """A small window beside a large reference drifts no more often than it may."""
    draw = np.random.default_rng(12)
    reference = columns(draw, 1_500)
    runs = [compare(reference, columns(draw, 40), 0.2, 0.01) for _ in range(300)]
    assert sum(any(c.drifted for c in run) for run in runs) <= 8


def test_psi_matches_a_hand_calculation() -> None:
    """Two halves against a quarter and three quarters: 0.25 * ln 2 + 0.25 * ln 1.5."""
    before = column(np.repeat([0.0, 1.0], 50_000), 100)
    after = column(np.repeat([0.0, 1.0], [25_000, 75_000]), 100)
    expected = 0.25 * np.log(2) + 0.25 * np.log(1.5)
    assert distance(before, after).psi == pytest.approx(expected, rel=1e-3)


@given(
    before=arrays(np.float64, st.integers(1, 80), elements=VALUES),
    after=arrays(np.float64, st.integers(1, 80), elements=VALUES),
    seed=st.integers(0, 2**32 - 1),
)
def test_distance_is_sound_on_any_numbers(before: Floats, after: Floats, seed: int) -> None:
    """PSI is finite, not negative, 0 against itself, and blind to the order of rows."""
    first, second = column(before), column(after)
    found = distance(first, second)
    assert np.isfinite(found.psi)
    assert found.psi >= 0
    assert 0 <= found.p_value <= 1
    assert distance(first, first).psi == pytest.approx(0, abs=1e-12)
    shuffled = column(np.random.default_rng(seed).permutation(after))
    assert distance(first, shuffled).psi == pytest.approx(found.psi, abs=1e-12)


@given(shift=st.floats(0, 3), seed=st.integers(0, 1_000))
def test_a_column_has_drifted_exactly_from_its_limit_on(shift: float, seed: int) -> None:
    """`limit` is the border that `drifted` was decided by, whatever the other columns did."""
    draw = np.random.default_rng(seed)
    before, moved = columns(draw, 60, 6), raw(draw, 60, 6)
    moved["c0"] += shift
    for found in compare(before, {n: column(v) for n, v in moved.items()}, 0.2, 0.01):
        assert found.drifted == (found.psi >= found.limit)
        assert found.limit >= 0.2
