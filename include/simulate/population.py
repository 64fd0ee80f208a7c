"""The users of a tenant: traits, tastes, pace, when they come, when they leave for good."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from include.simulate import seasons
from include.simulate.faults import ColdStart, Fault, drifts
from include.simulate.leaving import (
    NEVER,
    TRAITS,
    conversion_chances,
    days_of_a_lead,
    hazards_of,
    leaving_days,
)
from include.simulate.seeds import Array, Draws, within
from include.simulate.world import TenantPlan, World

Days = NDArray[np.int64]

PACE, BREADTH, PRICE, THRIFT, TASTE, LATENESS = range(6)
#: Days of one step of the path that a learner's activity takes.
PERIOD: Final = 30
_SPREAD_OF_PACE: Final = 0.7


@dataclass(frozen=True)
class Population:
    """Arrays have one row per user; days are those of the world."""

    world: World
    plan: TenantPlan
    faults: tuple[Fault, ...]
    draws: Draws
    traits: Array  #: 6 × users, each about normal
    joined: Days
    leaves: Days  #: first day without the user; `NEVER` where that is after the end
    visits: Array  #: a day, where the season is average
    in_b: NDArray[np.bool_]  #: member of group b
    hour: Array  #: of the day, around which the user is active
    preferences: Array  #: users × categories: chances that add up to 1
    hazards: tuple[tuple[Array, Array], ...]  #: parts of the rate of leaving: users' × days' (sum)
    clock: Array  #: days + 1: how much activity there is up to each day, in average days
    path: Array | None  #: users × periods: factor of the activity
    conversion: Array | None  #: chance of a lead
    converts: NDArray[np.bool_] | None

    @property
    def users(self) -> int:
        """How many."""
        return len(self.joined)

    @property
    def index(self) -> NDArray[np.uint64]:
        """The users as an index of draws."""
        return np.arange(self.users, dtype=np.uint64)

    def hazard_until(self, day: Days | int, rows: slice | Days = slice(None)) -> Array:
        """Rate of leaving summed from the world's first day to the beginning of a day."""
        total = np.zeros(len(self.joined[rows]))
        for rate, days in self.hazards:
            total += rate[rows] * days[np.minimum(day, len(days) - 1)]
        return total


def populate(world: World, plan: TenantPlan) -> Population:
    """The tenant's users, all at once: a few arrays even where there are 200,000."""
    faults = world.befalling(plan)
    draws = Draws(world.seed, ("tenant", plan.id, world.business))
    joined = _joined(world, plan, faults, draws)
    index = np.arange(len(joined), dtype=np.uint64)
    traits = np.stack([draws.named("trait", one).normal(index) for one in range(TRAITS)])
    _shift(traits, world, faults, joined)
    in_b = draws.named("group").uniform(index) < plan.group_share
    kind = world.kind
    pace = np.exp(_SPREAD_OF_PACE * traits[PACE] - _SPREAD_OF_PACE**2 / 2)
    visits = kind.visits * plan.activity * pace
    conversion = converts = None
    if kind.name == "crm":
        conversion = conversion_chances(world, plan, faults, traits, in_b, joined)
        converts = draws.named("converts").uniform(index) < conversion
        visits = visits * np.where(converts, 1.5, 1.0)
        hazards: tuple[tuple[Array, Array], ...] = ()
        leaves = joined + days_of_a_lead(draws, index, converts)
    else:
        hazards = hazards_of(world, plan, faults, traits, in_b)
        leaves = leaving_days(world, hazards, joined, draws.named("leaves").exponential(index))
    factor = seasons.activity(kind.season, world.start, world.days, faults)
    factor[: world.opening(plan)] = 0.0
    factor[world.closing(plan) :] = 0.0
    cumulative_hours = seasons.hours(kind.season)
    return Population(
        world=world,
        plan=plan,
        faults=faults,
        draws=draws,
        traits=traits,
        joined=joined,
        leaves=np.where(leaves > world.closing(plan), NEVER, leaves),
        visits=visits,
        in_b=in_b,
        hour=_hour(traits[LATENESS], cumulative_hours),
        preferences=_preferences(world, plan, draws, traits[TASTE], index),
        hazards=hazards,
        clock=np.concatenate([[0.0], np.cumsum(factor)]),
        path=_path(world, draws, index) if kind.name == "learning" else None,
        conversion=conversion,
        converts=converts,
    )


def _joined(world: World, plan: TenantPlan, faults: tuple[Fault, ...], draws: Draws) -> Days:
    """First days: part of the users are there from the beginning, some come in one day."""
    opens, closes = world.opening(plan), world.closing(plan)
    index = np.arange(plan.users, dtype=np.uint64)
    late = draws.named("newcomer").uniform(index) < world.kind.newcomers
    through = draws.named("joined").uniform(index)
    growth = plan.growth * (closes - opens) / 365
    if abs(growth) > 1e-9:  # the inverse of an exponentially growing share
        through = np.log1p(through * np.expm1(growth)) / growth
    day = np.minimum(np.floor(opens + through * (closes - opens)), closes - 1)
    found = [np.where(late, day, opens)]
    for fault in faults:
        if isinstance(fault, ColdStart) and fault.kind == "users":
            found.append(np.full(round(fault.share * plan.users), fault.at))
    return np.concatenate(found).astype(np.int64)


def _shift(traits: Array, world: World, faults: tuple[Fault, ...], joined: Days) -> None:
    """Covariate drift: those who come from its day on are another kind of people."""
    for number, drift in drifts(faults, "covariate"):
        draw = Draws(world.seed, (world.business, "shift", number))
        moved = np.argsort(draw.uniform(np.arange(TRAITS, dtype=np.uint64)))[: TRAITS // 3]
        for trait in moved:
            traits[trait] += drift.size * drift.strength(joined)


def _hour(lateness: Array, cumulative: Array) -> Array:
    from scipy.special import ndtr  # the rank of the trait is the rank of the hour

    edges = np.concatenate([[0.0], cumulative])
    hour: Array = np.interp(ndtr(lateness), edges / edges[-1], np.arange(25.0))
    return np.floor(hour) % 24


def _preferences(
    world: World, plan: TenantPlan, draws: Draws, breadth: Array, index: NDArray[np.uint64]
) -> Array:
    categories = len(world.kind.categories)
    number = np.arange(categories, dtype=np.uint64)
    base = Draws(world.seed, (world.business, "categories")).normal(number)
    own = draws.named("categories").normal(number)
    common = np.sqrt(1 - plan.deviation) * base + np.sqrt(plan.deviation) * own
    latent = draws.named("taste").normal(within(index[:, None], number[None, :], 64))
    log_weights = 0.5 * common + np.exp(0.3 * breadth)[:, None] * latent
    weights = np.exp(log_weights)
    chances: Array = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)
    return chances


def _path(world: World, draws: Draws, index: NDArray[np.uint64]) -> Array:
    """Activity that goes up and down by months: a first-order autoregression, mean about 1."""
    periods = -(-world.days // PERIOD) + 1
    level = np.empty((len(index), periods))
    state = draws.named("path", 0).normal(index)
    for period in range(periods):
        if period:
            noise = draws.named("path", period).normal(index)
            state = 0.8 * state + 0.6 * noise
        level[:, period] = np.exp(0.6 * state - 0.18)
    return level
