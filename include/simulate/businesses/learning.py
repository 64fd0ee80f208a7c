"""Learning: `Lesson Completed`, with minutes and a score; activity goes up and down by months."""

from __future__ import annotations

from typing import Final

import numpy as np

from include.simulate.businesses.shared import MINUTE, MOST, by_taste, leaves_soon, several
from include.simulate.catalogue import Catalogue
from include.simulate.population import BREADTH, PRICE, Population
from include.simulate.rows import EventRows
from include.simulate.seeds import Array
from include.simulate.visits import Visits, measure

#: Lessons of an average visit beyond the first.
_MORE: Final = 0.5


def per_visit(population: Population) -> Array:
    """Lessons of every user's average visit."""
    answer: Array = 1 + _MORE * np.exp(0.3 * population.traits[BREADTH] - 0.045)
    return answer


def happenings(population: Population, items: Catalogue, visits: Visits) -> list[EventRows]:
    """The lessons of these visits; an item is a course, its category the subject."""
    draws = population.draws.named("learning")
    mean = per_visit(population)[visits.user] - 1
    counts = 1 + draws.named("lessons").poisson(mean, visits.index, most=MOST - 1)
    place, ordinal, index = several(counts, visits.index)
    user, day = visits.user[place], visits.day[place]
    item = by_taste(population, items, user, day, draws, index)
    minutes = 8 + 10 * draws.named("minutes").exponential(index)
    level = 70 + 10 * population.traits[PRICE][user] + 5 * items.quality[item]
    score = np.clip(level + 10 * draws.named("score").normal(index), 0, 100)
    return [
        EventRows(
            "Lesson Completed",
            index,
            user,
            visits.at[place] + ordinal * 15 * MINUTE,
            day,
            item=items.number[item],
            group=visits.index[place],
            properties={
                "minutes": np.round(minutes * measure(population, day), 1),
                "score": np.round(score),
            },
            knows=leaves_soon(population, user, day),
        )
    ]
