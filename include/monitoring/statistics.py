"""How far two windows are apart, column by column, with the sample size in mind.

The population stability index (PSI) of a column over B bins is sum((p - q) * ln(p / q)). With n
current and m reference rows of one distribution, PSI * n * m / (n + m) is about chi-square with
B - 1 degrees of freedom (B. Yurdakul and J. Naranjo, "Statistical properties of the population
stability index", Journal of Risk Model Validation 14(4), 2020). The familiar threshold alone is
therefore wrong for small windows: 50 rows against 50 in ten bins reach 0.36 by chance on average.
A column has drifted only where PSI reaches the threshold *and* its p-value passes Benjamini and
Hochberg's procedure (JRSS B 57(1), 1995) over all judged columns.

n and m count entities, not rows, because the rows of one entity repeat each other: see `windows`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc, chdtri

from include.monitoring.windows import Sample

_MOST_BINS: Final = 10
#: Entities of the smaller window per bin: fewer, and the chi-square approximation fails.
_ENTITIES_PER_BIN: Final = 8
#: Added to every bin's count, so that an empty bin has a finite logarithm.
_SMOOTHING: Final = 0.5

Counts = npt.NDArray[np.float64]


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


@dataclass(frozen=True)
class Distance:
    """PSI of one column with what its significance depends on."""

    psi: float
    bins: int
    reference_entities: int
    current_entities: int

    @property
    def scale(self) -> float:
        """What PSI is multiplied with to be chi-square."""
        n, m = self.current_entities, self.reference_entities
        return n * m / (n + m)

    @property
    def p_value(self) -> float:
        """How likely so much PSI is when nothing changed; 1 where there is only one bin."""
        if self.bins < 2:
            return 1.0
        return float(chdtrc(self.bins - 1, self.psi * self.scale))

    def significant_from(self, level: float) -> float:
        """The PSI whose p-value is `level`."""
        if self.bins < 2:
            return float("inf")
        return float(chdtri(self.bins - 1, level)) / self.scale


def compare(
    reference: Mapping[str, Sample],
    current: Mapping[str, Sample],
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


def distance(reference: Sample, current: Sample) -> Distance:
    """PSI over the reference's deciles (fewer for few entities), or its commonest values."""
    smaller = min(reference.entities, current.entities)
    bins = min(_MOST_BINS, max(2, smaller // _ENTITIES_PER_BIN))
    before, after = _counts(reference.values, current.values, bins)
    return Distance(_psi(before, after), len(before), reference.entities, current.entities)


def _judge(
    name: str,
    found: Distance,
    reference: Sample,
    current: Sample,
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


def _counts(before: npt.NDArray[Any], after: npt.NDArray[Any], bins: int) -> tuple[Counts, Counts]:
    """Rows per bin: of values, one bin for nulls, and bins that neither window uses left out."""
    codes_before, codes_after, used = _codes(before, after, bins)
    counted = [
        np.bincount(c, minlength=used).astype(np.float64) for c in (codes_before, codes_after)
    ]
    seen = (counted[0] + counted[1]) > 0
    return counted[0][seen], counted[1][seen]


def _codes(
    before: npt.NDArray[Any], after: npt.NDArray[Any], bins: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], int]:
    known = before[~_is_null(before)]
    values, frequency = np.unique(known, return_counts=True)
    if before.dtype.kind != "f" or len(values) <= bins:
        commonest = np.sort(values[np.argsort(-frequency, kind="stable")[:bins]])
        return _matched(before, commonest), _matched(after, commonest), len(commonest) + 2
    edges = np.unique(np.quantile(known, np.arange(1, bins) / bins))
    return _binned(before, edges), _binned(after, edges), len(edges) + 2


def _binned(values: npt.NDArray[Any], edges: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    codes = np.searchsorted(edges, values, side="left")
    return np.where(_is_null(values), len(edges) + 1, codes)


def _matched(values: npt.NDArray[Any], categories: npt.NDArray[Any]) -> npt.NDArray[np.intp]:
    """Position of each value among the sorted categories; then one for others, one for nulls."""
    nulls = _is_null(values)
    if not len(categories):
        return np.where(nulls, 1, 0).astype(np.intp)
    safe = np.where(nulls, categories[0], values)
    codes = np.minimum(np.searchsorted(categories, safe), len(categories) - 1)
    codes = np.where(categories[codes] == safe, codes, len(categories))
    return np.where(nulls, len(categories) + 1, codes)


def _is_null(values: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    if values.dtype.kind == "f":
        return np.asarray(np.isnan(values))
    return np.asarray([value is None for value in values], dtype=bool)


def _psi(before: Counts, after: Counts) -> float:
    p, q = (
        (counts + _SMOOTHING) / (counts.sum() + _SMOOTHING * len(counts))
        for counts in (after, before)
    )
    return float(np.sum((p - q) * np.log(p / q)))
