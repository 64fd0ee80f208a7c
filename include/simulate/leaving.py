"""Who leaves when, and which leads convert: mechanisms of the users' traits.

A tenant's mechanism is the world's, mixed with one of its own by the plan's deviation, and with
another one by each concept drift; what is mixed in has nothing in common with what was there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from include.simulate.faults import Fault, drifts
from include.simulate.mechanisms import (
    Mechanism,
    mechanism,
    mixed,
    overlap,
    reference,
    sigmoid,
    solve_intercept,
)
from include.simulate.seeds import Array, Draws, Index, Name
from include.simulate.world import TenantPlan, World

Days = NDArray[np.int64]
Flags = NDArray[np.bool_]

TRAITS: Final = 6
#: A day after all days: somebody who does not leave.
NEVER: Final = 2**31
_SPREAD_OF_LEAVING: Final = 0.9
_SPREAD_OF_CONVERSION: Final = 1.5


def score(
    world: World,
    plan: TenantPlan,
    what: str,
    traits: Array,
    concepts: Sequence[tuple[int, Array | float]] = (),
) -> Array:
    """What the tenant's mechanism says of these traits (6 × users): mean 0, deviation 1.

    Args:
        concepts: numbers of other concepts, and the share of the variance that each has come to.
    """

    def of(*names: Name) -> Mechanism:
        return mechanism(world.seed, TRAITS, world.business, what, *names)

    usual = reference(world.seed, TRAITS)
    found, expected = of("global").score(traits), of("global").score(usual)
    parts = [(of("tenant", plan.id), plan.deviation)] if plan.deviation else []
    for part, share in [*parts, *((of("concept", number), share) for number, share in concepts)]:
        common = overlap(expected, part.score(usual))
        expected = mixed(expected, part.score(usual), float(np.max(share)), common)
        found = mixed(found, part.score(traits), share, common)
    return found


def hazards_of(
    world: World, plan: TenantPlan, faults: tuple[Fault, ...], traits: Array, in_b: Flags
) -> tuple[tuple[Array, Array], ...]:
    """Parts of the rate of leaving: each user's rate, and how many such days up to each day."""
    days = np.arange(world.days)
    prior = np.ones(world.days)
    for _, drift in drifts(faults, "prior"):
        prior *= np.exp(drift.size * drift.strength(days))
    found: list[tuple[Array, Array]] = []
    concepts: list[tuple[int, float]] = []
    remaining = np.ones(world.days)

    def add(share: Array) -> None:
        said = score(world, plan, "leaving", traits, concepts)
        log_rate = _SPREAD_OF_LEAVING * said + plan.group_effect * in_b
        rate = world.kind.leaving * plan.leaving * np.exp(log_rate - _SPREAD_OF_LEAVING**2 / 2)
        found.append((rate, np.concatenate([[0.0], np.cumsum(prior * share)])))

    for number, drift in drifts(faults, "concept"):
        add(remaining * (1 - drift.strength(days)))
        remaining = remaining * drift.strength(days)
        concepts.append((number, drift.size))
    add(remaining)
    return tuple(found)


def leaving_days(
    world: World, hazards: tuple[tuple[Array, Array], ...], joined: Days, patience: Array
) -> Days:
    """First day on which the summed rate of leaving has used up everybody's patience."""

    def until(day: Days) -> Array:
        total: Array = sum((rate * days[day] for rate, days in hazards), np.zeros(len(day)))
        return total

    target = until(joined) + patience
    low, high = joined.copy(), np.full(len(joined), world.days)
    while (low < high).any():
        middle = (low + high) // 2
        reached = until(middle) >= target
        high = np.where(reached, middle, high)
        low = np.where(reached, low, np.minimum(middle + 1, high))
    stays = until(np.full(len(joined), world.days)) < target
    return np.where(stays, NEVER, np.maximum(high, joined + 1))


def conversion_chances(
    world: World,
    plan: TenantPlan,
    faults: tuple[Fault, ...],
    traits: Array,
    in_b: Flags,
    joined: Days,
) -> Array:
    """Chance of every lead, by its traits and the day it comes."""
    concepts = [
        (number, drift.size * drift.strength(joined)) for number, drift in drifts(faults, "concept")
    ]
    said = score(world, plan, "converts", traits, concepts)
    usual = score(world, plan, "converts", reference(world.seed, TRAITS))
    intercept = solve_intercept(_SPREAD_OF_CONVERSION * usual, plan.conversion)
    log_odds = _SPREAD_OF_CONVERSION * said + intercept
    for _, drift in drifts(faults, "prior"):
        log_odds += drift.size * drift.strength(joined)
    return sigmoid(log_odds + plan.group_effect * in_b)


def days_of_a_lead(draws: Draws, index: Index, converts: Flags) -> Days:
    """Days until a deal is won, or until a lead has lost interest."""
    won = 7 + 12 * (
        draws.named("won").exponential(index) + draws.named("won", 2).exponential(index)
    )
    lost = 4 + 25 * draws.named("lost").exponential(index)
    return np.ceil(np.where(converts, won, lost)).astype(np.int64)
