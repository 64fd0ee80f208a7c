"""Scores taken apart by feature, exactly: what each feature added to a row's margin.

The margin is the log odds of a classifier, the score itself of a regression or a ranking, and any
rising function of the score for a rule of thumb. Base and contributions of a row sum up to it.
"""

from __future__ import annotations

import lightgbm
import numpy as np
import numpy.typing as npt
from sklearn.pipeline import Pipeline

from include.models.model import Contributions

Matrix = npt.NDArray[np.float64]


def of_trees(booster: lightgbm.Booster, columns: tuple[str, ...], values: Matrix) -> Contributions:
    """Shapley values of boosted trees (TreeSHAP; Lundberg et al., Nature MI 2, 2020).

    `base` is the mean margin of the rows the trees were fitted on.

    Args:
        values: of shape `(rows, columns)`.
    """
    if not len(values):
        return nothing(columns)
    found = booster.predict(values, pred_contrib=True, num_threads=1)
    parts = np.asarray(found, dtype=np.float64)
    return Contributions(columns, parts[:, :-1], parts[:, -1])


def of_logistic(pipeline: Pipeline, columns: tuple[str, ...], values: Matrix) -> Contributions:
    """Coefficient × standardised value of a logistic regression over an imputer and a scaler.

    `base` is the intercept: the log odds of a row that is average in everything. A missing value
    adds what the median, which stands in for it, would add.

    Args:
        values: what the pipeline reads, of shape `(rows, columns)`.
    """
    if not len(values):
        return nothing(columns)
    *prepare, regression = (step for _, step in pipeline.steps)
    for step in prepare:
        values = step.transform(values)
    base = np.full(len(values), float(regression.intercept_[0]))
    return Contributions(columns, np.asarray(values * regression.coef_[0]), base)


def nothing(columns: tuple[str, ...]) -> Contributions:
    """The contributions of no rows."""
    return Contributions(columns, np.empty((0, len(columns))), np.empty(0))
