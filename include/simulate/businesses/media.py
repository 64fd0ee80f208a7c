"""Media: `Content Played` and `Content Skipped`, several in a session (`group_id`)."""

from __future__ import annotations

from typing import Final

import numpy as np

from include.simulate.businesses.shared import MINUTE, MOST, SECOND, leaves_soon, several
from include.simulate.catalogue import Catalogue, Positions, pick_categories
from include.simulate.mechanisms import sigmoid
from include.simulate.population import BREADTH, Population
from include.simulate.rows import EventRows
from include.simulate.seeds import Array
from include.simulate.visits import Visits, measure

#: Share of what is put on that is not of a category drawn by taste but of any.
WANDERING: Final = 0.25
_MORE: Final = 2.5  #: items of an average session beyond the first


def per_visit(population: Population) -> Array:
    """What is put on in every user's average visit, played or skipped."""
    answer: Array = 1 + _MORE * np.exp(0.3 * population.traits[BREADTH])
    return answer


def happenings(population: Population, items: Catalogue, visits: Visits) -> list[EventRows]:
    """What was put on in these visits, and skipped or played."""
    draws = population.draws.named("media")
    mean = per_visit(population)[visits.user] - 1
    counts = 1 + draws.named("items").poisson(mean, visits.index, most=MOST - 1)
    place, ordinal, index = several(counts, visits.index)
    user, day = visits.user[place], visits.day[place]
    if not len(user):
        return []
    low = int(user.min())
    tastes = population.preferences[low : int(user.max()) + 1]
    category = pick_categories(tastes, user - low, draws.named("category"), index)
    wanders = draws.named("wanders").uniform(index) < WANDERING
    anything = np.floor(draws.named("any").uniform(index) * tastes.shape[1]).astype(np.int64)
    category = np.where(wanders, anything, category)
    item = items.pick(category, day, draws.named("item").uniform(index))
    chance = skip_probability(population, items, user, item)
    skipped = draws.named("skips").uniform(index) < chance
    length = (120 + 180 * draws.named("length").uniform(index)) * measure(population, day)
    part = np.where(skipped, 0.3 * draws.named("part").uniform(index), 1.0)
    seconds = np.round(length * part)
    at = visits.at[place] + ordinal * 3 * MINUTE + SECOND
    both = EventRows(
        "Content Played",
        index,
        user,
        at,
        day,
        item=items.number[item],
        group=visits.index[place],
        properties={"seconds": seconds},
        knows=leaves_soon(population, user, day),
        outcome=skipped,
        probability=chance,
    )
    missed = both.where(skipped)
    return [both.where(~skipped), renamed(missed, "Content Skipped")]


def renamed(rows: EventRows, event: str) -> EventRows:
    """The same rows under another name."""
    return EventRows(**{**vars(rows), "event": event})


def skip_probability(
    population: Population, items: Catalogue, user: Positions, item: Positions
) -> Array:
    """Chance that the user skips the item: high in categories they don't care for."""
    categories = population.preferences.shape[1]
    liking = np.log(population.preferences[user, items.category[item]] * categories)
    return sigmoid(-1.2 - 1.1 * np.maximum(liking, -6.0) - 0.5 * items.quality[item])
