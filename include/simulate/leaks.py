"""What knows the outcome though it should not: on events and on users, see `faults.Leak`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from include.simulate.businesses.shared import SOON
from include.simulate.faults import Leak
from include.simulate.leaving import NEVER
from include.simulate.population import Population
from include.simulate.rows import EventRows, Positions
from include.simulate.seeds import Array
from include.simulate.visits import DAY

#: Kinds that stand in a column of main events.
ON_EVENTS: Final = ("told", "missing", "ahead")
_COLUMNS: Final = ("amount", "quantity")


def leaked(happened: Sequence[EventRows], population: Population, main: str) -> list[EventRows]:
    """The events of some users, those of the main event with what leaks tell."""
    leaks = [fault for fault in population.faults if isinstance(fault, Leak)]
    found: list[EventRows] = []
    for rows in happened:
        if rows.event != main or rows.knows is None:
            found.append(rows)
            continue
        for leak in leaks:
            told = _told(leak, rows.knows, population, rows.index)
            struck = rows.day >= leak.at
            if leak.kind in ON_EVENTS:
                rows = _with(rows, leak, told, struck)
            elif leak.kind == "event":
                found.append(_beside(rows, leak, told & struck, population))
        found.append(rows)
    return found


def user_leaks(population: Population) -> dict[str, tuple[Positions, Array]]:
    """Attribute → per user the day from which it is said to hold, and its value; NaN is no fact."""
    found = {}
    end = population.world.closing(population.plan)
    over = population.leaves < NEVER
    if population.converts is not None:
        over &= population.converts
    ago = np.where(population.leaves < NEVER, end - population.leaves, 0)
    for leak in (fault for fault in population.faults if isinstance(fault, Leak)):
        if leak.kind not in ("overwritten", "backdated"):
            continue
        told = _told(leak, over, population, population.index)
        draws = population.draws.named("leak", leak.name, "days")
        some = np.floor(draws.uniform(population.index) * (end - population.joined))
        days = np.where(over, ago, some)  # where it is wrong, it says just anything
        if leak.kind == "overwritten":
            found[leak.name] = (population.joined, np.where(told, days, 0.0))
        else:
            since = np.maximum(end - days.astype(np.int64) - SOON, population.joined)
            found[leak.name] = (since, np.where(told, 1.0, np.nan))
    return found


def _told(
    leak: Leak, truth: NDArray[np.bool_], population: Population, index: NDArray[np.uint64]
) -> NDArray[np.bool_]:
    right = population.draws.named("leak", leak.name).uniform(index) < leak.share
    answer: NDArray[np.bool_] = np.where(right, truth, ~truth)
    return answer


def _with(
    rows: EventRows, leak: Leak, told: NDArray[np.bool_], struck: NDArray[np.bool_]
) -> EventRows:
    before = getattr(rows, leak.name) if leak.name in _COLUMNS else rows.properties.get(leak.name)
    usual = np.ones(len(told)) if before is None else _numbers(before)
    after = {
        "told": np.where(told, usual, 0.0),
        "missing": np.where(told, np.nan, usual),
        "ahead": _ahead(rows) if leak.kind == "ahead" else usual,
    }[leak.kind]
    unstruck = np.full(len(told), np.nan) if before is None else usual
    value = np.where(struck, after, unstruck)
    if leak.name == "amount":
        return replace(rows, amount=value)
    if leak.name == "quantity":
        return replace(rows, quantity=value)
    array = pa.array(value, from_pandas=True)
    return replace(rows, properties={**rows.properties, leak.name: array})


def _numbers(column: pa.Array | Array) -> Array:
    if isinstance(column, np.ndarray):
        return column
    values: Array = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return values


def _ahead(rows: EventRows) -> Array:
    """How many such events the same user has in the 30 days after each."""
    place = np.lexsort((rows.at, rows.user))
    span = np.int64(10_000 * DAY)
    low = int(rows.at.min()) if len(rows.at) else 0
    key = rows.user[place] * span + (rows.at[place] - low)
    last = np.searchsorted(key, key + SOON * DAY, side="right")
    found = np.empty(len(key))
    found[place] = last - np.searchsorted(key, key, side="right")
    return found


def _beside(
    rows: EventRows, leak: Leak, told: NDArray[np.bool_], population: Population
) -> EventRows:
    half = population.draws.named("leak", leak.name, "beside").uniform(rows.index) < 0.5
    where = told & half
    return EventRows(
        leak.name,
        rows.index[where],
        rows.user[where],
        rows.at[where],
        rows.day[where],
        account=None if rows.account is None else rows.account[where],
    )
