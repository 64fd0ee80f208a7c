"""Intervals of figures that are no metric of the platform: whole entities drawn with replacement.

By entity alone (cluster bootstrap; Field and Welsh 2007): about the weeks that were, and not about
others. Nothing is decided by them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from include.training.metrics import Estimate, Weights

#: From weights per row to a figure; NaN where it is undefined.
Statistic = Callable[[Weights], float]

REPLICATES: Final = 400
#: Share of replicates in which a figure must be defined for its interval to mean anything.
_DEFINED: Final = 0.8


class Draws:
    """Seeded draws of entities with replacement, as weights of the rows they stand for."""

    def __init__(self, entity: npt.NDArray[np.str_], seed: int) -> None:
        entities, codes = np.unique(entity, return_inverse=True)
        self.entities = len(entities)
        generator = np.random.default_rng(seed)
        self._codes = codes
        self._draws = [
            np.bincount(
                generator.integers(0, self.entities, self.entities), minlength=self.entities
            ).astype(np.float64)
            for _ in range(REPLICATES if self.entities else 0)
        ]

    def interval(self, statistic: Statistic) -> Estimate:
        """The statistic on all rows, and its 2.5 % and 97.5 % quantiles over the draws."""
        value = statistic(np.ones(len(self._codes)))
        if np.isnan(value):
            return Estimate(None, None, None)
        drawn = np.array([statistic(draw[self._codes]) for draw in self._draws])
        drawn = drawn[~np.isnan(drawn)]
        if len(drawn) < _DEFINED * REPLICATES:
            return Estimate(float(value), None, None)
        low, high = np.quantile(drawn, (0.025, 0.975))
        return Estimate(float(value), float(low), float(high))


def mean_of(value: npt.NDArray[np.float64], row: npt.NDArray[np.int64]) -> Statistic:
    """The mean of values, each weighted as the row that carries it."""

    def statistic(weights: Weights) -> float:
        weight = weights[row]
        return float((weight * value).sum() / weight.sum()) if weight.sum() > 0 else float("nan")

    return statistic
