"""Two models on the same later windows: the difference of the deciding metric, with its interval.

Of the area under the ROC curve the difference is exact: positives are compared with the negatives
of their own window only, since every window may have been scored by another model, and the
variance is that of the placement values (DeLong, DeLong and Clarke-Pearson 1988), summed up by
entity, whose rows are not independent (Obuchowski 1997). Of other metrics it is bootstrapped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from include.models.model import Scores
from include.training.metrics import Bootstrap, Estimate
from include.training.rows import Rows

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """Rows of one later window, and what two models say of them."""

    rows: Rows
    ours: Scores
    theirs: Scores


@dataclass(frozen=True)
class Paired:
    """The difference of two models over some windows, and what it rests on."""

    estimate: Estimate  #: ours − theirs; all None where the metric is undefined
    entities: int
    windows: int


def compare(metric: str, parts: Sequence[Judged], seed: int) -> Paired:
    """How much better `ours` is than `theirs` over all parts, with a 95 % interval."""
    kept = [part for part in parts if len(part.rows)]
    if not kept:
        return Paired(Estimate(None, None, None), 0, 0)
    stacked = Rows.stacked([part.rows for part in kept])
    windows, entities = len(np.unique(stacked.as_of)), len(np.unique(stacked.entity))
    if metric == "auc":
        return Paired(_auc_difference(kept, stacked.entity), entities, windows)
    ours, theirs = (
        np.concatenate([getattr(part, name) for part in kept]) for name in ("ours", "theirs")
    )
    found = Bootstrap(stacked, seed).difference(metric, ours, theirs)
    return Paired(found, entities, windows)


def _auc_difference(parts: Sequence[Judged], entity: npt.NDArray[np.str_]) -> Estimate:
    difference, pairs = 0.0, 0.0
    influences: list[Vector] = []
    for part in parts:
        positive = part.rows.label == 1
        up, down = int(positive.sum()), int((~positive).sum())
        if up == 0 or down == 0:
            influences.append(np.zeros(len(positive)))
            continue
        ours, theirs = (_placements(positive, scores) for scores in (part.ours, part.theirs))
        moved = ours - theirs
        mean = float(moved[positive].mean())
        difference += up * down * mean
        pairs += up * down
        influences.append(np.where(positive, down, up) * (moved - mean))
    if pairs == 0:
        return Estimate(None, None, None)
    influence = np.concatenate(influences) / pairs
    codes = np.unique(entity, return_inverse=True)[1]
    by_entity = np.bincount(codes, weights=influence)
    count = len(by_entity)
    error = float(np.sqrt((by_entity**2).sum() * count / max(count - 1, 1)))
    value = difference / pairs
    label = np.concatenate([part.rows.label for part in parts])
    rarer = min(len(np.unique(codes[label == 1])), len(np.unique(codes[label != 1])))
    if rarer < 2:
        return Estimate(value, None, None)
    width = float(stats.t.ppf(0.975, rarer - 1)) * error
    return Estimate(value, value - width, value + width)


def _placements(positive: npt.NDArray[np.bool_], scores: Scores) -> Vector:
    """Of each row, the share of rows of the other class that it is on the right side of."""
    ranks = stats.rankdata(scores)
    found = np.empty(len(scores))
    up, down = int(positive.sum()), int((~positive).sum())
    found[positive] = (ranks[positive] - stats.rankdata(scores[positive])) / down
    found[~positive] = 1 - (ranks[~positive] - stats.rankdata(scores[~positive])) / up
    return found
