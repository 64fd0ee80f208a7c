"""Two models on the same later windows: the difference of the deciding metric, with its interval.

Of the area under the ROC curve positives are compared with the negatives of their own window only,
since every window may have been scored by another model, and the variance is that of the placement
values (DeLong, DeLong and Clarke-Pearson 1988), which are influences as those of other metrics are:
summed up by entity and by block of time (`registry.two_way`).
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
    """Rows of one later window, and what two models say of them."""

    rows: LabelledRows
    ours: Scores
    theirs: Scores


@dataclass(frozen=True)
class Paired:
    """The difference of two models over some windows, and what it rests on."""

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
    found = Intervals(stacked, reach).difference(metric, ours, theirs)
    return Paired(found, entities, windows)


def _auc_difference(
    parts: Sequence[PairedRows], rows: LabelledRows, block: npt.NDArray[np.int64]
) -> Estimate:
    found: list[tuple[int, float, Vector]] = []  # pairs, difference, influences on that
    for part in parts:
        positive = part.rows.label == 1
        up, down = int(positive.sum()), int((~positive).sum())
        if up == 0 or down == 0:
            found.append((0, 0.0, np.zeros(len(positive))))
            continue
        ours, theirs = (_placements(positive, scores) for scores in (part.ours, part.theirs))
        moved = ours - theirs
        mean = float(moved[positive].mean())
        found.append((up * down, mean, (moved - mean) / np.where(positive, up, down)))
    pairs = sum(number for number, _, _ in found)
    if pairs == 0:
        return NOTHING
    value = sum(number * mean for number, mean, _ in found) / pairs
    # within its window, and that window's own share in how far the windows differ
    influence = [
        number / pairs * (within + (mean - value) / len(within)) for number, mean, within in found
    ]
    return estimated(rows, "auc", value, np.concatenate(influence), block)


def _placements(positive: npt.NDArray[np.bool_], scores: Scores) -> Vector:
    """Of each row, the share of rows of the other class that it is on the right side of."""
    ranks = stats.rankdata(scores)
    found = np.empty(len(scores))
    up, down = int(positive.sum()), int((~positive).sum())
    found[positive] = (ranks[positive] - stats.rankdata(scores[positive])) / down
    found[~positive] = 1 - (ranks[~positive] - stats.rankdata(scores[~positive])) / up
    return found
