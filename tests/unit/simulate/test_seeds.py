"""Random numbers by name and index."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from include.simulate.seeds import Draws, numbered, scrambled, stream, within

INDEX = np.arange(200_000, dtype=np.uint64)


def test_a_number_depends_on_its_seed_name_and_index_only() -> None:
    """Asked alone, in another order or among others, an index gives the same number."""
    draws = Draws(7, ("a",)).named("b", 1)
    numbers = draws.uniform(INDEX)
    assert np.array_equal(draws.uniform(INDEX[::-7]), numbers[::-7])
    assert draws.uniform(INDEX[5:6])[0] == numbers[5]
    assert Draws(7, ("a", "b", 1)).uniform(INDEX[:3]).tolist() == numbers[:3].tolist()
    for other in (Draws(8, ("a", "b", 1)), Draws(7, ("a", "b", "1")), Draws(7, ("ab", 1))):
        assert not (other.uniform(INDEX) == numbers).any()


def test_numbers_are_as_random_as_they_claim() -> None:
    """Uniform, normal, exponential and Poisson numbers pass the usual tests of fit."""
    draws = Draws(11, ("fit",))
    uniform = draws.uniform(INDEX)
    assert 0 < uniform.min() < uniform.max() < 1
    assert stats.kstest(uniform, "uniform").pvalue > 0.001
    assert stats.kstest(draws.named("n").normal(INDEX), "norm").pvalue > 0.001
    assert stats.kstest(draws.named("e").exponential(INDEX), "expon").pvalue > 0.001
    for mean in (0.1, 3.0, 25.0):
        counts = draws.named("p").poisson(mean, INDEX)
        assert counts.mean() == pytest.approx(mean, abs=5 * np.sqrt(mean / len(INDEX)))
        assert counts.var() == pytest.approx(mean, rel=0.02)


def test_neighbours_and_names_have_nothing_to_do_with_each_other() -> None:
    """Numbers at neighbouring indices, and of two names, are uncorrelated."""
    one, other = Draws(3, ("one",)).normal(INDEX), Draws(3, ("two",)).normal(INDEX)
    for left, right in ((one, other), (one[1:], one[:-1]), (one[64:], one[:-64])):
        assert abs(np.corrcoef(left, right)[0, 1]) < 5 / np.sqrt(len(INDEX))


def test_what_belongs_to_different_indices_never_meets() -> None:
    """Inner indices and scrambled ones are as many as they were."""
    inner = within(numbered(np.repeat(np.arange(300), 64)), np.tile(np.arange(64), 300), 64)
    assert len(np.unique(inner)) == len(inner)
    assert len(np.unique(scrambled(INDEX))) == len(INDEX)


def test_streams_are_told_apart_by_their_names() -> None:
    """A stream is the same for the same names and another one for others."""
    assert stream(1, "a", 2).random() == stream(1, "a", 2).random()
    assert len({stream(1, "a", 2).random(), stream(1, "a", "2").random(), stream(2).random()}) == 3
