"""When users are active: Poisson processes of their own pace, through the seasons, while there.

With constant rates of leaving this is the Pareto/NBD family of customer bases (Schmittlein,
Morrison and Colombo, Counting Your Customers, Management Science 1987).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from include.simulate import seasons
from include.simulate.faults import drifts
from include.simulate.population import PERIOD, Population
from include.simulate.seeds import Array, Draws, Index, within

Positions = NDArray[np.int64]

#: At most so many visits of one user, which is also how they are told apart.
MOST: Final = 2**20
DAY: Final = 86_400_000_000  #: in microseconds
_OWN_HOUR: Final = 0.6  #: share of the visits around the user's own hour


@dataclass(frozen=True)
class Visits:
    """One row per visit; not in the order of time."""

    user: Positions
    index: Index  #: of draws, and unique within the tenant
    day: Positions
    at: NDArray[np.int64]  #: microseconds since 1970
    users: Positions  #: all whose visits these are, those without any included


def visits(population: Population, low: int, high: int) -> Visits:
    """The visits of the users from `low` to `high`, the last excluded."""
    rows = np.arange(low, min(high, population.users))
    first = population.joined[rows]
    last = np.minimum(population.leaves[rows], population.world.days)
    ends, rates, starts = stretches(population, rows, first, last)
    total = ends[:, -1]
    user, ordinal, reached = _arrivals(population.draws.named("visit"), rows, total)
    place = user - (rows[0] if len(rows) else 0)
    periods = ends.shape[1]
    if periods == 1:
        period = np.zeros(len(place), dtype=np.int64)
        before = np.zeros(len(place))
    else:
        offset = np.concatenate([[0.0], np.cumsum(total + 1.0)])[:-1]
        flat = (ends + offset[:, None]).ravel()
        found = np.searchsorted(flat, reached + offset[place], side="left")
        period = np.clip(found - place * periods, 0, periods - 1)
        before = np.where(period > 0, ends[place, period - 1], 0.0)
    clock = starts[place, period] + (reached - before) / rates[place, period]
    day = np.searchsorted(population.clock, clock, side="left") - 1
    day = np.clip(day, first[place], last[place] - 1).astype(np.int64)
    index = within(user.astype(np.uint64), ordinal, MOST)
    return Visits(user, index, day, moments(population, user, day, index), rows)


def moments(
    population: Population, user: Positions, day: Positions, index: Index
) -> NDArray[np.int64]:
    """An instant of the day for each index: around the user's hour, or as the business goes."""
    draws = population.draws.named("hour")
    own = draws.named("own").uniform(index) < _OWN_HOUR
    around = population.hour[user] + 0.5 + 1.5 * draws.named("around").normal(index)
    cumulative = seasons.hours(population.world.kind.season)
    usual = draws.named("usual").one_of(cumulative, index) + draws.named("rest").uniform(index)
    hour = np.where(own, around, usual)
    for _, drift in drifts(population.faults, "covariate"):
        hour = hour + 3 * drift.size * drift.strength(day)
    seconds = np.floor((hour % 24) * 3600).astype(np.int64)
    answer: Positions = midnight(population, day) + seconds * 1_000_000
    return answer


def midnight(population: Population, day: Positions) -> NDArray[np.int64]:
    """The beginning of days, in microseconds since 1970."""
    first = int(population.world.instant(0).timestamp()) // 86_400
    return (day + first) * DAY


def measure(population: Population, day: Positions) -> Array:
    """Factor of amounts and durations on a day: 1 unless covariates have drifted."""
    factor = np.ones(len(day))
    for _, drift in drifts(population.faults, "covariate"):
        factor *= np.exp(0.5 * drift.size * drift.strength(day))
    return factor


def stretches(
    population: Population, rows: Positions, first: Positions, last: Positions
) -> tuple[Array, Array, Array]:
    """Users × periods: expected visits up to the end of each, their rate, the clock's start."""
    clock = population.clock
    first, last = np.minimum(first, len(clock) - 1), np.minimum(last, len(clock) - 1)
    rate = population.visits[rows][:, None]
    if population.path is None:
        start, end = clock[first][:, None], clock[last][:, None]
        return rate * (end - start), rate, start
    rates = rate * population.path[rows]
    edges = np.minimum(np.arange(rates.shape[1] + 1) * PERIOD, len(clock) - 1)
    start = clock[np.clip(edges[None, :-1], first[:, None], last[:, None])]
    end = clock[np.clip(edges[None, 1:], first[:, None], last[:, None])]
    return np.cumsum(rates * (end - start), axis=1), rates, start


def _arrivals(draws: Draws, rows: Positions, total: Array) -> tuple[Positions, Positions, Array]:
    """Arrivals of unit Poisson processes up to each total: user, ordinal, how far.

    Gaps are drawn for more arrivals than there will be with any likelihood, and cut off.
    """
    most = np.ceil(total + 7 * np.sqrt(total) + 15).astype(np.int64)
    most = np.where(total > 0, np.minimum(most, MOST), 0)
    starts = np.concatenate([[0], np.cumsum(most)])
    place = np.repeat(np.arange(len(rows)), most)
    ordinal = np.arange(starts[-1]) - starts[place]
    gaps = draws.exponential(within(rows[place].astype(np.uint64), ordinal, MOST))
    summed = np.concatenate([[0.0], np.cumsum(gaps)])
    reached = summed[1:] - summed[starts[place]]
    kept = reached < total[place]
    return rows[place[kept]], ordinal[kept], reached[kept]
