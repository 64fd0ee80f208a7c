"""What somebody knows who knows a simulated tenant's mechanism and its users' traits.

Days are counted from the world's first. Probabilities are those of somebody who knows whether each
user is still there, but not what comes. Rows are in the order of `truth.users`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from include.errors import ConfigError
from include.simulate.businesses import PER_VISIT, jobs, media, shop
from include.simulate.population import Population
from include.simulate.seeds import Array
from include.simulate.truth import Truth
from include.simulate.visits import stretches

Rows = slice | NDArray[np.int64]
_ALL = slice(None)


def there(truth: Truth, day: int) -> NDArray[np.bool_]:
    """Users who have come by the beginning of the day and not left."""
    population = truth.population
    answer: NDArray[np.bool_] = (population.joined < day) & (population.leaves > day)
    return answer


def leaving_probability(truth: Truth, day: int, horizon: int) -> Array:
    """Chance of every user who is there at `day` to leave within `horizon` days."""
    _within(truth, day + horizon)
    population = truth.population
    rate = population.hazard_until(day + horizon) - population.hazard_until(day)
    return -np.expm1(-rate)


def absence_probability(truth: Truth, day: int, horizon: int) -> Array:
    """Chance of no main event in the `horizon` days from `day` on: what a churn label asks.

    1 for those who have left by then, NaN for those who have not come. Of a media user, an item
    skipped counts as an event.
    """
    _within(truth, day + horizon)
    population = truth.population
    share = shop.ORDERED if population.world.business == "shop" else 1.0
    still, absent = np.ones(population.users), np.zeros(population.users)
    quiet = np.ones(population.users)
    clock, path = population.clock, population.path
    for now in range(day, day + horizon):
        leaving = -np.expm1(population.hazard_until(now) - population.hazard_until(now + 1))
        absent += still * leaving * quiet
        still *= 1 - leaving
        rate = population.visits * share * (clock[now + 1] - clock[now])
        quiet *= np.exp(-rate if path is None else -rate * path[:, now // 30])
    absent = np.where(population.leaves <= day, 1.0, absent + still * quiet)
    return np.where(population.joined < day, absent, np.nan)


def expected_events(truth: Truth, first_day: int, end_day: int, rows: Rows = _ALL) -> Array:
    """Main events (of a shop: baskets) that each user lets expect from a day until another.

    Given when they really come and leave, and the month's level of a learner.
    """
    population = truth.population
    per_visit = PER_VISIT[population.world.business](population)[rows]
    return _expected_visits(population, first_day, end_day, rows) * per_visit


def affinity(truth: Truth, rows: NDArray[np.int64], day: int) -> Array:
    """Users × items: how much each of these users is for each item on the day.

    shop, learning: the chance that it is what the user takes next, companions not counted;
    media: the chance that the user plays it to the end once it is on; jobs: the chance that
    who looks at it applies for it.
    """
    population, items = truth.population, truth.items_known
    business = population.world.business
    if business in ("media", "jobs"):
        user = np.repeat(rows, len(items))
        item = np.tile(np.arange(len(items)), len(rows))
        if business == "media":
            chance = 1 - media.skip_probability(population, items, user, item)
        else:
            days = np.full(len(user), day)
            chance = jobs.application_probability(population, items, user, item, days)
        return chance.reshape(len(rows), len(items))
    if not len(items):
        raise ConfigError(f"a {business} has no items; shop, media, learning and jobs have")
    tasted: Array = population.preferences[rows][:, items.category] * items.shares[day]
    if business != "shop":
        return tasted
    loyal = np.zeros_like(tasted)
    for place, row in enumerate(rows.tolist()):
        own = shop.own_favourites(population, items, row, row + 1)[0]
        np.add.at(loyal[place], own, 1 / shop.FAVOURITES)
    return (1 - shop.LOYAL) * tasted + shop.LOYAL * loyal


def _expected_visits(population: Population, first_day: int, end_day: int, rows: Rows) -> Array:
    """How many visits every user's own pace lets expect from a day until another, while there."""
    users = np.arange(population.users)[rows]
    first = np.maximum(population.joined[users], first_day)
    last = np.minimum(np.minimum(population.leaves[users], population.world.days), end_day)
    ends, _, _ = stretches(population, users, first, np.maximum(last, first))
    return ends[:, -1]


def _within(truth: Truth, day: int) -> None:
    end = truth.population.world.closing(truth.population.plan)
    if day > end:
        raise ConfigError(f"nothing is simulated from day {end} on, so not until day {day}")
