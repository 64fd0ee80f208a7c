"""Rules of thumb as models: one feature, up or down, with another to break ties."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.models.estimators import matrix
from include.models.model import Contributions, Model, Scores


@dataclass(frozen=True)
class BaselinePredictor:
    """`column` as a score; missing and negative values count as 0.

    Rising, it is `x + y / (1 + y)` with `y` the tie-breaking column; falling, `1 / (1 + x)`.
    """

    column: str
    descending: bool
    then: str

    WORDS: ClassVar = frozenset({"column", "descending", "then"})

    def predict(self, features: pa.Table) -> Scores:
        """Scores of shape `(rows,)`."""
        value: Scores = self._parts(features).sum(axis=1)
        return 1.0 / (1.0 + value) if self.descending else value

    def contributions(self, features: pa.Table) -> Contributions:
        """`x` and `y / (1 + y)` on the margin, which is their sum, or less of it where falling."""
        parts = self._parts(features)
        columns = (self.column, self.then) if self.then else (self.column,)
        return Contributions(columns, -parts if self.descending else parts, np.zeros(len(parts)))

    def _parts(self, features: pa.Table) -> npt.NDArray[np.float64]:
        """The value and what breaks its ties, of shape `(rows, 1 or 2)`."""
        value = _amounts(features, self.column)
        if not self.then:
            return value[:, None]
        tie = _amounts(features, self.then)
        return np.stack([value, tie / (1.0 + tie)], axis=1)


def baseline_model(parameters: Mapping[str, Any]) -> Model:
    """A model from `column`, `descending` and `then`."""
    column, then = str(parameters["column"]), str(parameters["then"])
    predictor = BaselinePredictor(column, bool(parameters["descending"]), then)
    columns = (column, then) if then else (column,)
    return Model("baseline", columns, predictor, dict(parameters))


def _amounts(features: pa.Table, column: str) -> Scores:
    return np.clip(
        np.nan_to_num(matrix(features, (column,))[:, 0], posinf=np.finfo(np.float64).max / 4),
        0,
        None,
    )
