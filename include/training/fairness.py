"""How a model does for each group of entities that a tenant names, with care for small ones.

A group below `minimum_entities` is told, and decides nothing. The gap is between the best and the
worst of the other groups as the whole holdout ranks them (taking the extremes anew for the interval
would make a gap of chance alone), by entity and by time (`registry.two_way`).
Rates of who is picked are Fairlearn's (Weerts et al., "Fairlearn: Assessing and Improving Fairness
of AI Systems", 2023). The group itself is never a feature.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from include.models.model import Scores
from include.registry.evidence import GroupGap
from include.registry.two_way import blocks_of
from include.training.dataset import NONE
from include.training.metrics import (
    NOTHING,
    Answers,
    Estimate,
    Intervals,
    Lists,
    estimated,
    judge,
    pick,
)
from include.training.rows import LabelledRows

#: Share of the best-scored rows that count as picked, for the rates.
PICKED: Final = 0.1


@dataclass(frozen=True)
class GroupFigures:
    """One group's rows in the holdout."""

    group: str
    rows: int
    entities: int
    decides: bool  #: whether it has entities enough to be compared
    value: float | None
    low: float | None  #: 95 % interval
    high: float | None
    picked: float | None  #: share of its rows among the best-scored tenth; None of lists


def figures(
    metric: str, rows: LabelledRows, answers: Answers, reach: timedelta, minimum_entities: int
) -> list[GroupFigures]:
    """Figures of every group, by name."""
    rates = {} if isinstance(answers, Lists) else _picked(rows, answers)
    found = []
    for group in sorted(np.unique(rows.sensitive).tolist()):
        mask = rows.sensitive == group
        intervals = Intervals(rows.where(mask), reach)
        estimate = intervals.estimate(metric, pick(answers, mask))
        large = intervals.entities >= minimum_entities and group != NONE
        found.append(
            GroupFigures(
                group,
                int(mask.sum()),
                intervals.entities,
                large and estimate.value is not None,
                estimate.value,
                estimate.low,
                estimate.high,
                rates.get(group),
            )
        )
    return found


def gap(
    candidate: str,
    metric: str,
    rows: LabelledRows,
    answers: Answers,
    groups: Sequence[GroupFigures],
    largest: float | None,
    reach: timedelta,
) -> GroupGap | None:
    """How far the worst group is behind the best; None where fewer than two can be compared.

    Args:
        largest: what the tenant allows; None where it only wants to know.
    """
    valued = [(one.value, one.group) for one in groups if one.decides and one.value is not None]
    if len(valued) < 2:
        return None
    best, worst = max(valued), min(valued)
    found = _difference(metric, rows, answers, (best[1], worst[1]), reach)
    return GroupGap(
        candidate,
        best[1],
        worst[1],
        best[0] - worst[0],
        found.low,
        found.high,
        largest,
        found.uncertainty is not None and found.uncertainty.known,
    )


def _difference(
    metric: str, rows: LabelledRows, answers: Answers, groups: tuple[str, str], reach: timedelta
) -> Estimate:
    """The metric of the first group less that of the second."""
    influence, gap = np.zeros(len(rows)), 0.0
    for sign, group in zip((1, -1), groups, strict=True):
        mask = rows.sensitive == group
        found = judge(metric, rows.where(mask), pick(answers, mask))
        if found is None:
            return NOTHING
        gap += sign * found[0]
        influence[mask] = sign * found[1]
    both = np.isin(rows.sensitive, groups)
    block = blocks_of(rows.as_of, reach)[both]
    return estimated(rows.where(both), metric, gap, influence[both], block)


def _picked(rows: LabelledRows, scores: Scores) -> dict[str, float]:
    """Fairlearn's selection rate per group, of rows above the threshold of the best tenth.

    Fairlearn takes seconds to import and is rarely asked for, so it is imported here.
    """
    from fairlearn.metrics import MetricFrame, selection_rate

    threshold = np.quantile(scores, 1 - PICKED)
    chosen: npt.NDArray[np.int64] = (scores > threshold).astype(np.int64)
    frame: Any = MetricFrame(
        metrics=selection_rate,
        y_true=(rows.label > 0).astype(np.int64),
        y_pred=chosen,
        sensitive_features=rows.sensitive,
    )
    return {str(group): float(rate) for group, rate in frame.by_group.items()}
