"""What is true of a simulated tenant, which no model is ever shown."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from include.errors import ConfigError
from include.simulate.businesses import PER_VISIT, shop
from include.simulate.catalogue import TOGETHER, Catalogue
from include.simulate.leaving import NEVER
from include.simulate.population import Population
from include.simulate.rows import account_ids, item_ids, user_ids
from include.simulate.seeds import Array
from include.simulate.visits import midnight
from include.storage.canonical import TIMESTAMP


@dataclass(frozen=True)
class Truth:
    """Rows of users are in the order of `users`, columns of items in that of `items`."""

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
        leaving = population.hazard_until(0) - population.hazard_until(1)
        left = self._midnights(np.where(there, 0, population.leaves))
        columns = {
            "user_id": user_ids(np.arange(population.users)),
            "joined_at": self._midnights(population.joined),
            "left_at": pa.array(np.ma.array(left.cast(pa.int64()), mask=there)).cast(TIMESTAMP),
            "visits_per_day": pa.array(population.visits),
            "main_events_per_visit": pa.array(PER_VISIT[population.world.business](population)),
            "leaving_per_day": pa.array(0.0 - np.expm1(leaving)),
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

    def _midnights(self, days: NDArray[np.int64]) -> pa.Array:
        return pa.array(midnight(self.population, days)).cast(TIMESTAMP)
