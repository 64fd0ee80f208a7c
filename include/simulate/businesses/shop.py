"""A shop: `Product Viewed`, and `Order Completed` with one row per line of the basket."""

from __future__ import annotations

from typing import Final

import numpy as np

from include.simulate.businesses.shared import MINUTE, MOST, by_taste, leaves_soon, several
from include.simulate.catalogue import TOGETHER, Catalogue, Positions, favourites
from include.simulate.population import BREADTH, PRICE, THRIFT, Population
from include.simulate.rows import EventRows
from include.simulate.seeds import Array, Draws, Index
from include.simulate.visits import Visits, measure

#: Share of the visits that end with an order.
ORDERED: Final = 0.5
#: Share of an order's own lines that are one of the user's favourites.
LOYAL: Final = 0.4
FAVOURITES: Final = 6
#: Pieces of a line: one, and these chances of one and of three more.
_MORE: Final = ((0.2, 1.0), (0.05, 3.0))
PIECES: Final = 1 + sum(chance * more for chance, more in _MORE)
_LINES: Final = 0.8  #: lines of an average basket beyond the first
_VIEWED: Final = 1.0  #: products looked at in an average visit beyond the first
_VIEWED_FIRST: Final = 0.6  #: share of the ordered lines that were looked at before


def per_visit(population: Population) -> Array:
    """Baskets of a visit: half of them end with one."""
    return np.full(population.users, ORDERED)


def lines_per_order(population: Population) -> Array:
    """Lines of every user's average order, companions not counted."""
    answer: Array = 1 + _LINES * np.exp(0.35 * population.traits[BREADTH])
    return answer


def happenings(population: Population, items: Catalogue, visits: Visits) -> list[EventRows]:
    """Orders and views of these visits."""
    draws = population.draws.named("shop")
    ordered = draws.named("orders").uniform(visits.index) < ORDERED
    orders = _orders(population, items, visits, np.flatnonzero(ordered), draws)
    viewed = draws.named("viewed first").uniform(orders.index) < _VIEWED_FIRST
    before = orders.where(viewed)
    return [
        orders,
        _views(population, items, visits, draws),
        EventRows(
            "Product Viewed",
            before.index | np.uint64(1 << 63),  # apart from what was only looked at
            before.user,
            before.at - 5 * MINUTE,
            before.day,
            item=before.item,
        ),
    ]


def _orders(
    population: Population, items: Catalogue, visits: Visits, chosen: Positions, draws: Draws
) -> EventRows:
    user, index = visits.user[chosen], visits.index[chosen]
    mean = lines_per_order(population)[user] - 1
    # companions take the upper half of the numbers that lines of a visit have
    lines = 1 + draws.named("lines").poisson(mean, index, most=MOST // 2 - 1)
    place, _, line = several(lines, index)
    item = _own_items(population, items, user[place], visits.day[chosen][place], draws, line)
    companion = items.companion[item]
    brought = (companion >= 0) & (draws.named("together").uniform(line) < TOGETHER)
    place = np.concatenate([place, place[brought]])
    item = np.concatenate([item, companion[brought]])
    line = np.concatenate([line, line[brought] + np.uint64(MOST // 2)])
    user, day = user[place], visits.day[chosen][place]
    quantity = np.ones(len(line))
    for number, (chance, more) in enumerate(_MORE):
        quantity += more * (draws.named("more", number).uniform(line) < chance)
    gross = quantity * items.price[item] * np.exp(0.2 * population.traits[PRICE][user])
    gross *= measure(population, day)
    reduced = draws.named("reduced").uniform(line) < _reduced(population)[user]
    rate = np.ceil(3 * draws.named("reduction").uniform(line)) / 10
    discount = np.round(gross * np.where(reduced, rate, 0.0), 2)
    return EventRows(
        "Order Completed",
        line,
        user,
        visits.at[chosen][place],
        day,
        item=items.number[item],
        group=index[place],
        quantity=quantity,
        amount=np.round(gross - discount, 2),
        properties={"discount": discount},
        knows=leaves_soon(population, user, day),
    )


def _reduced(population: Population) -> Array:
    """Chance of every user's lines to be at a discount."""
    answer: Array = 1 / (1 + np.exp(1.7 - 0.9 * population.traits[THRIFT]))
    return answer


def _own_items(
    population: Population,
    items: Catalogue,
    user: Positions,
    day: Positions,
    draws: Draws,
    line: Index,
) -> Positions:
    tasted = by_taste(population, items, user, day, draws, line)
    if not len(user):
        return tasted
    low = int(user.min())
    known = own_favourites(population, items, low, int(user.max()) + 1)
    which = np.floor(draws.named("favourite").uniform(line) * FAVOURITES).astype(np.int64)
    loyal = draws.named("loyal").uniform(line) < LOYAL
    answer: Positions = np.where(loyal, known[user - low, which], tasted)
    return answer


def own_favourites(population: Population, items: Catalogue, low: int, high: int) -> Positions:
    """Users × six: the items that those from `low` to `high` come back to."""
    rows = slice(low, high)
    return favourites(
        items,
        population.preferences[rows],
        population.joined[rows],
        population.draws.named("favourites"),
        population.index[rows],
        FAVOURITES,
    )


def _views(population: Population, items: Catalogue, visits: Visits, draws: Draws) -> EventRows:
    counts = 1 + draws.named("views").poisson(_VIEWED, visits.index, most=MOST - 1)
    place, ordinal, index = several(counts, visits.index)
    user, day = visits.user[place], visits.day[place]
    item = by_taste(population, items, user, day, draws.named("viewed"), index)
    at = visits.at[place] - (ordinal + 6) * MINUTE
    return EventRows("Product Viewed", index, user, at, day, item=items.number[item])
