"""The items of a tenant: categories, prices, popularity by day, what goes with what."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from include.simulate.faults import ColdStart
from include.simulate.seeds import Array, Draws, within
from include.simulate.world import TenantPlan, World

Positions = NDArray[np.int64]

#: Chance that an item which has a companion brings it along.
TOGETHER: Final = 0.35
OWNERS: Final = 40
_SKILLS_PER_FIELD: Final = 6
_SKILLS: Final = 4
_OLDEST: Final = 3.0  #: ages of the items there at the beginning, in units of their aging


@dataclass(frozen=True)
class Catalogue:
    """Arrays have one row per item, by category and within it by number."""

    number: Positions
    category: Positions
    price: Array
    quality: Array  #: about normal: how well liked, whatever the category
    released: Positions  #: first day
    shares: Array  #: days × items: chance of an item given its category
    edges: Positions  #: categories + 1: first item of each category, and the end
    companion: Positions  #: item that goes with it, or −1
    owner: Positions
    in_b: NDArray[np.bool_]  #: whether the owner belongs to group b
    skills: NDArray[np.bool_]  #: items × words
    _reached: Array  #: days × items: cumulative weight, the day added, for `pick`

    def __len__(self) -> int:
        return len(self.number)

    def pick(self, category: Positions, day: Positions, chance: Array) -> Positions:
        """The item that a number within (0, 1) stands for, in that category on that day."""
        width = len(self)
        flat = self._reached.ravel()
        low = np.where(self.edges[category] == 0, day, flat[day * width + self.edges[category] - 1])
        high = flat[day * width + self.edges[category + 1] - 1]
        found = np.searchsorted(flat, low + chance * (high - low), side="right") - day * width
        last = self.edges[category + 1] - 1
        answer: Positions = np.clip(found, self.edges[category], last)
        return answer


def stock(world: World, plan: TenantPlan) -> Catalogue:
    """The tenant's items; the same numbers mean the same items at every tenant of the world."""
    kind = world.kind
    common = Draws(world.seed, (world.business, "items"))
    own = Draws(world.seed, ("tenant", plan.id, world.business, "items"))
    count = kind.items
    launches = [np.full(count, -1, dtype=np.int64)]
    for fault in world.befalling(plan):
        if isinstance(fault, ColdStart) and fault.kind == "items" and count:
            launches.append(np.full(max(1, round(fault.share * count)), fault.at))
    launched = np.concatenate(launches)
    number = np.arange(len(launched))
    categories = max(1, len(kind.categories))
    order = np.lexsort((number, number % categories))
    number, launched = number[order], launched[order]
    index = number.astype(np.uint64)
    category = number % categories
    released = _released(world, common, number, launched, categories)
    popularity = 1.1 * (
        np.sqrt(1 - plan.deviation) * common.named("popularity").normal(index)
        + np.sqrt(plan.deviation) * own.named("popularity").normal(index)
    )
    weights = np.exp(popularity) * _by_day(world, common, index, released)
    edges = np.searchsorted(category, np.arange(categories + 1))
    owner = common.named("owner").uniform(index)
    owner_number = np.floor(owner * OWNERS).astype(np.int64)
    own_group = own.named("owners' group").uniform(np.arange(OWNERS, dtype=np.uint64))
    in_b = (own_group < plan.group_share)[owner_number]
    if plan.exposure_bias:
        weights = weights * np.exp(-plan.exposure_bias * in_b)
    shares, reached = _cumulative(weights, edges)
    base = np.exp(0.8 * common.named("price of category").normal(category.astype(np.uint64)))
    return Catalogue(
        number=number,
        category=category,
        price=np.round(4 * base * np.exp(0.4 * common.named("price").normal(index)) + 0.5, 2),
        quality=common.named("quality").normal(index),
        released=released,
        shares=shares,
        edges=edges,
        companion=_companions(common, number, launched, count),
        owner=owner_number,
        in_b=in_b,
        skills=_skills(common, number, category, categories),
        _reached=reached,
    )


def words(world: World) -> list[str]:
    """The skills there are, field by field."""
    return [f"{name}-{n}" for name in world.kind.categories for n in range(_SKILLS_PER_FIELD)]


def draw_skills(
    draws: Draws, index: NDArray[np.uint64], preferences: Array, count: int
) -> NDArray[np.bool_]:
    """Skills of somebody per index: `count` draws from the fields that they prefer."""
    fields = preferences.shape[1]
    known = np.zeros((len(index), fields * _SKILLS_PER_FIELD), dtype=bool)
    reached = np.cumsum(preferences, axis=1)
    rows = np.arange(len(index))
    for turn in range(count):
        chance = draws.named("field", turn).uniform(index)[:, None] * reached[:, -1:]
        field = np.minimum((reached <= chance).sum(axis=1), fields - 1)
        word = np.floor(draws.named("word", turn).uniform(index) * _SKILLS_PER_FIELD)
        known[rows, field * _SKILLS_PER_FIELD + word.astype(np.int64)] = True
    return known


def _released(
    world: World, common: Draws, number: Positions, launched: Positions, categories: int
) -> Positions:
    """First days: most items were there before the world, the first of a category always."""
    index = number.astype(np.uint64)
    through = common.named("released").uniform(index)
    later = (common.named("comes later").uniform(index) < world.kind.released) & (
        number >= categories
    )
    before = -np.ceil(through * _OLDEST * (world.kind.aging or 1.0))
    day = np.where(later, np.floor(through * world.days), before)
    return np.where(launched >= 0, launched, day).astype(np.int64)


def _by_day(world: World, common: Draws, index: NDArray[np.uint64], released: Positions) -> Array:
    """Days × items: seasons of their own, age, and nothing before an item is out."""
    day = np.arange(world.days)[:, None]
    swing = 0.5 * common.named("swing").uniform(index)
    phase = common.named("phase").uniform(index)
    of_year = (day + world.start.timetuple().tm_yday) / 365.25
    factor = 1 + swing * np.cos(2 * np.pi * (of_year - phase))
    age = day - released
    if world.kind.aging:
        factor = factor * (0.1 + 3.0 ** -(np.maximum(age, 0) / world.kind.aging))
    answer: Array = np.where(age >= 0, factor, 0.0)
    return answer


def _cumulative(weights: Array, edges: Positions) -> tuple[Array, Array]:
    shares = weights.copy()
    for start, end in pairwise(edges):
        if end > start:
            shares[:, start:end] /= shares[:, start:end].sum(axis=1, keepdims=True)
    reached = np.cumsum(weights, axis=1)
    if reached.shape[1]:
        reached /= reached[:, -1:]
    return shares, reached + np.arange(len(weights))[:, None]


def _companions(common: Draws, number: Positions, launched: Positions, count: int) -> Positions:
    """For two in five of the items that were always there, another one of these."""
    has = (common.named("has companion").uniform(number.astype(np.uint64)) < 0.4) & (launched < 0)
    step = common.named("companion").uniform(number.astype(np.uint64))
    other = (number + 1 + np.floor(step * max(count - 1, 1)).astype(np.int64)) % max(count, 1)
    place = np.empty(len(number), dtype=np.int64)
    place[number] = np.arange(len(number))
    return np.where(has, place[other] if len(number) else other, -1)


def _skills(
    common: Draws, number: Positions, category: Positions, categories: int
) -> NDArray[np.bool_]:
    """Four draws for every item, mostly from its own field."""
    mostly = np.full((len(number), categories), 0.2 / max(categories - 1, 1))
    mostly[np.arange(len(number)), category] = 0.8
    return draw_skills(common.named("skills"), number.astype(np.uint64), mostly, _SKILLS)


def pick_categories(
    preferences: Array, rows: Positions, draws: Draws, index: NDArray[np.uint64]
) -> Positions:
    """A category per index, by the preferences of the row named beside it."""
    reached = np.cumsum(preferences, axis=1)
    reached /= reached[:, -1:]
    width = reached.shape[1]
    flat = (reached + np.arange(len(reached))[:, None]).ravel()
    found = np.searchsorted(flat, rows + draws.uniform(index), side="right") - rows * width
    answer: Positions = np.clip(found, 0, width - 1)
    return answer


def favourites(
    items: Catalogue,
    preferences: Array,
    day: Positions,
    draws: Draws,
    index: NDArray[np.uint64],
    count: int,
) -> Positions:
    """Users × count: items that a user comes back to, out on the day named beside the user."""
    rows = np.arange(len(index))
    found = np.empty((len(index), count), dtype=np.int64)
    for turn in range(count):
        of_turn = within(index, turn, 64)
        category = pick_categories(preferences, rows, draws.named("category"), of_turn)
        found[:, turn] = items.pick(category, day, draws.named("item").uniform(of_turn))
    return found
