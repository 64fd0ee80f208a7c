"""Metrics of matured predictions: a value, and how much each entity moves it.

A row measure reads outcomes and scores; a list measure reads one entity's list and what that entity
wanted, and its metric is the mean. Either gives every entity's influence on the value, from which
come the standard error, and that of the difference of two models on the same entities
(infinitesimal jackknife; B. Efron, "The Jackknife, the Bootstrap and Other Resampling Plans",
1982; for the area under the curve it is E. DeLong, D. DeLong and D. Clarke-Pearson, Biometrics 44,
1988). A new metric is a function here and a line in `ROWS` or `LISTS`. All rise with quality.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from include.models.rates import Rates

Floats = npt.NDArray[np.float64]
#: Influences sum to 0; one is the derivative of the value with respect to its entity's weight.
Judged = tuple[float, Floats]
RowMeasure = Callable[[Floats, Floats], Judged | None]
ListMeasure = Callable[[Sequence[str], Collection[str]], float]

TOP: Final = 10


@dataclass(frozen=True)
class EntityMetric:
    """A metric of one model on one set of entities."""

    value: float
    entities: tuple[str, ...]
    influence: Floats
    rates: Rates | None = None  #: where scores are probabilities

    @property
    def error(self) -> float:
        """Standard error of the value."""
        return _error(self.influence)

    @property
    def effective(self) -> float:
        """How many entities the error rests on: few, where few move the value.

        The degrees of freedom of F. Satterthwaite, Biometrics Bulletin 2(6), 1946.
        """
        squares = self.influence**2
        fourth = float((squares**2).sum())
        return float(squares.sum()) ** 2 / fourth if fourth else float(len(squares))


def measure_rows(
    metric: str, entities: Sequence[str], outcome: Floats, score: Floats
) -> EntityMetric | None:
    """A row measure; None where the metric means nothing, as with outcomes all alike."""
    judged = ROWS[metric](outcome, score) if len(outcome) else None
    if judged is None:
        return None
    return EntityMetric(judged[0], tuple(entities), judged[1], _rates(outcome, score))


def measure_lists(
    metric: str,
    lists: Mapping[str, Sequence[str]],
    wanted: Mapping[tuple[str, str], Collection[str]],
) -> EntityMetric | None:
    """A list measure: the mean over what was wanted of those who have a list.

    Args:
        wanted: by whom it is evidence of, and whose list was to hold it; mostly one and the same.
            Items of a basket ask each for its own list; the basket is one piece of evidence.
    """
    asked = sorted(key for key, items in wanted.items() if items and lists.get(key[1]))
    if not asked:
        return None
    values = np.array([LISTS[metric](lists[key[1]], wanted[key]) for key in asked])
    entities, of = np.unique([key[0] for key in asked], return_inverse=True)
    moved = np.bincount(of, values - values.mean()) / len(values)
    return EntityMetric(float(values.mean()), tuple(entities.tolist()), moved)


def difference(ours: EntityMetric, theirs: EntityMetric) -> tuple[float, float] | None:
    """How much better ours is, with standard error; None unless both are of the same entities."""
    if ours.entities != theirs.entities:
        return None
    return ours.value - theirs.value, _error(ours.influence - theirs.influence)


def log_odds(rate: float) -> float:
    """The logarithm of the odds of a rate."""
    return math.log(rate / (1 - rate))


def area_under_curve(positive: npt.NDArray[np.bool_], score: Floats) -> float:
    """Share of (positive, negative) pairs that `score` orders rightly, ties counting half."""
    up, down = int(positive.sum()), int((~positive).sum())
    ranks = rankdata(score)
    return float((ranks[positive].sum() - up * (up + 1) / 2) / (up * down))


def _rates(outcome: Floats, score: Floats) -> Rates | None:
    probabilities = bool(((score >= 0) & (score <= 1)).all() and np.isin(outcome, (0, 1)).all())
    if not probabilities or len(outcome) < 2:
        return None
    error = float(np.std(outcome - score, ddof=1)) / math.sqrt(len(outcome))
    return Rates(float(outcome.mean()), float(score.mean()), error)


def _error(influence: Floats) -> float:
    count = len(influence)
    return math.sqrt(float((influence**2).sum()) * count / (count - 1)) if count > 1 else math.inf


def _auc(outcome: Floats, score: Floats) -> Judged | None:
    positive = outcome == 1
    up, down = int(positive.sum()), int((~positive).sum())
    if not up or not down:
        return None
    value = area_under_curve(positive, score)
    # the share of the other class that each one is on the right side of
    among_all, ranks = rankdata(score), np.empty(len(score))
    ranks[positive], ranks[~positive] = rankdata(score[positive]), rankdata(score[~positive])
    placed = np.where(positive, (among_all - ranks) / down, 1 - (among_all - ranks) / up)
    return value, (placed - value) / np.where(positive, up, down)


def _average_precision(outcome: Floats, score: Floats) -> Judged | None:
    positive = (outcome == 1).astype(np.float64)
    if not positive.any():
        return None
    order = np.argsort(-score, kind="stable")
    hit = positive[order]
    group = np.cumsum(np.concatenate([[True], np.diff(score[order]) != 0])) - 1
    last = np.flatnonzero(np.concatenate([np.diff(group) > 0, [True]]))
    seen = (last + 1.0)[group]  # rows scored at least as high
    precision = np.cumsum(hit)[last][group] / seen
    total = hit.sum()
    value = float((hit * precision).sum() / total)
    # a row also moves the precision of every row from its own score on
    first = np.concatenate([[0], last[:-1] + 1])[group]
    gains, losses = (_from_here_on(hit * by / seen)[first] for by in (1.0, precision))
    influence = np.empty(len(score))
    influence[order] = (hit * (precision - value) + hit * gains - losses) / total
    return value, influence


def _from_here_on(values: Floats) -> Floats:
    return np.cumsum(values[::-1])[::-1]


def _brier_skill(outcome: Floats, score: Floats) -> Judged | None:
    rate, loss = outcome.mean(), (score - outcome) ** 2
    usual = float(((outcome - rate) ** 2).mean())
    if usual == 0:
        return None
    ours = float(loss.mean())
    against = (outcome - rate) ** 2 - usual
    influence = -((loss - ours) / usual - ours * against / usual**2) / len(outcome)
    return 1 - ours / usual, influence


def _forecast_accuracy(outcome: Floats, score: Floats) -> Judged | None:
    size, loss = np.abs(outcome), np.abs(outcome - score)
    total = float(size.sum())
    if total == 0:
        return None
    share = float(loss.sum()) / total
    return 1 - share, -(loss - share * size) / total


def _top(share: float, *, lift: bool) -> RowMeasure:
    """Share of positives among the best-scored `share`, whose border counts as fixed."""

    def measure(outcome: Floats, score: Floats) -> Judged | None:
        positive, room = (outcome == 1).astype(np.float64), share * len(score)
        if not positive.any():
            return None
        order = np.argsort(-score, kind="stable")
        _, start, tied = np.unique(-score[order], return_index=True, return_counts=True)
        within = np.empty(len(score))  # rows of equal score share what room is left
        within[order] = np.repeat(np.clip(room - start, 0, tied) / tied, tied)
        found = float((positive * within).sum() / room)
        influence = within * (positive - found) / room
        influence -= influence.mean()
        if not lift:
            return found, influence
        rate = positive.mean()
        moved = influence / rate - found / rate**2 * (positive - rate) / len(score)
        return found / rate, moved

    return measure


def _hit(listed: Sequence[str], wanted: Collection[str]) -> float:
    return float(any(item in wanted for item in listed[:TOP]))


def _ndcg(listed: Sequence[str], wanted: Collection[str]) -> float:
    """K. Järvelin and J. Kekäläinen, ACM TOIS 20(4), 2002, with gains of 0 and 1."""
    gain = sum(1 / math.log2(place + 2) for place, i in enumerate(listed[:TOP]) if i in wanted)
    return gain / sum(1 / math.log2(place + 2) for place in range(min(len(wanted), TOP)))


ROWS: Final[Mapping[str, RowMeasure]] = {
    "auc": _auc,
    "average_precision": _average_precision,
    "brier_skill": _brier_skill,
    "lift@10%": _top(0.10, lift=True),
    "precision@1%": _top(0.01, lift=False),
    "forecast_accuracy": _forecast_accuracy,
}
LISTS: Final[Mapping[str, ListMeasure]] = {f"hit@{TOP}": _hit, f"ndcg@{TOP}": _ndcg}
