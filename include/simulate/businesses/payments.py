"""Payments: `Payment Made`, of which some are frauds; `Payment Disputed` when one is noticed."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from include.simulate.businesses.shared import MINUTE, several
from include.simulate.catalogue import Catalogue, Positions
from include.simulate.faults import FraudPattern, drifts
from include.simulate.population import BREADTH, PRICE, Population
from include.simulate.rows import EventRows
from include.simulate.seeds import Array, Draws, Index
from include.simulate.visits import DAY, Visits, measure, midnight

COUNTRIES: Final = ("AT", "BR", "DE", "FR", "IN", "US")
MERCHANTS: Final = 400
_TRAVELS: Final = 0.02  #: share of the honest payments made abroad
_NEW_DEVICE: Final = 0.03
_NOTICED: Final = 0.85  #: share of the frauds that are disputed
_MISTAKEN: Final = 0.0005  #: share of the honest payments that are disputed all the same
_NOTICED_AFTER: Final = 18.0  #: days, on average
_DEVICES: Final = 4
#: Payments of an incident, and the hours they take.
_SIZES: Final = {"card_testing": (12, 0.3), "takeover": (4, 5.0), "night": (1, 0.0)}


def per_visit(population: Population) -> Array:
    """Payments of a visit, frauds not counted."""
    return np.ones(population.users)


def happenings(population: Population, items: Catalogue, visits: Visits) -> list[EventRows]:
    """The payments of these visits, the frauds on their users, and what comes back of both."""
    if not len(visits.user):
        return []
    draws = population.draws.named("payments")
    made = [_honest(population, visits, draws)]
    patterns = [fault for fault in population.faults if isinstance(fault, FraudPattern)]
    for number, pattern in enumerate(patterns):
        made.append(_frauds(population, visits, pattern, number, draws))
    disputes = [_disputes(population, rows, draws) for rows in made]
    return [*made, *disputes]


def usual_amount(population: Population, user: Positions) -> Array:
    """What half of the user's payments stay below."""
    answer: Array = 25 * np.exp(0.5 * population.traits[PRICE][user])
    return answer


def home(population: Population) -> Positions:
    """Number of every user's country."""
    chance = population.draws.named("country").uniform(population.index)
    return np.floor(chance * len(COUNTRIES)).astype(np.int64)


def _honest(population: Population, visits: Visits, draws: Draws) -> EventRows:
    user, index = visits.user, visits.index
    spread = 0.5 + 0.1 * np.clip(population.traits[BREADTH][user], -2, 2)
    amount = usual_amount(population, user) * np.exp(spread * draws.named("amount").normal(index))
    abroad = draws.named("abroad").uniform(index) < _TRAVELS
    new = draws.named("new device").uniform(index) < _NEW_DEVICE
    return _payments(
        population,
        draws,
        index,
        user,
        visits.at,
        visits.day,
        amount,
        abroad,
        new,
        pa.nulls(len(user), pa.string()),
    )


def _frauds(
    population: Population, visits: Visits, pattern: FraudPattern, number: int, draws: Draws
) -> EventRows:
    """Incidents befall users in proportion to their own payments within the pattern's time.

    Each candidate is one of the user's own visits: so many of them that the pattern's share comes
    out, thinned day by day where the prior drifts.
    """
    size, hours = _SIZES[pattern.kind]
    named = draws.named("fraud", pattern.kind, number)
    rate = pattern.share / size / max(1e-9, 1 - pattern.share)
    log_factor = np.zeros(len(visits.day))
    for _, drift in drifts(population.faults, "prior"):
        log_factor += drift.size * drift.strength(visits.day)
    chance = np.minimum(rate * np.exp(log_factor), 1.0)
    chance[(visits.day < pattern.at) | (visits.day >= pattern.until)] = 0.0
    struck = np.flatnonzero(named.named("struck").uniform(visits.index) < chance)
    index, day = visits.index[struck], visits.day[struck]
    counts = np.full(len(struck), size)
    if size > 1:
        counts = counts + named.named("size").poisson(0.5 * size, index) - round(0.5 * size)
        counts = np.maximum(counts, 8 if pattern.kind == "card_testing" else 2)
    place, ordinal, nth = several(counts, index)
    user, day = visits.user[struck][place], day[place]
    start = named.named("hour").uniform(index)[place] * 24
    if pattern.kind == "night":
        start = 1 + 3 * start / 24
    begin = midnight(population, day) + (start * 3600).astype(np.int64) * 1_000_000
    gap = hours * 60 * MINUTE / np.maximum(counts[place], 1)
    at = begin + ((ordinal + named.named("gap").uniform(nth)) * gap).astype(np.int64)
    at = np.minimum(at, midnight(population, day) + DAY - 1_000_000)
    usual, luck = usual_amount(population, user), named.named("amount").uniform(nth)
    amount = {
        "card_testing": 0.5 + 2.5 * luck,
        "takeover": usual * (2.5 + 4 * luck),
        "night": usual * (6 + 10 * luck),
    }[pattern.kind]
    abroad = np.full(len(nth), pattern.kind == "takeover")
    new = np.full(len(nth), pattern.kind != "night")
    quiet = _quiet(population, day, named, nth)
    amount = np.where(quiet, usual * np.exp(0.5 * named.named("quiet").normal(nth)), amount)
    return _payments(
        population,
        named,
        nth | np.uint64((number + 1) << 56),
        user,
        at,
        day,
        amount,
        abroad & ~quiet,
        new | quiet,
        pa.repeat(pattern.kind, len(nth)),
    )


def _quiet(population: Population, day: Positions, named: Draws, index: Index) -> NDArray[np.bool_]:
    """Another concept: frauds with usual amounts from the victim's own country, as new devices."""
    quiet = np.zeros(len(day), dtype=bool)
    for number, drift in drifts(population.faults, "concept"):
        chance = drift.size * drift.strength(day)
        quiet |= named.named("concept", number).uniform(index) < chance
    return quiet


def _payments(
    population: Population,
    draws: Draws,
    index: Index,
    user: Positions,
    at: Positions,
    day: Positions,
    amount: Array,
    abroad: NDArray[np.bool_],
    new: NDArray[np.bool_],
    pattern: pa.Array,
) -> EventRows:
    away = 1 + np.floor(draws.named("away").uniform(index) * (len(COUNTRIES) - 1))
    country = (home(population)[user] + np.where(abroad, away, 0)) % len(COUNTRIES)
    device = np.floor(draws.named("device").uniform(index) * 2).astype(np.int64)
    stranger = _DEVICES + np.floor(draws.named("stranger").uniform(index) * 10_000)
    number = np.where(new, stranger, device).astype(np.int64)
    merchant = np.floor(MERCHANTS * draws.named("merchant").uniform(index) ** 2).astype(np.int64)
    fraud = np.asarray(pattern.is_valid())
    return EventRows(
        "Payment Made",
        index,
        user,
        at,
        day,
        account=merchant,
        group=index,
        amount=np.maximum(np.round(amount * measure(population, day), 2), 0.01),
        properties={
            "country": pa.array(COUNTRIES).take(pa.array(country.astype(np.int64))),
            "device": pc.binary_join_element_wise("d", _text(user), _text(number), "-"),
        },
        knows=fraud,
        outcome=fraud,
        pattern=pattern,
    )


def _disputes(population: Population, made: EventRows, draws: Draws) -> EventRows:
    assert made.outcome is not None  # payments know whether they are frauds
    chance = np.where(made.outcome, _NOTICED, _MISTAKEN)
    after = 1 + (_NOTICED_AFTER - 1) * draws.named("noticed after").exponential(made.index)
    at = made.at + (after * DAY).astype(np.int64) // 1_000_000 * 1_000_000
    end = midnight(population, np.array([population.world.closing(population.plan)]))[0]
    noticed = (draws.named("noticed").uniform(made.index) < chance) & (at < end)
    rows = EventRows(
        "Payment Disputed",
        made.index,
        made.user,
        at,
        (at - midnight(population, np.zeros(1, dtype=np.int64))[0]) // DAY,
        account=made.account,
        group=made.group,
        amount=made.amount,
    )
    return rows.where(noticed)


def _text(numbers: Positions) -> pa.Array:
    return pa.array(numbers).cast(pa.string())
