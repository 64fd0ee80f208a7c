"""Metrics of predictions with 95 % intervals that count entities and times, not rows.

Rows of one entity are not independent (it appears in several snapshots), nor are those of one time
(what happens then happens to all): see `registry.two_way`. Paired differences are those of the two
models' influences on the same rows.

Every metric rises with quality, so that a difference above zero is always an improvement: what is
a loss elsewhere is stated as a skill here (forecast accuracy is 1 − WAPE; the Brier skill score
compares with always predicting the base rate; Murphy 1988).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from include.models.measures import ROWS, Judged
from include.models.model import Scores
from include.registry.two_way import Swing, Uncertainty, blocks_of, two_way
from include.training.rows import LabelledRows
from include.use_cases.declaration import TOP

#: Metrics that compare positives with negatives, and how many entities of either they need.
OF_CLASSES: Final = frozenset(ROWS) - {"forecast_accuracy"}
FEWEST_OF_A_CLASS: Final = 2
#: Of a place in a ranking, and of the best ranking of so many relevant items (Järvelin 2002).
_DISCOUNT: Final = 1.0 / np.log2(np.arange(TOP) + 2.0)
_IDEAL: Final = np.concatenate([[0.0], np.cumsum(_DISCOUNT)])

Weights = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Lists:
    """The lists of a list model: group → item ids, best first; groups without a list are absent."""

    items: Mapping[str, Sequence[str]]


#: A score per row, or lists.
Answers = Scores | Lists


def pick(answers: Answers, mask: npt.NDArray[np.bool_]) -> Answers:
    """The answers for the rows of the mask."""
    return answers if isinstance(answers, Lists) else answers[mask]


@dataclass(frozen=True)
class Estimate:
    """A value and its 95 % interval; all None where there is nothing to measure."""

    value: float | None
    low: float | None
    high: float | None
    uncertainty: Uncertainty | None = None  #: what the interval comes from, where there is one

    @property
    def figures(self) -> dict[str, float | None]:
        """Value and interval, as documents show them."""
        return {"value": self.value, "low": self.low, "high": self.high}


NOTHING: Final = Estimate(None, None, None)


def measure(metric: str, rows: LabelledRows, scores: Answers) -> float | None:
    """The metric's plain value; a ranking counts as the row that carries its weight."""
    if metric in ROWS and not isinstance(scores, Lists):
        judged = judge(metric, rows, scores)
        return None if judged is None else judged[0]
    answers = _answered(metric, rows, scores)
    weight = rows.weight[answers.row]
    return float((weight * answers.value).sum() / weight.sum()) if weight.sum() > 0 else None


class Intervals:
    """Estimates on `rows`, whose entities and blocks of time are found once for all models.

    Args:
        reach: how far ahead of a snapshot labels look; snapshots within that are one block.
    """

    def __init__(self, rows: LabelledRows, reach: timedelta) -> None:
        self._rows = rows
        self.block = blocks_of(rows.as_of, reach)
        self.entities = len(np.unique(rows.entity))

    def estimate(self, metric: str, scores: Answers) -> Estimate:
        """The metric of one model."""
        return self._of(metric, judge(metric, self._rows, scores))

    def difference(self, metric: str, scores: Answers, against: Answers) -> Estimate:
        """How much better the first model is than the second, on the same rows."""
        ours, theirs = (judge(metric, self._rows, answered) for answered in (scores, against))
        if ours is None or theirs is None:
            return NOTHING
        return self._of(metric, (ours[0] - theirs[0], ours[1] - theirs[1]))

    def swing(self, metric: str, scores: Answers, against: Answers | None = None) -> Swing:
        """How much the metric, or its difference to another model's, varies between blocks."""
        figures, errors = [], []
        for number in range(int(self.block.max(initial=-1)) + 1):
            mask = self.block == number
            part = self._rows.where(mask)
            ours = judge(metric, part, pick(scores, mask))
            theirs = (0.0, 0.0) if against is None else judge(metric, part, pick(against, mask))
            if ours is not None and theirs is not None:
                figures.append(ours[0] - theirs[0])
                influence = ours[1] - theirs[1]
                errors.append(two_way(influence, part.entity, self.block[mask] * 0).by_entity)
        return Swing.among(figures, errors)

    def _of(self, metric: str, judged: Judged | None) -> Estimate:
        if judged is None:
            return NOTHING
        value, influence = judged
        return estimated(self._rows, metric, value, influence, self.block)


def estimated(
    rows: LabelledRows, metric: str, value: float, influence: Weights, block: npt.NDArray[np.int64]
) -> Estimate:
    """A value with its interval, from the rows' influences.

    There is no interval where a class has fewer than two entities, or where one entity makes nearly
    all of the value.
    """
    if metric in OF_CLASSES:
        classes = [rows.entity[rows.label == 1], rows.entity[rows.label != 1]]
        if min(len(np.unique(entities)) for entities in classes) < FEWEST_OF_A_CLASS:
            return Estimate(value, None, None)
    uncertainty = two_way(influence, rows.entity, block)
    if not np.isfinite(uncertainty.by_entity):
        return Estimate(value, None, None)
    width = uncertainty.half_width()
    if not np.isfinite(width):
        return Estimate(value, None, None, uncertainty)
    return Estimate(value, value - width, value + width, uncertainty)


def judge(metric: str, rows: LabelledRows, scores: Answers) -> Judged | None:
    """The metric and each row's influence on it; None where the metric is undefined."""
    if not len(rows):
        return None
    if metric in ROWS and not isinstance(scores, Lists):
        return ROWS[metric](rows.label, scores)
    answers = _answered(metric, rows, scores)
    value, row = answers.value, answers.row
    if not len(value):
        return None
    mean = float(value.mean())
    influence = np.zeros(len(rows))
    influence[row] = (value - mean) / len(value)
    return mean, influence


@dataclass(frozen=True)
class _Answered:
    """A value per ranking or list whose entity wanted something."""

    value: npt.NDArray[np.float64]
    row: npt.NDArray[np.int64]  #: one of its rows, which carries its weight


def _answered(metric: str, rows: LabelledRows, answers: Answers) -> _Answered:
    if isinstance(answers, Lists):
        return _of_lists(metric, rows, answers)
    return _of_rankings(metric, rows, answers)


def _of_rankings(metric: str, rows: LabelledRows, scores: Scores) -> _Answered:
    """Ties are broken by the rows' order, which is that of item ids."""
    if not len(rows):
        return _Answered(np.empty(0), np.empty(0, np.int64))
    codes = np.unique(rows.group, return_inverse=True)[1]
    order = np.lexsort((np.arange(len(rows)), -scores, codes))
    starts = np.flatnonzero(np.concatenate([[True], np.diff(codes[order]) > 0]))
    position = np.arange(len(rows)) - np.repeat(starts, np.diff([*starts, len(rows)]))
    shown = position < TOP
    bought = (rows.label[order] == 1) & shown
    if metric == f"hit@{TOP}":
        value = np.maximum.reduceat(bought, starts).astype(np.float64)
    else:
        gain = np.where(bought, _DISCOUNT[np.minimum(position, TOP - 1)], 0.0)
        most = _IDEAL[np.minimum(rows.relevant[order][starts], TOP)]
        value = np.add.reduceat(gain, starts) / np.where(most > 0, most, 1.0)
    judged = rows.relevant[order][starts] > 0
    return _Answered(value[judged], order[starts][judged])


def _of_lists(metric: str, rows: LabelledRows, lists: Lists) -> _Answered:
    """Lists may hold items that have no row."""
    _, first = np.unique(rows.group, return_index=True)
    first = first[rows.relevant[first] > 0]
    value = np.zeros(len(first))
    for place, row in enumerate(first.tolist()):
        items = set(rows.wanted[row])
        hits = [item in items for item in lists.items.get(str(rows.group[row]), ())[:TOP]]
        if metric == f"hit@{TOP}":
            value[place] = any(hits)
        else:
            value[place] = _DISCOUNT[: len(hits)][hits].sum() / _IDEAL[min(len(items), TOP)]
    return _Answered(value, first)
