"""Fitted estimators as predictors: LightGBM trees, and a scikit-learn pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import lightgbm
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.pipeline import Pipeline

from include.errors import UnknownNameError
from include.models import boosting, explanations
from include.models.lightgbm_text import without_ranges
from include.models.model import Contributions, Scores


def matrix(features: pa.Table, columns: Sequence[str]) -> npt.NDArray[np.float64]:
    """The columns as float64 of shape `(rows, columns)`; null is NaN.

    Raises:
        UnknownNameError: the table lacks one of the columns.
    """
    values = np.empty((features.num_rows, len(columns)), dtype=np.float64)
    known = dict(zip(features.column_names, features.columns, strict=True))
    for position, name in enumerate(columns):
        if name not in known:
            raise UnknownNameError("feature column", name, known, "the features")
        column, number = known[name], pa.float64()
        values[:, position] = (
            column if column.type == number else pc.cast(column, number)
        ).to_numpy()
    return values


@dataclass(frozen=True)
class LightGBMPredictor:
    """Boosted trees; a score is a probability where the objective is binary, else an order."""

    columns: tuple[str, ...]
    booster: lightgbm.Booster

    WORDS: ClassVar = boosting.WORDS

    def predict(self, features: pa.Table) -> Scores:
        """Scores of shape `(rows,)`."""
        if features.num_rows == 0:
            return np.empty(0)
        found = self.booster.predict(matrix(features, self.columns), num_threads=1)
        return np.asarray(found, dtype=np.float64)

    def contributions(self, features: pa.Table) -> Contributions:
        """Shapley values on the margin."""
        values = matrix(features, self.columns)
        return explanations.of_trees(self.booster, self.columns, values)

    def without_extremes(self) -> LightGBMPredictor:
        """The trees without the ranges of their features."""
        return replace(self, booster=without_ranges(self.booster))


@dataclass(frozen=True)
class PipelinePredictor:
    """A scikit-learn classifier over signed logarithms, which tame counts and amounts."""

    columns: tuple[str, ...]
    pipeline: Pipeline

    WORDS: ClassVar = frozenset({"C"})

    def predict(self, features: pa.Table) -> Scores:
        """Probabilities of shape `(rows,)`."""
        if features.num_rows == 0:
            return np.empty(0)
        values = signed_log(matrix(features, self.columns))
        return np.asarray(self.pipeline.predict_proba(values)[:, 1], dtype=np.float64)

    def contributions(self, features: pa.Table) -> Contributions:
        """Coefficient × standardised value, on the log odds."""
        values = signed_log(matrix(features, self.columns))
        return explanations.of_logistic(self.pipeline, self.columns, values)


def signed_log(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """`sign(x) · ln(1 + |x|)`, NaN kept, infinities taken as missing."""
    finite = np.where(np.isfinite(values), values, np.nan)
    return np.asarray(np.sign(finite) * np.log1p(np.abs(finite)))
