"""Metrics of predictions with 95 % intervals, from a bootstrap that resamples entities.

Rows of one entity are not independent (it appears in several snapshots), so whole entities are
drawn (cluster bootstrap; Field and Welsh 2007). Paired differences use the same draws for both
models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from include.models.model import Scores
from include.training.rows import Rows
from include.use_cases.declaration import TOP

REPLICATES: Final = 400
#: Share of replicates in which a metric must be defined for its interval to mean anything.
_DEFINED: Final = 0.8

Weights = npt.NDArray[np.float64]
#: From weights per row to the metric; NaN where it is undefined (one class only, no outcome).
Statistic = Callable[[Weights], float]


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval; all None where there is nothing to measure."""

    value: float | None
    low: float | None
    high: float | None


def measure(metric: str, rows: Rows, scores: Scores) -> float | None:
    """The metric's plain value, rows counted with their own weight."""
    value = _statistic(metric, rows, scores)(rows.weight)
    return None if np.isnan(value) else float(value)


class Bootstrap:
    """Seeded draws of the entities of `rows`, shared by every model measured on them."""

    def __init__(self, rows: Rows, seed: int) -> None:
        self._rows = rows
        entities, codes = np.unique(rows.entity, return_inverse=True)
        self.entities = len(entities)
        generator = np.random.default_rng(seed)
        self._codes = codes
        self._draws = [
            np.bincount(
                generator.integers(0, self.entities, self.entities), minlength=self.entities
            ).astype(np.float64)
            for _ in range(REPLICATES if self.entities else 0)
        ]

    def estimate(self, metric: str, scores: Scores) -> Estimate:
        """The metric of one model."""
        statistic = _statistic(metric, self._rows, scores)
        return self._interval(lambda weights: statistic(weights))

    def difference(self, metric: str, scores: Scores, against: Scores) -> Estimate:
        """How much better the first model is than the second, on the same draws."""
        ours = _statistic(metric, self._rows, scores)
        theirs = _statistic(metric, self._rows, against)
        return self._interval(lambda weights: ours(weights) - theirs(weights))

    def _interval(self, statistic: Statistic) -> Estimate:
        value = statistic(np.ones(len(self._rows)))
        if np.isnan(value):
            return Estimate(None, None, None)
        drawn = np.array([statistic(draw[self._codes]) for draw in self._draws])
        drawn = drawn[~np.isnan(drawn)]
        if len(drawn) < _DEFINED * REPLICATES:
            return Estimate(float(value), None, None)
        low, high = np.quantile(drawn, (0.025, 0.975))
        return Estimate(float(value), float(low), float(high))


def _statistic(metric: str, rows: Rows, scores: Scores) -> Statistic:
    if len(rows) == 0:
        return lambda _: float("nan")
    if metric == "auc":
        return _auc(rows, scores)
    if metric == "average_precision":
        return _average_precision(rows, scores)
    return _per_group(rows, _group_values(metric, rows, scores))


def _auc(rows: Rows, scores: Scores) -> Statistic:
    """Area under the ROC curve; a tie counts half."""
    order = np.argsort(scores, kind="stable")
    positive = (rows.label[order] == 1).astype(np.float64)
    starts = _tie_starts(scores[order])

    def statistic(weights: Weights) -> float:
        weight = weights[order]
        up = np.add.reduceat(weight * positive, starts)
        down = np.add.reduceat(weight * (1 - positive), starts)
        pairs = up.sum() * down.sum()
        below = np.cumsum(down) - down / 2
        return float((up * below).sum() / pairs) if pairs > 0 else float("nan")

    return statistic


def _average_precision(rows: Rows, scores: Scores) -> Statistic:
    order = np.argsort(-scores, kind="stable")
    positive = (rows.label[order] == 1).astype(np.float64)
    starts = _tie_starts(scores[order])

    def statistic(weights: Weights) -> float:
        weight = weights[order]
        up = np.add.reduceat(weight * positive, starts)
        seen = np.cumsum(np.add.reduceat(weight, starts))
        precision = np.cumsum(up) / np.where(seen > 0, seen, 1.0)
        return float((up * precision).sum() / up.sum()) if up.sum() > 0 else float("nan")

    return statistic


def _tie_starts(ordered: Scores) -> npt.NDArray[np.int64]:
    return np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))


def _group_values(metric: str, rows: Rows, scores: Scores) -> dict[str, npt.NDArray[np.float64]]:
    """Per ranking with an outcome: `value`, and `row`, one row of it that carries its weight.

    Ties are broken by the rows' order, which is that of item ids.
    """
    codes = np.unique(rows.group, return_inverse=True)[1]
    order = np.lexsort((np.arange(len(rows)), -scores, codes))
    starts = np.flatnonzero(np.concatenate([[True], np.diff(codes[order]) > 0]))
    position = np.arange(len(rows)) - np.repeat(starts, np.diff([*starts, len(rows)]))
    shown = position < TOP
    bought = (rows.label[order] == 1) & shown
    if metric == f"hit@{TOP}":
        value = np.maximum.reduceat(bought, starts).astype(np.float64)
    else:
        discount = 1.0 / np.log2(np.arange(TOP) + 2.0)
        gain = np.where(bought, discount[np.minimum(position, TOP - 1)], 0.0)
        ideal = np.concatenate([[0.0], np.cumsum(discount)])
        most = ideal[np.minimum(rows.relevant[order][starts], TOP)]
        value = np.add.reduceat(gain, starts) / np.where(most > 0, most, 1.0)
    judged = rows.relevant[order][starts] > 0
    return {"value": value[judged], "row": order[starts][judged].astype(np.float64)}


def _per_group(rows: Rows, groups: dict[str, npt.NDArray[np.float64]]) -> Statistic:
    """Mean over the rankings, each weighted by the draws of its entity."""
    value, row = groups["value"], groups["row"].astype(np.int64)

    def statistic(weights: Weights) -> float:
        weight = weights[row]
        return float((weight * value).sum() / weight.sum()) if weight.sum() > 0 else float("nan")

    return statistic
