"""What every model is to the rest of Tenantry: columns in, one score per row out, bytes at rest.

The bytes are one JSON document. LightGBM stands in it as its own text, a scikit-learn pipeline as
skops, which is loaded with `TRUSTED_TYPES` only. Nothing in it can execute.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Scores = npt.NDArray[np.float64]


class Predictor(Protocol):
    """One fitted estimator or baseline."""

    def predict(self, features: pa.Table) -> Scores:
        """Scores of shape `(rows,)`, higher meaning more likely; probabilities where fitted so."""


@dataclass(frozen=True)
class Model:
    """A predictor with what is needed to use and to reproduce it."""

    kind: str  #: `lightgbm`, `logistic` or `baseline`
    columns: tuple[str, ...]  #: features it reads, in order
    predictor: Predictor
    parameters: Mapping[str, Any]

    def predict(self, features: pa.Table) -> Scores:
        """Scores of shape `(rows,)`, in row order."""
        return self.predictor.predict(features)
