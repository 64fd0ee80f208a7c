"""Leads: pages, forms and e-mails; a trial, and a deal won where the lead converts.

`Email Delivered` goes out through the day, `Email Opened` follows mostly near the lead's own hour.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from include.simulate.businesses.shared import MINUTE, MOST, several
from include.simulate.catalogue import Catalogue, Positions
from include.simulate.population import BREADTH, LATENESS, PRICE, TASTE, THRIFT, Population
from include.simulate.rows import EventRows
from include.simulate.seeds import Array, Draws, numbered, within
from include.simulate.visits import Visits, measure, midnight, moments

#: Days from one mailing to a lead to the next.
_MAILED_EVERY: Final = 4
_PAGES: Final = 1.0  #: pages of an average visit beyond the first
_HOUR: Final = 60 * MINUTE
_OPENED_AT_BEST: Final = 0.6
_OPENED_ELSE: Final = 0.1
ACCOUNTS: Final = 4  #: leads per account


def per_visit(population: Population) -> Array:
    """Pages of every lead's average visit."""
    answer: Array = 1 + _PAGES * np.exp(0.5 * population.traits[BREADTH])
    return answer


def happenings(population: Population, items: Catalogue, visits: Visits) -> list[EventRows]:
    """Everything that happens with the leads of these visits."""
    draws = population.draws.named("crm")
    return [
        _pages(population, visits, draws),
        _forms(population, visits, draws),
        *_mails(population, visits.users, draws),
        *_deals(population, visits.users, draws),
    ]


def _account(user: Positions) -> Positions:
    return user // ACCOUNTS


def _knows(population: Population, user: Positions) -> NDArray[np.bool_]:
    assert population.converts is not None  # users of a CRM are leads
    return population.converts[user]


def _pages(population: Population, visits: Visits, draws: Draws) -> EventRows:
    mean = per_visit(population)[visits.user] - 1
    counts = 1 + draws.named("pages").poisson(mean, visits.index, most=MOST - 1)
    place, ordinal, index = several(counts, visits.index)
    user, day = visits.user[place], visits.day[place]
    pages = pa.array(["blog", "docs", "features", "pricing"])
    keen = 0.25 * population.traits[PRICE][user]
    page = np.clip(np.floor(4 * draws.named("page").uniform(index) + keen), 0, 3)
    return EventRows(
        "Page Viewed",
        index,
        user,
        visits.at[place] + ordinal * MINUTE,
        day,
        account=_account(user),
        group=visits.index[place],
        properties={
            "page": pages.take(pa.array(page.astype(np.int64))),
            "seconds": np.round(
                40 * draws.named("seconds").exponential(index) * measure(population, day)
            ),
        },
        knows=_knows(population, user),
    )


def _forms(population: Population, visits: Visits, draws: Draws) -> EventRows:
    chance = 0.05 * np.exp(0.6 * population.traits[THRIFT][visits.user])
    sent = np.flatnonzero(draws.named("form").uniform(visits.index) < chance)
    user = visits.user[sent]
    return EventRows(
        "Form Submitted",
        visits.index[sent],
        user,
        visits.at[sent] + 5 * MINUTE,
        visits.day[sent],
        account=_account(user),
    )


def opening_chance(population: Population, user: Positions, hour: Array) -> Array:
    """Chance that a lead opens a mail which comes at that hour of the day."""
    apart = np.abs(hour - (population.hour[user] + 0.5)) % 24
    apart = np.minimum(apart, 24 - apart)
    usual = _OPENED_ELSE + (_OPENED_AT_BEST - _OPENED_ELSE) * np.exp(-0.5 * (apart / 1.5) ** 2)
    answer: Array = usual * np.clip(1 + 0.4 * population.traits[TASTE][user], 0.1, 1.6)
    return answer


def _mails(population: Population, leads: Positions, draws: Draws) -> list[EventRows]:
    end = np.minimum(population.leaves[leads], population.world.closing(population.plan))
    count = np.maximum(0, end - population.joined[leads] - 1) // _MAILED_EVERY
    place = np.repeat(np.arange(len(leads)), count)
    ordinal = np.arange(len(place)) - (np.cumsum(count) - count)[place]
    user = leads[place]
    day = population.joined[user] + 1 + _MAILED_EVERY * ordinal
    index = within(numbered(user), ordinal, 2**20)
    hour = 6 + 16 * draws.named("mailed").uniform(index)
    at = midnight(population, day) + (hour * 3600).astype(np.int64) * 1_000_000
    sent = EventRows("Email Delivered", index, user, at, day, account=_account(user), group=index)
    chance = opening_chance(population, user, hour)
    opened = draws.named("opened").uniform(index) < chance
    delay = np.round(15 * draws.named("delay").exponential(index[opened])).astype(np.int64)
    read = sent.where(opened)
    clicked = draws.named("clicked").uniform(read.index) < 0.15 * np.exp(
        0.4 * population.traits[LATENESS][read.user]
    )
    seen = EventRows(
        **{**vars(read), "event": "Email Opened", "at": read.at + (delay + 1) * MINUTE}
    )
    link = EventRows(**{**vars(seen), "event": "Email Link Clicked", "at": seen.at + MINUTE})
    return [sent, seen, link.where(clicked)]


def _deals(population: Population, leads: Positions, draws: Draws) -> list[EventRows]:
    index = numbered(leads)
    converts = _knows(population, leads)
    length = population.leaves[leads] - population.joined[leads]
    ends = population.world.closing(population.plan)
    tries = draws.named("trial").uniform(index) < np.where(converts, 0.8, 0.12)
    through = 0.2 + 0.6 * draws.named("trial starts").uniform(index)
    known = np.minimum(length, 60)  # of those who leave after the world's end
    day = population.joined[leads] + np.floor(through * known).astype(np.int64)
    tries &= (day < ends) & (day < population.leaves[leads])
    trials = _once(population, "Trial Started", leads[tries], day[tries])
    won = converts & (population.leaves[leads] <= ends)
    last = population.leaves[leads][won] - 1
    deals = _once(population, "Deal Won", leads[won], last)
    amount = 500 * np.exp(0.6 * population.traits[PRICE][deals.user])
    return [trials, EventRows(**{**vars(deals), "amount": np.round(amount, 2)})]


def _once(population: Population, event: str, user: Positions, day: Positions) -> EventRows:
    index = numbered(user)
    at = moments(population, user, day, within(index, 2**20 - 1, 2**20)) + _HOUR // 60
    return EventRows(event, index, user, at, day, account=_account(user))
