"""What is true of a simulated tenant, which no model is ever shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from include.errors import ConfigError
from include.simulate.businesses import PER_VISIT, jobs, media, shop
from include.simulate.catalogue import TOGETHER, Catalogue
from include.simulate.leaving import NEVER
from include.simulate.population import Population
from include.simulate.rows import account_ids, item_ids, user_ids
from include.simulate.seeds import Array
from include.simulate.visits import expected_visits, midnight
from include.storage.canonical import TIMESTAMP

Rows = slice | NDArray[np.int64]
_ALL = slice(None)


@dataclass(frozen=True)
class Truth:
    """Rows of users are in the order of `users`, columns of items in that of `items`.

    Days are counted from the world's first. Probabilities are those of somebody who knows the
    mechanism and each user's traits and whether they are still there, but not what comes.
    """

    population: Population
    items_known: Catalogue
    outcomes: pa.Table  #: event_id, outcome, probability, pattern: of single events, see below

    @property
    def users(self) -> pa.Table:
        """One row per user: when they come and leave, at what rate, in which group.

        `left_at` is null of those there at the end; `leaves` beyond any day is `NEVER`.
        `best_hour` is the hour of the day (UTC) around which the user is active. Leads have
        `conversion_probability`, `converts` and `converted_at`, which others have not.
        """
        population = self.population
        there = population.leaves == NEVER
        left = self._midnights(np.where(there, 0, population.leaves))
        columns = {
            "user_id": user_ids(np.arange(population.users)),
            "joined_at": self._midnights(population.joined),
            "left_at": pa.array(np.ma.array(left.cast(pa.int64()), mask=there)).cast(TIMESTAMP),
            "visits_per_day": pa.array(population.visits),
            "main_events_per_visit": pa.array(PER_VISIT[population.world.business](population)),
            "leaving_per_day": pa.array(self._leaving_at(0)),
            "group": pa.array(np.where(population.in_b, "b", "a")),
            "best_hour": pa.array(population.hour.astype(np.int8)),
        }
        if population.converts is not None:
            columns["conversion_probability"] = pa.array(population.conversion)
            columns["converts"] = pa.array(population.converts)
            known = population.converts & ~there
            columns["converted_at"] = pa.array(
                np.ma.array(left.cast(pa.int64()), mask=~known)
            ).cast(TIMESTAMP)
        return pa.table(columns)

    @property
    def items(self) -> pa.Table:
        """One row per item: category, price, first day out, companion, owner and its group."""
        known, world = self.items_known, self.population.world
        companion = np.where(known.companion >= 0, known.number[known.companion], -1)
        names = world.kind.categories or ("none",)
        return pa.table(
            {
                "item_id": item_ids(known.number),
                "category": pa.array(names).take(pa.array(known.category)),
                "price": pa.array(known.price),
                "released_day": pa.array(known.released),
                "companion": item_ids(companion),
                "owner": account_ids(known.owner),
                "group": pa.array(np.where(known.in_b, "b", "a")),
            }
        )

    def there(self, day: int) -> NDArray[np.bool_]:
        """Users who have come by the beginning of the day and not left."""
        population = self.population
        answer: NDArray[np.bool_] = (population.joined < day) & (population.leaves > day)
        return answer

    def leaving_probability(self, day: int, horizon: int) -> Array:
        """Chance of every user who is there at `day` to leave within `horizon` days."""
        self._within(day + horizon)
        population = self.population
        rate = population.hazard_until(day + horizon) - population.hazard_until(day)
        return -np.expm1(-rate)

    def absence_probability(self, day: int, horizon: int) -> Array:
        """Chance of no main event in the `horizon` days from `day` on: what a churn label asks.

        1 for those who have left by then, NaN for those who have not come. Of a media user, an item
        skipped counts as an event.
        """
        self._within(day + horizon)
        population = self.population
        share = shop.ORDERED if population.world.business == "shop" else 1.0
        still, absent = np.ones(population.users), np.zeros(population.users)
        quiet = np.ones(population.users)
        clock, path = population.clock, population.path
        for now in range(day, day + horizon):
            leaving = self._leaving_at(now)
            absent += still * leaving * quiet
            still *= 1 - leaving
            rate = population.visits * share * (clock[now + 1] - clock[now])
            quiet *= np.exp(-rate if path is None else -rate * path[:, now // 30])
        absent = np.where(population.leaves <= day, 1.0, absent + still * quiet)
        return np.where(population.joined < day, absent, np.nan)

    def expected_events(self, first_day: int, end_day: int, rows: Rows = _ALL) -> Array:
        """Main events (of a shop: baskets) that each user lets expect from a day until another.

        Given when they really come and leave, and the month's level of a learner.
        """
        per_visit = PER_VISIT[self.population.world.business](self.population)[rows]
        return expected_visits(self.population, first_day, end_day, rows) * per_visit

    def demand(self) -> Array:
        """Days × items: pieces that a shop's users let expect to be ordered on each day."""
        population, items = self.population, self.items_known
        if population.world.business != "shop":
            raise ConfigError(f"a {population.world.business} has no demand; a shop has")
        days, width = population.world.days, len(items)
        weight = population.visits * shop.ORDERED * shop.lines_per_order(population)
        first, last = population.joined, np.minimum(population.leaves, days)
        lines = np.zeros((days, width))
        for category in range(population.preferences.shape[1]):
            tasted = weight * population.preferences[:, category] * (1 - shop.LOYAL)
            rate = np.bincount(first, tasted, days + 1) - np.bincount(last, tasted, days + 1)
            chosen = slice(items.edges[category], items.edges[category + 1])
            lines[:, chosen] = np.cumsum(rate)[:days, None] * items.shares[:, chosen]
        known = shop.own_favourites(population, items, 0, population.users)
        loyal = np.repeat(weight * shop.LOYAL / shop.FAVOURITES, shop.FAVOURITES)
        change = np.zeros((days + 1) * width)
        for day, sign in ((first, 1.0), (last, -1.0)):
            place = np.repeat(day, shop.FAVOURITES) * width + known.ravel()
            change += sign * np.bincount(place, loyal, len(change))
        lines += np.cumsum(change.reshape(days + 1, width), axis=0)[:days]
        together = np.flatnonzero(items.companion >= 0)
        brought = lines[:, together] * TOGETHER
        for column, other in enumerate(items.companion[together].tolist()):
            lines[:, other] += brought[:, column]
        activity = np.diff(population.clock)
        answer: Array = lines * activity[:, None] * shop.PIECES
        return answer

    def affinity(self, rows: NDArray[np.int64], day: int) -> Array:
        """Users × items: how much each of these users is for each item on the day.

        shop, learning: the chance that it is what the user takes next, companions not counted;
        media: the chance that the user plays it to the end once it is on; jobs: the chance that
        who looks at it applies for it.
        """
        population, items = self.population, self.items_known
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

    def _leaving_at(self, day: int) -> Array:
        population = self.population
        return 0.0 - np.expm1(population.hazard_until(day) - population.hazard_until(day + 1))

    def _within(self, day: int) -> None:
        end = self.population.world.closing(self.population.plan)
        if day > end:
            raise ConfigError(f"nothing is simulated from day {end} on, so not until day {day}")

    def _midnights(self, days: NDArray[np.int64]) -> pa.Array:
        return pa.array(midnight(self.population, days)).cast(TIMESTAMP)
