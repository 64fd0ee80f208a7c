"""Sequential tests: valid however often anybody looks, and quick to stop harm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.errors import ConfigError
from include.registry.policy import Policy
from include.registry.sequential import (
    Observation,
    confidence_sequence,
    decide_experiment,
)
from include.registry.splitting import Arm, Split

HALF = Policy(share=0.5)


def terms(draw: np.random.Generator, count: int, policy: Policy, rates: tuple[float, float]):
    """What `decide_experiment` makes of entities that are sent to the arms by chance."""
    challenger = draw.random(count) < policy.share
    outcome = (draw.random(count) < np.where(challenger, rates[1], rates[0])).astype(float)
    before = (0.5 + np.concatenate([[0.0], np.cumsum(outcome)[:-1]])) / np.arange(1, count + 1)
    sign = np.where(challenger, 1 / policy.share, -1 / (1 - policy.share))
    return sign * (outcome - before), challenger, outcome


def observed(
    count: int, rates: tuple[float, float], share: float, seed: int, swing: float = 0.0
) -> list[Observation]:
    """An experiment of 28 daily batches, its entities sent to arms by their hash.

    Each day is a window of its own, in which the challenger is better by a draw of `swing`.
    """
    draw = np.random.default_rng(seed)
    split = Split(f"seed {seed}", "churn", (Arm("champion", 1 - share), Arm("challenger", share)))
    found, swung = [], np.random.default_rng([seed, 1]).normal(0, swing, 28)
    for number in range(count):
        entity = f"user-{number}"
        challenger = split.arm_of(entity) == "challenger"
        day = number * 28 // count
        rate = rates[challenger] + challenger * swung[day]
        outcome = float(draw.random() < rate)
        batch = f"2025-01-{1 + day:02}"
        found.append(Observation(batch, entity, challenger, outcome, batch))
    return found


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_looking_after_every_entity_stops_no_more_than_alpha_of_equal_arms(share: float) -> None:
    """Of 1,000 experiments without a difference, each looked at 1,500 times, few ever stop."""
    policy = Policy(share=share)
    draw = np.random.default_rng(5)
    stopped = 0
    for _ in range(1_000):
        _, low, high = confidence_sequence(terms(draw, 1_500, policy, (0.3, 0.3))[0], policy)
        stopped += bool((low > 0).any() or (high < 0).any())
    assert stopped <= 50


def test_a_test_that_is_not_made_for_looking_stops_far_too_often() -> None:
    """The same experiments with a t-test at every look: the simulation can tell the difference."""
    draw = np.random.default_rng(5)
    stopped = 0
    for _ in range(200):
        _, challenger, outcome = terms(draw, 1_500, HALF, (0.3, 0.3))
        for end in range(100, 1_501, 100):
            arms = [outcome[:end][challenger[:end] == arm] for arm in (False, True)]
            error = np.sqrt(sum(arm.var(ddof=1) / len(arm) for arm in arms))
            if abs(arms[1].mean() - arms[0].mean()) > 1.96 * error:
                stopped += 1
                break
    assert stopped > 20


@pytest.mark.parametrize(("share", "rates"), [(0.5, (0.3, 0.4)), (0.1, (0.5, 0.3))])
def test_the_true_difference_lies_within_at_all_times(
    share: float, rates: tuple[float, float]
) -> None:
    """The interval covers it at every moment in all but alpha of the experiments."""
    policy = Policy(share=share)
    draw = np.random.default_rng(6)
    missed = 0
    for _ in range(400):
        _, low, high = confidence_sequence(terms(draw, 1_500, policy, rates)[0], policy)
        truth = rates[1] - rates[0]
        missed += bool((low > truth).any() or (high < truth).any())
    assert missed <= 20


def test_harm_stops_the_experiment_by_itself() -> None:
    """A challenger that loses a third of the hits is stopped, long before the end."""
    decision = decide_experiment(observed(6_000, (0.3, 0.2), 0.5, 1), HALF)
    assert decision.verdict == "stop_for_harm"
    assert "does harm" in decision.reasons[0]
    assert decision.high is not None
    assert decision.high < 0


def test_a_better_challenger_is_promoted() -> None:
    """As soon as the lower bound is above zero."""
    decision = decide_experiment(observed(6_000, (0.2, 0.3), 0.5, 2), HALF)
    assert decision.verdict == "promote"
    assert decision.low is not None
    assert decision.low > 0


def test_one_window_of_time_ends_nothing() -> None:
    """However many entities it has: what happened then happened to all of them."""
    world = [replace(one, window="1") for one in observed(6_000, (0.2, 0.3), 0.5, 2)]
    decision = decide_experiment(world, HALF)
    assert decision.verdict == "continue"
    assert "two windows of time" in decision.reasons[0]


def test_harm_that_is_done_is_stopped_within_its_window() -> None:
    """Whether it goes on in windows to come is not waited for."""
    world = [replace(one, window="1") for one in observed(6_000, (0.3, 0.2), 0.5, 2)]
    assert decide_experiment(world, HALF).verdict == "stop_for_harm"


def test_swings_that_a_window_shares_are_no_difference() -> None:
    """Where arms differ by the day only, few are promoted; by entity alone many would be.

    Where the challenger is better beyond that, most of them find it.
    """
    equal = [observed(1_400, (0.4, 0.4), 0.5, seed, swing=0.2) for seed in range(60)]
    ended = sum(decide_experiment(world, HALF).verdict == "promote" for world in equal)
    assert ended <= 6  # 5 % and what chance adds
    alone = 0
    for world in equal:
        challenger = np.array([one.challenger for one in world])
        outcome = np.array([one.outcome for one in world])
        gap = outcome[challenger].mean() - outcome[~challenger].mean()
        alone += bool(gap > 1.645 * 2 * outcome.std() / np.sqrt(len(world)))
    assert alone > 6
    better = [observed(1_400, (0.3, 0.6), 0.5, seed, swing=0.15) for seed in range(10)]
    assert sum(decide_experiment(world, HALF).verdict == "promote" for world in better) >= 7


def test_harm_within_the_tolerance_does_not_stop() -> None:
    """What is tolerated is declared."""
    world = observed(6_000, (0.3, 0.2), 0.5, 1)
    assert decide_experiment(world, replace(HALF, harm=0.3)).verdict == "continue"


def test_equal_arms_end_without_a_difference() -> None:
    """When the interval lies within what counts as none, or the entities are used up."""
    world = observed(8_000, (0.05, 0.05), 0.5, 3)
    alike = decide_experiment(world, replace(HALF, indifference=0.05))
    assert alike.verdict == "no_difference"
    assert "less than 0.05" in alike.reasons[0]
    spent = decide_experiment(world[:500], replace(HALF, most=500))
    assert spent.verdict == "no_difference"
    assert decide_experiment(world[:500], HALF).verdict == "continue"


def test_an_experiment_without_outcomes_goes_on() -> None:
    """Labels mature later."""
    decision = decide_experiment([], HALF)
    assert (decision.verdict, decision.difference) == ("continue", None)


@settings(max_examples=25)
@given(st.integers(0, 1_000), st.integers(1, 6))
def test_what_was_concluded_stays_concluded(seed: int, batches: int) -> None:
    """Whoever looks less often comes to the same verdict, at the same entity."""
    world = observed(600, (0.5, 0.1), 0.5, seed)
    whole = decide_experiment(world, HALF)
    cut = sorted({one.batch for one in world})[: 4 * batches]
    early = decide_experiment([one for one in world if one.batch in cut], HALF)
    if early.verdict != "continue":
        assert (early.verdict, early.low, early.high) == (whole.verdict, whole.low, whole.high)


@settings(max_examples=25)
@given(st.integers(0, 1_000))
def test_order_and_repetition_of_observations_do_not_matter(seed: int) -> None:
    """They are sorted by batch, and an entity's later outcomes add nothing."""
    world = observed(200, (0.5, 0.2), 0.3, seed)
    again = [replace(one, batch="2026-01-01", outcome=1 - one.outcome) for one in world]
    mixed = [*again, *world]
    np.random.default_rng(seed).shuffle(mixed)  # type: ignore[arg-type]
    policy = Policy(share=0.3)
    assert decide_experiment(mixed, policy) == decide_experiment(world, policy)


def test_outcomes_beyond_their_bounds_are_refused() -> None:
    """The interval holds for bounded outcomes only."""
    with pytest.raises(ConfigError, match=r"1\.5 in batch 2025"):
        decide_experiment([Observation("2025", "a", True, 1.5)], HALF)
    with pytest.raises(ConfigError, match="nan"):
        decide_experiment([Observation("2025", "a", True, float("nan"))], HALF)


@pytest.mark.parametrize(
    "given_",
    [
        {"share": 0.0},
        {"share": 1.0},
        {"alpha": 0.0},
        {"lowest": 1.0},
        {"highest": float("inf")},
        {"harm": -0.1},
        {"most": 0},
    ],
)
def test_policies_that_decide_nothing_are_refused(given_: dict[str, float]) -> None:
    """Shares and levels lie between 0 and 1, and outcomes between two bounds."""
    with pytest.raises(ConfigError):
        Policy(**{"share": 0.5, **given_})  # type: ignore[arg-type]
