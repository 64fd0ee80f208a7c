"""Dispersion: how far apart a reference's own instants are, as shared changes are no drift.

A holiday, a delivery or one large basket moves many entities at once, so a column may differ from
week to week by far more than independent entities would let it. Where the reference has several
instants, each is compared with the others. If some are further apart than chance makes them, the
dispersion of a column is the largest chi-square over its degrees of freedom that there is among
them: a handful of instants rather understate how far apart instants can be than overstate it. A
later window's chi-square is divided by it, as in quasi-likelihood (P. McCullagh and J. Nelder,
"Generalized Linear Models", 1989).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from include.monitoring.profiles import WindowProfile
from include.monitoring.statistics import Distance, comparable, distance
from include.monitoring.windows import AS_OF

#: More instants than snapshots could be are those of single events: their weeks are compared.
_MOST_INSTANTS: Final = 12
#: Chance that instants which differ by chance alone are taken to be further apart.
_LEVEL: Final = 0.01
_WEEK: Final = timedelta(days=7)


def with_dispersion(
    reference: WindowProfile, table: pa.Table, profile: Callable[[pa.Table], WindowProfile]
) -> WindowProfile:
    """The reference's profile, each column with its dispersion.

    Args:
        table: the reference's rows.
        profile: makes the profile of some of them, read as the reference was.
    """
    parts = _parts(table)
    if len(parts) < 2:
        return reference
    found: dict[str, list[Distance]] = {}
    for chosen in parts:
        one, rest = (profile(table.filter(rows)) for rows in (chosen, pc.invert(chosen)))
        for name in comparable(rest.columns, one.columns)[0]:
            found.setdefault(name, []).append(distance(rest.columns[name], one.columns[name]))
    columns = {
        name: replace(one, dispersion=_dispersion(found.get(name, [])))
        for name, one in reference.columns.items()
    }
    return replace(reference, columns=columns)


def _dispersion(apart: Sequence[Distance]) -> float:
    """The largest chi-square per degree of freedom if it is more than chance makes, else 1."""
    told = [one for one in apart if one.bins > 1]
    if not told or min(one.p_value for one in told) > _LEVEL / len(told):
        return 1.0
    return max(1.0, *(one.statistic / (one.bins - 1) for one in told))


def _parts(table: pa.Table) -> list[pa.Array]:
    """One mask per instant, or per week, of the rows that belong to it."""
    if AS_OF not in table.column_names or not table.num_rows:
        return []
    instants = table[AS_OF].combine_chunks()
    if len(instants.unique()) > _MOST_INSTANTS:
        last = pc.max(instants).as_py()
        since = [(last - one) // _WEEK for one in instants.to_pylist()]
        instants = pa.array(since, pa.int64())
    return [pc.equal(instants, one) for one in instants.unique()]
