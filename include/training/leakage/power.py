"""How well a score tells a label, with each row's part in the error of that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Floats: TypeAlias = npt.NDArray[np.float64]
Codes: TypeAlias = npt.NDArray[np.int64]
Flags: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class InfluenceEstimate:
    """A figure, and each row's part in its error."""

    value: float
    influence: Floats

    def __sub__(self, other: InfluenceEstimate) -> InfluenceEstimate:
        return InfluenceEstimate(self.value - other.value, self.influence - other.influence)

    def times(self, factor: float) -> InfluenceEstimate:
        """Scaled, the sign included."""
        return InfluenceEstimate(factor * self.value, factor * self.influence)

    def above(self, bound: float, entity: Codes, errors: float) -> bool:
        """Whether it is more than that by so many standard errors."""
        spread = np.sqrt((np.bincount(entity, self.influence) ** 2).sum())
        return bool(self.value > bound and self.value - bound > errors * spread)


def power(label: Floats, score: Floats, binary: bool) -> InfluenceEstimate:
    """Somers' D of the label given a score: 2 AUC − 1, or of a total the rank correlation.

    A score that is missing stands in the middle of all.
    """
    known = score[~np.isnan(score)]
    score = np.where(np.isnan(score), np.median(known) if len(known) else 0.0, score)
    if not binary:
        x, y = standard(rankdata(score)), standard(rankdata(label))
        rho = float((x * y).mean())
        return InfluenceEstimate(rho, (x * y - rho * (x**2 + y**2) / 2) / len(x))
    positive = label == 1
    count, ups = len(score), int(positive.sum())
    if not 0 < ups < count:
        return InfluenceEstimate(0.0, np.zeros(count))
    ranks = rankdata(score)
    below = np.empty(count)  # share of the other class that is below, or above; ties count half
    below[positive] = (ranks[positive] - rankdata(score[positive])) / (count - ups)
    below[~positive] = 1 - (ranks[~positive] - rankdata(score[~positive])) / ups
    auc = float(below[positive].mean())
    return InfluenceEstimate(2 * auc - 1, 2 * (below - auc) / np.where(positive, ups, count - ups))


def standard(values: Floats) -> Floats:
    """Values less their mean, in standard deviations; zeros where all are equal."""
    spread = values.std()
    return (values - values.mean()) / spread if spread > 0 else np.zeros(len(values))
