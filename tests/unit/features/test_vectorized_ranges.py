"""Extremes and distinct counts of runs agree with looking at every element."""

from __future__ import annotations

import numpy as np
import pytest

from include.features.vectorized.ranges import counts_below, distinct_counts, extremes

SIZES = (1, 2, 3, 8, 9, 100, 257)


def some_runs(rng: np.random.Generator, size: int) -> tuple[np.ndarray, np.ndarray]:
    ends = np.sort(rng.integers(0, size + 1, (2, 60)), axis=0)
    return ends[0], ends[1]


@pytest.mark.parametrize("size", SIZES)
def test_extremes_of_any_run(size: int) -> None:
    """The smallest and largest of every run, and NaN of an empty one."""
    rng = np.random.default_rng(size)
    values = np.round(rng.normal(0, 5, size))
    low, behind = some_runs(rng, size)
    for largest, choose in ((True, max), (False, min)):
        wanted = [choose(values[a:b], default=np.nan) for a, b in zip(low, behind, strict=True)]
        assert np.array_equal(extremes(values, low, behind, largest), wanted, equal_nan=True)


@pytest.mark.parametrize("size", SIZES)
def test_counts_below_a_limit(size: int) -> None:
    """The wavelet matrix counts what is below any limit, also one above all values."""
    rng = np.random.default_rng(size)
    values = rng.integers(0, 20, size).astype(np.int32)
    low, behind = some_runs(rng, size)
    limits = rng.integers(0, 40, len(low))
    wanted = [
        int((values[a:b] < limit).sum()) for a, b, limit in zip(low, behind, limits, strict=True)
    ]
    assert counts_below(values, low, behind, limits).tolist() == wanted


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("codes", [2, 30, 100_000])
def test_distinct_codes_of_runs_within_a_group(size: int, codes: int) -> None:
    """The number of distinct codes of every run of a group; groups do not share codes."""
    rng = np.random.default_rng(size + codes)
    values = rng.integers(0, codes, size)
    groups = np.sort(rng.integers(0, 3, size))
    runs = []
    for _ in range(60):
        members = np.flatnonzero(groups == rng.choice(groups))
        first, last = np.sort(rng.integers(members[0], members[-1] + 2, 2))
        runs.append((first, last))
    low, behind = np.array(runs).T
    wanted = [len(set(values[a:b].tolist())) for a, b in runs]
    assert distinct_counts(values, groups, low, behind).tolist() == wanted


def test_nothing_has_no_extremes_and_no_codes() -> None:
    """Empty arrays and no runs at all are answered."""
    none = np.zeros(0, dtype=np.int64)
    assert extremes(np.zeros(0), none, none, True).tolist() == []
    zero = np.zeros(2, dtype=np.int64)
    assert distinct_counts(none, none, zero, zero).tolist() == [0, 0]
