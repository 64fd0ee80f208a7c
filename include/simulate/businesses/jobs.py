"""Jobs: `Job Viewed` and `Job Applied` between profiles and jobs, both with skills."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from include.simulate.businesses.media import renamed
from include.simulate.businesses.shared import MINUTE, MOST, by_taste, several
from include.simulate.catalogue import Catalogue, Positions, draw_skills
from include.simulate.faults import drifts
from include.simulate.mechanisms import sigmoid
from include.simulate.population import PACE, Population
from include.simulate.rows import EventRows
from include.simulate.seeds import Array
from include.simulate.visits import Visits

_MORE: Final = 2.0  #: jobs looked at in an average visit beyond the first
_SKILLS: Final = 6
_USUAL, _SPREAD = 0.9, 1.0  #: skills that a profile and a job looked at have in common


def per_visit(population: Population) -> Array:
    """Jobs looked at in an average visit."""
    return np.full(population.users, 1 + _MORE)


def happenings(population: Population, items: Catalogue, visits: Visits) -> list[EventRows]:
    """The jobs looked at in these visits, and applied for."""
    draws = population.draws.named("jobs")
    counts = 1 + draws.named("jobs").poisson(_MORE, visits.index, most=MOST - 1)
    place, ordinal, index = several(counts, visits.index)
    user, day = visits.user[place], visits.day[place]
    item = by_taste(population, items, user, day, draws, index)
    chance = application_probability(population, items, user, item, day)
    applies = draws.named("applies").uniform(index) < chance
    viewed = EventRows(
        "Job Viewed",
        index,
        user,
        visits.at[place] + ordinal * 4 * MINUTE,
        day,
        item=items.number[item],
        account=items.owner[item],
        group=visits.index[place],
        knows=applies,
        outcome=applies,
        probability=chance,
    )
    applied = viewed.where(applies)
    later = EventRows(**{**vars(applied), "at": applied.at + 3 * MINUTE, "outcome": None})
    return [viewed, renamed(later, "Job Applied")]


def profile_skills(population: Population, low: int, high: int) -> NDArray[np.bool_]:
    """Users × words: the skills of the users from `low` to `high`."""
    rows = slice(low, high)
    return draw_skills(
        population.draws.named("profile"),
        population.index[rows],
        population.preferences[rows],
        _SKILLS,
    )


def application_probability(
    population: Population, items: Catalogue, user: Positions, item: Positions, day: Positions
) -> Array:
    """Chance that who looks at a job applies for it: by skills in common, whatever the group.

    Under another concept, the quality of the job takes the place of the skills.
    """
    if not len(user):
        return np.zeros(0)
    low = int(user.min())
    known = profile_skills(population, low, int(user.max()) + 1)
    common = (known[user - low] & items.skills[item]).sum(axis=1)
    score = (common - _USUAL) / _SPREAD
    log_odds = np.full(len(user), -2.2)
    for _, drift in drifts(population.faults, "concept"):
        share = drift.size * drift.strength(day)
        score = np.sqrt(1 - share) * score + np.sqrt(share) * items.quality[item]
    for _, drift in drifts(population.faults, "prior"):
        log_odds += drift.size * drift.strength(day)
    eager = 0.3 * population.traits[PACE][user]
    effect = population.plan.group_effect * population.in_b[user]
    return sigmoid(log_odds + 1.1 * score + eager + effect)
