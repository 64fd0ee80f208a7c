"""Sums and deviations of runs are those of exact arithmetic, rounded once."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from include.features.vectorized.exact import Runs, standard_deviations, sums

EXTREMES = (
    *(0.0, 5e-324, -5e-324, 2.0**-1022, 1e-300, 1e-17, 0.1, -0.1, 1 / 3, 1.0, 3.0),
    *(2.0**53, 2.0**53 + 2, -1e16, 1e16, 1e200, -1e200, 1e308, -1e308, 1.7976931348623157e308),
)

GENERATORS: dict[str, Callable[[random.Random], float]] = {
    "money": lambda rng: round(rng.lognormvariate(3, 1), 2),
    "counts": lambda rng: float(rng.randrange(5)),
    "cancelling": lambda rng: rng.choice([0.1, 0.2, -0.3, 1e16, -1e16, 1e-9]),
    "nearly equal": lambda rng: rng.choice([1.0, 1.0 + 2**-52, 1.0 - 2**-53]),
    "any exponent": lambda rng: math.ldexp(rng.random() - 0.5, rng.randrange(-1100, 1025)),
    "extremes": lambda rng: rng.choice(EXTREMES),
    "constant": lambda rng: 12345.678,
    "nothing": lambda rng: 0.0,
}


def runs_of(rng: random.Random, size: int) -> list[tuple[int, int]]:
    starts = [rng.randrange(size + 1) for _ in range(12)]
    return [(start, rng.randrange(start, size + 1)) for start in starts]


def as_runs(runs: list[tuple[int, int]], dtype: type = np.int64) -> Runs:
    low, behind = zip(*runs, strict=True)
    return Runs(np.array(low, dtype), np.array(behind, dtype))


def exact_sum(values: list[float]) -> float:
    total = sum(map(Fraction, values), Fraction(0))
    try:
        return float(total)
    except OverflowError:
        return math.inf if total > 0 else -math.inf


def exact_deviation(values: list[float]) -> float:
    """NaN of fewer than two values and of too large a sum."""
    if len(values) < 2 or math.isinf(exact_sum(values)):
        return math.nan
    return statistics.stdev(values)


@pytest.mark.parametrize("generate", GENERATORS.values(), ids=GENERATORS)
def test_sums_are_the_nearest_floats(generate: Callable[[random.Random], float]) -> None:
    """Every sum is the float nearest to the exact one, to the bit."""
    rng = random.Random(7)
    for _ in range(60):
        values = [generate(rng) for _ in range(rng.randrange(40))]
        runs = runs_of(rng, len(values))
        found = sums(np.array(values), as_runs(runs))
        assert found.tolist() == [exact_sum(values[low:behind]) for low, behind in runs]


@pytest.mark.parametrize("generate", GENERATORS.values(), ids=GENERATORS)
def test_deviations_are_those_of_fractions(generate: Callable[[random.Random], float]) -> None:
    """Every standard deviation has fifteen right digits, however little the values differ."""
    rng = random.Random(8)
    for _ in range(40):
        values = [generate(rng) for _ in range(rng.randrange(25))]
        runs = runs_of(rng, len(values))
        found = standard_deviations(np.array(values), as_runs(runs, np.int32))
        wanted = [exact_deviation(values[low:behind]) for low, behind in runs]
        assert found.tolist() == pytest.approx(wanted, rel=1e-15, abs=0, nan_ok=True)


def test_equal_values_do_not_deviate() -> None:
    """The deviation of one value repeated is exactly zero."""
    values = np.full(1000, 0.1)
    assert standard_deviations(values, as_runs([(0, 1000), (3, 5)])).tolist() == [0.0, 0.0]


def test_a_sum_depends_on_nothing_around_it() -> None:
    """Whatever stands before, behind or far above a run, its sum and deviation stay the same."""
    rng = random.Random(9)
    own = [round(rng.lognormvariate(3, 1), 2) for _ in range(30)]
    alone = as_runs([(0, 30)])
    for around in ([], [1e300], [5e-324, 1e308, -7.5] * 20, [float(n) for n in range(5000)]):
        run = as_runs([(len(around), len(around) + 30)])
        values = np.array([*around, *own, *around])
        for function in (sums, standard_deviations):
            assert function(values, run).tobytes() == function(np.array(own), alone).tobytes()


def test_sums_do_not_depend_on_order() -> None:
    """A permutation of the summands gives the same bits."""
    rng = random.Random(10)
    values = [rng.choice(EXTREMES[:15]) for _ in range(200)]
    whole = as_runs([(0, 200)])
    first = sums(np.array(values), whole)
    for _ in range(5):
        rng.shuffle(values)
        assert sums(np.array(values), whole).tobytes() == first.tobytes()


def test_a_run_in_two_orders_is_what_only_the_second_has() -> None:
    """`behind` counts in the other order: what precedes there, less what precedes here."""
    values = np.array([1.0, 10.0, 100.0, 1000.0])
    reordered = np.array([0, 3, 1, 2])
    runs = Runs(np.array([0, 1, 1]), np.array([2, 2, 3]), reordered)
    assert sums(values, runs).tolist() == [1001.0, 1000.0, 1010.0]
    assert standard_deviations(values, runs)[2] == statistics.stdev([1000, 10])
