"""Statistics of drift: how far two windows are apart, column by column, given the sample size.

The population stability index (PSI) of a column over B bins is sum((p - q) * ln(p / q)). With n
current and m reference rows of one distribution, PSI * n * m / (n + m) is about chi-square with
B - 1 degrees of freedom (B. Yurdakul and J. Naranjo, "Statistical properties of the population
stability index", Journal of Risk Model Validation 14(4), 2020). The familiar threshold alone is
therefore wrong for small windows: 50 rows against 50 in ten bins reach 0.36 by chance on average.
With few rows the logarithm overrates a bin that happens to be empty, as Pearson's statistic, which
has the same distribution, overrates one that hardly anybody is in; what counts is the smaller.
A column has drifted only where PSI reaches the threshold *and* its p-value passes Benjamini and
Hochberg's procedure (JRSS B 57(1), 1995) over all judged columns. Where nothing changed, the chance
that any column at all passes is the error rate, however many columns there are.

n and m count entities, not rows, because the rows of one entity repeat each other: see `windows`.
What all entities share is taken into account where the reference shows it: see `dispersion`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc, chdtri

from include.monitoring.profiles import Counts, Profile

_MOST_BINS: Final = 10
#: Entities of the smaller window per bin: fewer, and the chi-square approximation fails.
_ENTITIES_PER_BIN: Final = 8
#: Added to every bin's count, so that an empty bin has a finite logarithm.
_SMOOTHING: Final = 0.5


@dataclass(frozen=True)
class ColumnDrift:
    """One column compared."""

    column: str
    psi: float
    p_value: float
    limit: float  #: PSI from which this column would have drifted
    drifted: bool
    reference_entities: int
    current_entities: int
    reference_nulls: float  #: share of the values
    current_nulls: float
    explained: str = ""  #: why a change of this size is none: see `season`


@dataclass(frozen=True)
class Distance:
    """PSI of one column with what its significance depends on."""

    psi: float
    statistic: float  #: chi-square where nothing changed
    bins: int

    @property
    def p_value(self) -> float:
        """The chance of so much change when nothing changed; 1 where there is only one bin."""
        return float(chdtrc(self.bins - 1, self.statistic)) if self.bins > 1 else 1.0

    def significant_from(self, level: float) -> float:
        """The PSI at which a change of this kind would have `level` as its p-value."""
        if self.bins < 2 or self.statistic <= 0:
            return float("inf")
        return self.psi * float(chdtri(self.bins - 1, level)) / self.statistic


def compare(
    reference: Mapping[str, Profile],
    current: Mapping[str, Profile],
    threshold: float,
    error_rate: float,
) -> tuple[ColumnDrift, ...]:
    """Every column of `current` against the same column of `reference`, in its order."""
    distances = {name: distance(reference[name], current[name]) for name in current}
    level = _accepted_level([d.p_value for d in distances.values()], error_rate)
    return tuple(
        _judge(name, found, reference[name], current[name], threshold, level)
        for name, found in distances.items()
    )


def distance(reference: Profile, current: Profile) -> Distance:
    """PSI over the reference's deciles (fewer for few entities), or its commonest values."""
    smaller = min(reference.entities, current.entities)
    bins = min(_MOST_BINS, max(2, smaller // _ENTITIES_PER_BIN))
    before, after = _counts(reference, current, bins)
    weight = reference.entities * current.entities / (reference.entities + current.entities)
    psi = _psi(before, after)
    pearson = _pearson(before, after, reference.entities, current.entities)
    return Distance(psi, min(psi, pearson) * weight / reference.dispersion, len(before))


def _judge(
    name: str,
    found: Distance,
    reference: Profile,
    current: Profile,
    threshold: float,
    level: float,
) -> ColumnDrift:
    limit = max(threshold, found.significant_from(level))
    return ColumnDrift(
        column=name,
        psi=found.psi,
        p_value=found.p_value,
        limit=limit,
        drifted=found.psi >= limit,
        reference_entities=reference.entities,
        current_entities=current.entities,
        reference_nulls=reference.null_share,
        current_nulls=current.null_share,
    )


def _accepted_level(p_values: Sequence[float], error_rate: float) -> float:
    """Benjamini and Hochberg: the largest level at which a p-value is still a discovery."""
    ordered = np.sort(np.asarray(p_values, dtype=np.float64))
    steps = error_rate * np.arange(1, len(ordered) + 1) / max(len(ordered), 1)
    passed = np.flatnonzero(ordered <= steps)
    return float(steps[passed[-1]]) if len(passed) else error_rate / max(len(ordered), 1)


def comparable(
    reference: Mapping[str, Profile], current: Mapping[str, Profile]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The columns of `current` that can be compared, in its order; and why others cannot."""
    names: list[str] = []
    skipped: dict[str, str] = {}
    for name, after in current.items():
        before = reference.get(name)
        if before is None:
            skipped[name] = "not in the reference"
        elif not before.rows or not after.rows:
            skipped[name] = "empty"
        elif before.nulls == before.rows:
            skipped[name] = "all null in the reference"
        elif before.kind != after.kind and after.nulls < after.rows:
            skipped[name] = "numbers in one window, texts in the other"
        else:
            names.append(name)
    return tuple(names), skipped


def _counts(before: Profile, after: Profile, bins: int) -> tuple[Counts, Counts]:
    """Rows per bin: of values, one bin for nulls, and bins that neither window uses left out."""
    if before.kind == "texts" or (len(before.cuts) <= bins and not before.between.any()):
        commonest = np.sort(before.cuts[np.argsort(-before.at, kind="stable")[:bins]])
        counted = [_of_values(side, commonest) for side in (before, after)]
    else:
        edges = _quantiles(before, bins)
        counted = [_of_ranges(side, edges) for side in (before, after)]
    seen = (counted[0] + counted[1]) > 0
    return counted[0][seen], counted[1][seen]


def _quantiles(profile: Profile, bins: int) -> npt.NDArray[Any]:
    """The cuts that come closest to dividing the values into so many equal parts."""
    below = np.cumsum(profile.at + profile.between)
    wanted = below[-1] * np.arange(1, bins) / bins
    return np.unique(profile.cuts[np.searchsorted(below, wanted - 1e-6)])


def _of_ranges(profile: Profile, edges: npt.NDArray[Any]) -> Counts:
    known = profile.rows - profile.nulls
    below = profile.up_to(edges) if profile.kind == "numbers" else np.zeros(len(edges))
    return np.concatenate([np.diff([0.0, *below, known]), [profile.nulls]])


def _of_values(profile: Profile, values: npt.NDArray[Any]) -> Counts:
    known = profile.rows - profile.nulls
    found = (
        profile.exactly(values)
        if profile.cuts.dtype.kind == values.dtype.kind
        else (np.zeros(len(values)))
    )
    return np.concatenate([found, [known - found.sum(), profile.nulls]])


def _psi(before: Counts, after: Counts) -> float:
    p, q = (
        (counts + _SMOOTHING) / (counts.sum() + _SMOOTHING * len(counts))
        for counts in (after, before)
    )
    return float(np.sum((p - q) * np.log(p / q)))


def _pearson(before: Counts, after: Counts, reference: int, current: int) -> float:
    """Two samples' chi-square over the same weight as PSI; of second order they are equal."""
    p, q = after / after.sum(), before / before.sum()
    pooled = (current * p + reference * q) / (current + reference)
    return float(np.sum((p - q) ** 2 / pooled))
