"""What several kinds of business have in common."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from include.simulate.catalogue import Catalogue, pick_categories
from include.simulate.population import Population
from include.simulate.seeds import Draws, Index, within

Positions = NDArray[np.int64]

#: At most so many things happen in one visit.
MOST: Final = 64
#: What a leak of a leaving tells: within so many days.
SOON: Final = 30
SECOND: Final = 1_000_000  #: in microseconds
MINUTE: Final = 60 * SECOND


def several(counts: Positions, index: Index) -> tuple[Positions, Positions, Index]:
    """Rows for several things per visit: the visit's place, the thing's ordinal, its index."""
    counts = np.minimum(counts, MOST)
    place = np.repeat(np.arange(len(counts)), counts)
    starts = np.cumsum(counts) - counts
    ordinal = np.arange(len(place)) - starts[place]
    return place, ordinal, within(index[place], ordinal, MOST)


def by_taste(
    population: Population,
    items: Catalogue,
    user: Positions,
    day: Positions,
    draws: Draws,
    index: Index,
) -> Positions:
    """An item per index: of a category that the user prefers, by its popularity on the day."""
    if not len(user):
        return user
    low = int(user.min())
    tastes = population.preferences[low : int(user.max()) + 1]
    category = pick_categories(tastes, user - low, draws.named("category"), index)
    return items.pick(category, day, draws.named("item").uniform(index))


def leaves_soon(population: Population, user: Positions, day: Positions) -> NDArray[np.bool_]:
    """Whether the user's first day without return is at most 30 days away."""
    answer: NDArray[np.bool_] = population.leaves[user] - day <= SOON
    return answer
