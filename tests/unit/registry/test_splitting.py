"""Splits: stable, even, as large as asked, and independent of each other."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from include.errors import ConfigError
from include.registry.splitting import Arm, Split, place

ENTITIES = [f"user-{number}" for number in range(20_000)]


def split(*shares: float, salt: str = "first") -> Split:
    return Split(salt, "churn", tuple(Arm(f"arm{i}", share) for i, share in enumerate(shares)))


def members(one: Split) -> np.ndarray:
    return np.array([int(arm[3:]) for arm in one.arms_of(ENTITIES)])


def test_places_are_these_for_ever() -> None:
    """Whatever the version of Python and the machine, an entity stays where it was."""
    assert place("first", "churn", "user-1") == 0.7412576588806464
    assert place("first", "churn", "ü\ud800") == 0.6823516268555392


def test_two_processes_agree() -> None:
    """Neither hash seeds nor memory addresses matter."""
    code = "from include.registry.splitting import place; print(repr(place('first', 'churn', 'a')))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed},
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert found == {repr(place("first", "churn", "a"))}


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.9, 0.1), (0.34, 0.33, 0.33), (0.0, 1.0)])
def test_arms_are_as_large_as_asked(shares: tuple[float, ...]) -> None:
    """The sizes are those of a fair draw (chi-square), and an empty arm has nobody."""
    counts = np.bincount(members(split(*shares)), minlength=len(shares))
    expected = np.array(shares) * len(ENTITIES)
    assert counts[expected == 0].sum() == 0
    used = expected > 0
    if used.sum() > 1:
        assert stats.chisquare(counts[used], expected[used]).pvalue > 1e-4


def test_places_are_even() -> None:
    """They are uniform, for consecutive names too (Kolmogorov-Smirnov)."""
    places = [place("first", "churn", entity) for entity in ENTITIES]
    assert stats.kstest(places, "uniform").pvalue > 1e-4


@pytest.mark.parametrize(
    "other",
    [split(0.5, 0.5, salt="second"), Split("first", "lead_scoring", split(0.5, 0.5).arms)],
    ids=["salt", "use case"],
)
def test_splits_of_another_salt_or_use_case_are_independent(other: Split) -> None:
    """Who saw a challenger in one experiment says nothing about the next."""
    ours, theirs = members(split(0.5, 0.5)), members(other)
    table = np.histogram2d(ours, theirs, bins=2)[0]
    assert stats.chi2_contingency(table).pvalue > 1e-4


def test_names_that_run_into_each_other_are_different() -> None:
    """("ab", "c") is not ("a", "bc")."""
    assert place("ab", "c", "d") != place("a", "bc", "d")
    assert place("a", "b", "cd") != place("a", "bc", "d")


@given(st.text(), st.floats(0, 1), st.floats(0, 1))
def test_a_greater_share_sends_nobody_back(entity: str, one: float, other: float) -> None:
    """Ramping a challenger up keeps those who have seen it."""
    low, high = sorted((one, other))
    before, after = split(1 - low, low).arm_of(entity), split(1 - high, high).arm_of(entity)
    assert not (before == "arm1" and after == "arm0")


@given(st.lists(st.integers(1, 100), min_size=1, max_size=6), st.text())
def test_everybody_is_in_an_arm(sizes: list[int], entity: str) -> None:
    """Rounding of the shares leaves no gap."""
    one = split(*(size / sum(sizes) for size in sizes))
    assert one.arm_of(entity) in {arm.name for arm in one.arms}


@pytest.mark.parametrize(
    "shares", [(), (0.5, 0.4), (1.2, -0.2), (float("nan"), 1.0), (0.5, 0.5, 0.5)]
)
def test_shares_that_are_none_are_refused(shares: tuple[float, ...]) -> None:
    """They are 0 or more and sum up to 1."""
    with pytest.raises(ConfigError, match="the split 'first' of churn"):
        split(*shares)


def test_arms_of_one_name_are_refused() -> None:
    """A name says which arm is meant."""
    with pytest.raises(ConfigError, match="different names"):
        Split("first", "churn", (Arm("a", 0.5), Arm("a", 0.5)))
