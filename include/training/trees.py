"""Boosted trees over labelled rows, as a classifier or a ranking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt

from include.models.boosting import BY_TASK
from include.models.model import Scores
from include.training.rows import LabelledRows
from include.use_cases.declaration import UseCase


def boosted(
    use_case: UseCase,
    rows: LabelledRows,
    values: npt.NDArray[np.float64],
    columns: tuple[str, ...],
    settings: Mapping[str, Any],
    rounds: int,
    start: Scores | None = None,
) -> lightgbm.Booster:
    """So many trees, fitted to the rows' labels.

    Args:
        values: of shape `(rows, columns)`.
        settings: LightGBM's, without what follows from the use case.
        start: the margin that the trees add to; zero where None.
    """
    ranking = use_case.task == "ranking"
    data = lightgbm.Dataset(
        values,
        rows.label,
        weight=None if ranking else rows.weight,
        group=group_sizes(rows) if ranking else None,
        init_score=start,
        feature_name=list(columns),
        params={"num_threads": 1, "verbosity": -1},
    )
    return lightgbm.train(parameters(use_case, settings), data, num_boost_round=rounds)


def parameters(use_case: UseCase, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, with the loss of the use case's task and its seed."""
    return {**settings, **BY_TASK[use_case.task], "seed": use_case.seed}


def group_sizes(rows: LabelledRows) -> npt.NDArray[np.int64]:
    """Lengths of the rankings, whose rows follow each other."""
    starts = np.flatnonzero(np.concatenate([[True], rows.group[1:] != rows.group[:-1]]))
    return np.diff(np.concatenate([starts, [len(rows)]]))
