"""Metrics of predictions with 95 % intervals, for which neither entities nor times are many.

Rows of one entity are not independent (it appears in several snapshots), nor are those of one time
(what happens then happens to all): see `registry.two_way`. Paired differences are those of the two
models' influences on the same rows.

Every metric rises with quality, so that a difference above zero is always an improvement: what is
a loss elsewhere is stated as a skill here (forecast accuracy is 1 − WAPE; the Brier skill score
compares with always predicting the base rate; Murphy 1988).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

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
#: From weights per row to the metric; NaN where it is undefined (one class only, no outcome).
Statistic = Callable[[Weights], float]


@dataclass(frozen=True)
class Lists:
    """What a list model answered: group → item ids, best first. A group without one got nothing."""

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
    """The metric's plain value, rows counted with their own weight."""
    value = statistic_of(metric, rows, scores)(rows.weight)
    return None if np.isnan(value) else float(value)


class Intervals:
    """The entities and the blocks of time of `rows`, shared by every model measured on them.

    Args:
        reach: how long after a snapshot its labels are about; snapshots within it are one block.
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
        ours, theirs = (judge(metric, self._rows, found) for found in (scores, against))
        if ours is None or theirs is None:
            return NOTHING
        return self._of(metric, (ours[0] - theirs[0], ours[1] - theirs[1]))

    def swing(self, metric: str, scores: Answers, against: Answers | None = None) -> Swing:
        """How much the metric, or its difference to another model's, varies between blocks."""
        found, errors = [], []
        for number in range(int(self.block.max(initial=-1)) + 1):
            mask = self.block == number
            part = self._rows.where(mask)
            ours = judge(metric, part, pick(scores, mask))
            theirs = (0.0, 0.0) if against is None else judge(metric, part, pick(against, mask))
            if ours is not None and theirs is not None:
                found.append(ours[0] - theirs[0])
                influence = ours[1] - theirs[1]
                errors.append(two_way(influence, part.entity, self.block[mask] * 0).by_entity)
        return Swing.among(found, errors)

    def _of(self, metric: str, found: Judged | None) -> Estimate:
        if found is None:
            return NOTHING
        value, influence = found
        return estimated(self._rows, metric, value, influence, self.block)


def estimated(
    rows: LabelledRows, metric: str, value: float, influence: Weights, block: npt.NDArray[np.int64]
) -> Estimate:
    """A value with its interval.

    Without one where a class has fewer than two entities, or one entity makes nearly all of it.
    """
    if metric in OF_CLASSES:
        classes = [rows.entity[rows.label == 1], rows.entity[rows.label != 1]]
        if min(len(np.unique(one)) for one in classes) < FEWEST_OF_A_CLASS:
            return Estimate(value, None, None)
    uncertainty = two_way(influence, rows.entity, block)
    if not np.isfinite(uncertainty.by_entity):
        return Estimate(value, None, None)
    width = uncertainty.half_width()
    if not np.isfinite(width):
        return Estimate(value, None, None, uncertainty)
    return Estimate(value, value - width, value + width, uncertainty)


def judge(metric: str, rows: LabelledRows, scores: Answers) -> Judged | None:
    """The metric, and of each row its influence on it; None where it is undefined."""
    if not len(rows):
        return None
    if metric in ROWS and not isinstance(scores, Lists):
        return ROWS[metric](rows.label, scores)
    lists = isinstance(scores, Lists)
    found = (_list_values if lists else _group_values)(metric, rows, scores)  # type: ignore[arg-type]
    value, row = found["value"], found["row"]
    if not len(value):
        return None
    mean = float(value.mean())
    influence = np.zeros(len(rows))
    influence[row] = (value - mean) / len(value)
    return mean, influence


def statistic_of(metric: str, rows: LabelledRows, scores: Answers) -> Statistic:
    """The metric of a model's answers as a function of the rows' weights."""
    if len(rows) == 0:
        return lambda _: float("nan")
    if isinstance(scores, Lists):
        return mean_of(**_list_values(metric, rows, scores))
    if metric in _STATISTICS:
        return _STATISTICS[metric](rows, scores)
    return mean_of(**_group_values(metric, rows, scores))


def mean_of(value: npt.NDArray[np.float64], row: npt.NDArray[np.int64]) -> Statistic:
    """Mean of values, each weighted by the draws of the row it belongs to."""

    def statistic(weights: Weights) -> float:
        weight = weights[row]
        return float((weight * value).sum() / weight.sum()) if weight.sum() > 0 else float("nan")

    return statistic


def _auc(rows: LabelledRows, scores: Scores) -> Statistic:
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


def _average_precision(rows: LabelledRows, scores: Scores) -> Statistic:
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


def _group_values(metric: str, rows: LabelledRows, scores: Scores) -> dict[str, npt.NDArray[Any]]:
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
        gain = np.where(bought, _DISCOUNT[np.minimum(position, TOP - 1)], 0.0)
        most = _IDEAL[np.minimum(rows.relevant[order][starts], TOP)]
        value = np.add.reduceat(gain, starts) / np.where(most > 0, most, 1.0)
    judged = rows.relevant[order][starts] > 0
    return {"value": value[judged], "row": order[starts][judged]}


def _list_values(metric: str, rows: LabelledRows, lists: Lists) -> dict[str, npt.NDArray[Any]]:
    """`_group_values` where the answers are lists, which may hold what is no row."""
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
    return {"value": value, "row": first}


def _brier_skill(rows: LabelledRows, scores: Scores) -> Statistic:
    """1 − Brier score / Brier score of the base rate (Murphy 1988)."""

    def statistic(weights: Weights) -> float:
        rate = (weights * rows.label).sum() / max(weights.sum(), 1.0)
        usual = (weights * (rate - rows.label) ** 2).sum()
        ours = (weights * (scores - rows.label) ** 2).sum()
        return float(1 - ours / usual) if usual > 0 else float("nan")

    return statistic


def _forecast_accuracy(rows: LabelledRows, scores: Scores) -> Statistic:
    """1 − WAPE: one minus the absolute errors' share of what there was in all."""
    error, size = np.abs(rows.label - scores), np.abs(rows.label)

    def statistic(weights: Weights) -> float:
        total = (weights * size).sum()
        return float(1 - (weights * error).sum() / total) if total > 0 else float("nan")

    return statistic


def _in_top(share: float, *, lift: bool) -> Callable[[LabelledRows, Scores], Statistic]:
    """Share of positives among the best-scored `share` of rows; as a lift, over the base rate.

    Rows of equal score share what room is left.
    """

    def of(rows: LabelledRows, scores: Scores) -> Statistic:
        order = np.argsort(-scores, kind="stable")
        positive = (rows.label[order] == 1).astype(np.float64)
        starts = _tie_starts(scores[order])

        def statistic(weights: Weights) -> float:
            weight = weights[order]
            up = np.add.reduceat(weight * positive, starts)
            tied = np.add.reduceat(weight, starts)
            total = tied.sum()
            if not total or not up.sum():
                return float("nan")
            room = np.clip(share * total - (np.cumsum(tied) - tied), 0, tied)
            found = (up * room / np.where(tied > 0, tied, 1.0)).sum() / (share * total)
            return float(found / (up.sum() / total) if lift else found)

        return statistic

    return of


#: Metric → its statistic over rows; those of rankings are means over groups.
_STATISTICS: Final[Mapping[str, Callable[[LabelledRows, Scores], Statistic]]] = {
    "auc": _auc,
    "average_precision": _average_precision,
    "brier_skill": _brier_skill,
    "lift@10%": _in_top(0.10, lift=True),
    "precision@1%": _in_top(0.01, lift=False),
    "forecast_accuracy": _forecast_accuracy,
}
