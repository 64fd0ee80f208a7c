"""Two models on the same later windows: the difference of the deciding metric, with its interval.

For the area under the ROC curve, positives are compared with the negatives of their own window
only, since every window may have been scored by another model. The variance is that of the
placement values (DeLong, DeLong and Clarke-Pearson 1988); like the influences of other metrics they
are summed up by entity and by block of time (`registry.two_way`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt
from scipy import stats

from include.models.model import Scores
from include.registry.two_way import blocks_of
from include.training.metrics import NOTHING, Estimate, Intervals, estimated
from include.training.rows import LabelledRows

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PairedRows:
    """Rows of one later window, and the scores that two models give them."""

    rows: LabelledRows
    ours: Scores
    theirs: Scores


@dataclass(frozen=True)
class Paired:
    """The difference of two models over some windows, with its counts of entities and windows."""

    estimate: Estimate  #: ours − theirs; all None where the metric is undefined
    entities: int
    windows: int  #: blocks of time


def compare(metric: str, parts: Sequence[PairedRows], reach: timedelta) -> Paired:
    """How much better `ours` is than `theirs` over all parts, with a 95 % interval.

    Args:
        reach: see `metrics.Intervals`.
    """
    kept = [part for part in parts if len(part.rows)]
    if not kept:
        return Paired(NOTHING, 0, 0)
    stacked = LabelledRows.stacked([part.rows for part in kept])
    entities, block = len(np.unique(stacked.entity)), blocks_of(stacked.as_of, reach)
    windows = int(block.max()) + 1
    if metric == "auc":
        return Paired(_auc_difference(kept, stacked, block), entities, windows)
    ours, theirs = (
        np.concatenate([getattr(part, name) for part in kept]) for name in ("ours", "theirs")
    )
    estimate = Intervals(stacked, reach).difference(metric, ours, theirs)
    return Paired(estimate, entities, windows)


def _auc_difference(
    parts: Sequence[PairedRows], rows: LabelledRows, block: npt.NDArray[np.int64]
) -> Estimate:
    """The difference of two models' AUC, each window weighted by its pairs of unlike rows.

    The AUC is the mean placement of the positives among the negatives. A row's influence is its
    placement less the mean, divided by the rows of its class (DeLong's structural components).
    """
    differences: list[tuple[int, float, Vector]] = []  # pairs, difference, influences on that
    for part in parts:
        positive = part.rows.label == 1
        up, down = int(positive.sum()), int((~positive).sum())
        if up == 0 or down == 0:
            differences.append((0, 0.0, np.zeros(len(positive))))
            continue
        ours, theirs = (_placements(positive, scores) for scores in (part.ours, part.theirs))
        moved = ours - theirs
        mean = float(moved[positive].mean())
        differences.append((up * down, mean, (moved - mean) / np.where(positive, up, down)))
    pairs = sum(number for number, _, _ in differences)
    if pairs == 0:
        return NOTHING
    value = sum(number * mean for number, mean, _ in differences) / pairs
    # A row moves its own window's difference (`within`), and each window moves the mean of all by
    # how far it differs from that mean, spread evenly over the window's rows.
    influence = [
        number / pairs * (within + (mean - value) / len(within))
        for number, mean, within in differences
    ]
    return estimated(rows, "auc", value, np.concatenate(influence), block)


def _placements(positive: npt.NDArray[np.bool_], scores: Scores) -> Vector:
    """Per row, the share of the other class's rows that its score is on the right side of.

    A row's rank among all less its rank within its class counts the other class's rows below it;
    ties count half.
    """
    ranks = stats.rankdata(scores)
    placement = np.empty(len(scores))
    up, down = int(positive.sum()), int((~positive).sum())
    placement[positive] = (ranks[positive] - stats.rankdata(scores[positive])) / down
    placement[~positive] = 1 - (ranks[~positive] - stats.rankdata(scores[~positive])) / up
    return placement
