"""Another model's score, and what one tenant's rows add to it.

On the margin (log odds of a probability, else the score itself) stand the base model, a shrunken
linear part and trees boosted from there; either of the two may be missing. In clinical prediction
this is updating a model instead of developing one (Steyerberg, Borsboom, van Houwelingen, Eijkemans
and Habbema 2004); the trees are gradient boosting with an offset (Friedman 2001).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Final

import lightgbm
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.errors import IntegrityError
from include.models import boosting, explanations
from include.models.estimators import matrix, signed_log
from include.models.lightgbm_text import booster_text, read_booster
from include.models.model import Contributions, Model, Scores
from include.models.recalibrated import LINKS, Link, explained, margin_of, sigmoid

Vector = tuple[float, ...]
_PARTS: Final = {"link", "features", "linear", "trees"}


@dataclass(frozen=True)
class LinearPart:
    """Intercept, a stretch of the base's margin, and weights of standardised signed logarithms.

    What is missing counts as the mean, and so does whatever is constant in training.
    """

    intercept: float
    stretch: float  #: of the base's margin, in addition to itself
    centre: Vector
    scale: Vector  #: all above 0
    weight: Vector

    def standardised(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Features of shape `(rows, columns)` as the weights take them."""
        found = (signed_log(values) - np.array(self.centre)) / np.array(self.scale)
        return np.asarray(np.nan_to_num(found, nan=0.0))

    def added(self, values: npt.NDArray[np.float64], margin: Scores) -> Scores:
        """What it adds to the base's margin."""
        linear = self.standardised(values) @ np.array(self.weight)
        return np.asarray(self.intercept + self.stretch * margin + linear)


@dataclass(frozen=True)
class ResidualPredictor:
    """`base`, plus what was learnt from the tenant's rows about its margin."""

    columns: tuple[str, ...]  #: features that both parts read
    base: Model
    link: Link
    linear: LinearPart | None
    trees: lightgbm.Booster | None

    WORDS: ClassVar = boosting.WORDS | {
        *("base", "penalty", *LINKS, *_PARTS, *LinearPart.__dataclass_fields__)
    }

    def predict(self, features: pa.Table) -> Scores:
        """Scores of shape `(rows,)`: probabilities where the base's are."""
        if features.num_rows == 0:
            return np.empty(0)
        values = matrix(features, self.columns)
        margin = margin_of(self.base, features, self.link)
        if self.linear is not None:
            margin = margin + self.linear.added(values, margin)
        if self.trees is not None:
            margin = margin + raw_scores(self.trees, values)
        return sigmoid(margin) if self.link == "log_odds" else margin

    def contributions(self, features: pa.Table) -> Contributions:
        """The parts' contributions, added up by feature."""
        values = matrix(features, self.columns)
        found = explained(self.base, features)
        names = (*self.columns, *(one for one in found.columns if one not in self.columns))
        total = np.zeros((features.num_rows, len(names)))
        total[:, [names.index(name) for name in found.columns]] = found.values
        base = np.array(found.base, dtype=np.float64)
        ours = total[:, : len(self.columns)]  # a view
        if self.linear is not None:
            total *= 1 + self.linear.stretch
            base = base * (1 + self.linear.stretch) + self.linear.intercept
            ours += self.linear.standardised(values) * np.array(self.linear.weight)
        if self.trees is not None:
            more = explanations.of_trees(self.trees, self.columns, values)
            ours += more.values
            base = base + more.base
        return Contributions(names, total, base)

    def payload(self) -> dict[str, Any]:
        """All of it but the base, in JSON's types."""
        return {
            "link": self.link,
            "features": list(self.columns),
            "linear": None if self.linear is None else asdict(self.linear),
            "trees": None if self.trees is None else booster_text(self.trees),
        }

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any], base: Model) -> ResidualPredictor:
        """What `payload` gave.

        Raises:
            IntegrityError: it is something else.
        """
        names = payload.get("features")
        if set(payload) != _PARTS or payload["link"] not in LINKS:
            raise IntegrityError("a residual has a link, features, a linear part and trees")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise IntegrityError("a residual's features are a list of names")
        linear, trees = payload["linear"], payload["trees"]
        if linear is None and trees is None:
            raise IntegrityError("a residual adds something to its base")
        if trees is not None and not isinstance(trees, str):
            raise IntegrityError("a residual's trees are LightGBM's text")
        return cls(
            tuple(names),
            base,
            payload["link"],
            None if linear is None else _linear(linear, len(names)),
            None if trees is None else read_booster(trees, names),
        )


def raw_scores(
    trees: lightgbm.Booster, values: npt.NDArray[np.float64], first: int | None = None
) -> Scores:
    """The sum of the trees, or of the first few, of shape `(rows,)`."""
    found = trees.predict(values, num_threads=1, raw_score=True, num_iteration=first)
    return np.asarray(found, dtype=np.float64)


def _linear(part: Any, columns: int) -> LinearPart:
    expected = {field.name for field in fields(LinearPart)}
    if not isinstance(part, dict) or set(part) != expected:
        raise IntegrityError(f"a linear part has {', '.join(sorted(expected))}")
    scalars = [part["intercept"], part["stretch"]]
    vectors = [part["centre"], part["scale"], part["weight"]]
    if not all(isinstance(one, list) and len(one) == columns for one in vectors):
        raise IntegrityError(f"a linear part's vectors have {columns} numbers each")
    if not all(_is_number(one) for one in (*scalars, *vectors[0], *vectors[1], *vectors[2])):
        raise IntegrityError("a linear part consists of finite numbers")
    if not all(one > 0 for one in part["scale"]):
        raise IntegrityError("a linear part's scales are above 0")
    return LinearPart(*scalars, *(tuple(one) for one in vectors))


def _is_number(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)
