"""What a tenant knows about its users, items and accounts, as it would export it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from include.simulate.businesses import crm, jobs, payments
from include.simulate.catalogue import OWNERS, Catalogue, words
from include.simulate.leaks import user_leaks
from include.simulate.population import PRICE, THRIFT, Population
from include.simulate.rows import account_ids, item_ids, user_ids
from include.simulate.visits import midnight
from include.storage.canonical import TIMESTAMP

#: Column of an exported table of facts → what it is.
KNOWN_SINCE = "known_since"
_USERS = 20_000  #: whose skills are spelled at a time


def facts(population: Population, items: Catalogue) -> dict[str, pa.Table]:
    """Entity → its exported table: the id, `known_since` and one column per attribute."""
    business = population.world.business
    found = {"user": _users(population)}
    if len(items):
        found["item"] = _items(population, items)
    if business in ("crm", "jobs"):
        found["account"] = _accounts(population, items)
    return found


def leaked_facts(population: Population) -> list[tuple[str, pa.Table]]:
    """Exported tables of what knows the users' outcomes, each with its entity."""
    found = []
    for name, (since, value) in user_leaks(population).items():
        there = pa.array(~np.isnan(value))
        columns = {
            "user_id": user_ids(np.arange(population.users)),
            KNOWN_SINCE: _since(population, since),
            name: pa.array(value),
        }
        found.append(("user", pa.table(columns).filter(there)))
    return found


def _users(population: Population) -> pa.Table:
    business = population.world.business
    columns = {
        "user_id": user_ids(np.arange(population.users)),
        KNOWN_SINCE: _since(population, population.joined),
        "group": pa.array(np.where(population.in_b, "b", "a")),
    }
    if business == "payments":
        countries = pa.array(payments.COUNTRIES)
        columns["country"] = countries.take(pa.array(payments.home(population)))
    if business == "crm":
        columns["source"] = _binned(population.traits[THRIFT], ("ads", "event", "partner", "web"))
    if business == "jobs":
        known = [
            _spelled(jobs.profile_skills(population, low, low + _USERS), words(population.world))
            for low in range(0, population.users, _USERS)
        ]
        columns["skills"] = pa.chunked_array(known, pa.string())
    return pa.table(columns)


def _items(population: Population, items: Catalogue) -> pa.Table:
    world = population.world
    opens = world.opening(population.plan)
    columns = {
        "item_id": item_ids(items.number),
        KNOWN_SINCE: _since(population, np.maximum(items.released, opens)),
        "category": pa.array(world.kind.categories).take(pa.array(items.category)),
    }
    if world.business == "shop":
        columns["price"] = pa.array(items.price)
    if world.business == "jobs":
        columns["skills"] = _spelled(items.skills, words(world))
        columns["owner"] = account_ids(items.owner)
        columns["group"] = pa.array(np.where(items.in_b, "b", "a"))
    return pa.table(columns)


def _accounts(population: Population, items: Catalogue) -> pa.Table:
    """A company's size among leads; an employer's group among jobs."""
    opens = population.world.opening(population.plan)
    if population.world.business == "jobs":
        number = np.arange(OWNERS)
        in_b = np.isin(number, items.owner[items.in_b])
        name, value = "group", pa.array(np.where(in_b, "b", "a"))
    else:
        number = np.arange(-(-population.users // crm.ACCOUNTS))
        leader = population.traits[PRICE][number * crm.ACCOUNTS]
        name, value = "size", _binned(leader, ("1-9", "10-49", "50-249", "250+"))
    since = _since(population, np.full(len(number), opens))
    return pa.table({"account_id": account_ids(number), KNOWN_SINCE: since, name: value})


def _since(population: Population, days: NDArray[np.int64]) -> pa.Array:
    return pa.array(midnight(population, days)).cast(TIMESTAMP)


def _binned(trait: NDArray[np.float64], names: tuple[str, ...]) -> pa.Array:
    """Quarters of a normal trait by name."""
    place = np.digitize(trait, (-0.674, 0.0, 0.674))
    return pa.array(names).take(pa.array(place))


def _spelled(known: NDArray[np.bool_], names: list[str]) -> pa.Array:
    return pa.array(
        [" ".join(names[place] for place in np.flatnonzero(row)) for row in known], pa.string()
    )
