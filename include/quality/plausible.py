"""Which sizes of a quantity or an amount are plausible: by the tenant's file, or by its own past.

A currency decides how large a total is, so no number is too large by itself. Where the file says
nothing, a number is implausible that is a million times larger than what nine in ten of the
source's own numbers stay below, in whole powers of ten. Nine in ten, so that neither typing errors
nor a few large customers move the bound; a million, so that a business with small and large
customers keeps both. The past is what was accepted and arrived before the slice; where that is too
little, the slice itself, so that the first load is judged by what most of it is like.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import pyarrow.dataset as ds

from include.handoffs import Interval
from include.quality.landing import Landing, arrived
from include.quality.suites import Limits
from include.tenants.config import Source

#: Up to here a float tells a whole number from its neighbours.
EXACT: Final = 2.0**53
#: Numbers below which nothing is concluded from them.
ENOUGH: Final = 30
USUAL: Final = 0.9  #: share of the numbers that the usual power of ten is not below
FAR: Final = 6  #: powers of ten beyond the usual one
#: How far back numbers are looked at: prices rise, and a year has every season.
PAST: Final = timedelta(days=366)
MEASURES: Final = ("quantity", "amount")

#: Power of ten → numbers of that size.
Sizes = Mapping[int, int]

_SIZES: Final = """
    SELECT CAST(floor(log10(abs({column}))) AS INTEGER) AS power, count(*) FROM landed
    WHERE {column} <> 0 AND isfinite({column}) GROUP BY power
"""


def limits_of(
    source: Source, slice_: Interval, landing: Landing, landed: ds.Dataset, accepted: ds.Dataset
) -> Limits:
    """The plausible numbers of a source's events.

    Args:
        slice_: what is checked.
        landed: its rows.
        accepted: the tenant's events as accepted before.
    """
    if source.events is None:
        return {}
    limits = {}
    before = Interval(slice_.start - PAST, slice_.start)
    past = accepted.filter(arrived(source.name, before))
    for column in MEASURES:
        declared = source.events.plausible.get(column)
        if declared is None:
            sizes = _sizes(landing, column, past)
            if sum(sizes.values()) < ENOUGH:
                sizes = _added(sizes, _sizes(landing, column, landed))
            largest = largest_plausible(sizes)
            declared = (-largest, largest)
        limits[column] = declared
    return limits


def largest_plausible(sizes: Sizes) -> float:
    """The largest plausible number among such, either sign alike."""
    total = sum(sizes.values())
    if total < ENOUGH:
        return EXACT
    below, usual = 0, min(sizes)
    for power in sorted(sizes):
        usual = power
        below += sizes[power]
        if below >= USUAL * total:
            break
    return min(EXACT, 10.0 ** (usual + 1 + FAR))


def _sizes(landing: Landing, column: str, rows: ds.Dataset) -> dict[int, int]:
    counted = landing.query(_SIZES.format(column=column), rows)
    return {int(str(power)): int(str(count)) for power, count in counted}


def _added(one: Sizes, other: Sizes) -> dict[int, int]:
    return {power: one.get(power, 0) + other.get(power, 0) for power in {*one, *other}}
