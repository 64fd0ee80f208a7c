"""Another model's score, brought to the level and slope of one tenant's outcomes.

Probabilities p become sigmoid(c + a ln p − b ln(1 − p)): beta calibration (Kull, Silva Filho and
Flach 2017), of which Platt's (1999) is the case a = b.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

import numpy as np
import pyarrow as pa

from include.errors import ConfigError, IntegrityError
from include.models.model import Contributions, ExplainedPredictor, Model, Scores

#: How a model's margin follows from its score: log odds of a probability, or the score itself.
Link = Literal["log_odds", "identity"]
LINKS: Final[tuple[Link, ...]] = ("log_odds", "identity")
#: Probabilities nearer than this to 0 or 1 are taken as this far from it.
_NEAREST: Final = 1e-9
#: Contributions that sum up to less are stretched by the slope alone.
_NO_MOVE: Final = 1e-6
_NUMBERS: Final = ("rising", "falling", "offset")


@dataclass(frozen=True)
class RecalibratedPredictor:
    """`base`, a classifier, with three parameters on top; 1, 1 and 0 leave it as it is."""

    base: Model
    rising: float  #: a, at least 0
    falling: float  #: b, at least 0
    offset: float  #: c

    WORDS: ClassVar = frozenset({"base", "penalty", *_NUMBERS})

    def predict(self, features: pa.Table) -> Scores:
        """Scores of shape `(rows,)`."""
        return sigmoid(self.margin(self.base.predict(features)))

    def margin(self, score: Scores) -> Scores:
        """Log odds for probabilities of the base."""
        low, high = log_halves(score)
        return np.asarray(self.offset + self.rising * low + self.falling * high)

    def contributions(self, features: pa.Table) -> Contributions:
        """The base's own, each stretched as the row's margin is."""
        found = explained(self.base, features)
        margin = found.base + found.values.sum(axis=1)
        start = np.full(1, found.base[0]) if len(margin) else found.base
        wanted, origin = self.margin(sigmoid(margin)), self.margin(sigmoid(start))
        moved = margin - found.base
        stretch = np.full(len(moved), self.rising)
        np.divide(wanted - origin, moved, out=stretch, where=np.abs(moved) > _NO_MOVE)
        values = found.values * stretch[:, None]
        return Contributions(found.columns, values, wanted - values.sum(axis=1))

    def payload(self) -> dict[str, Any]:
        """All of it but the base, in JSON's types."""
        return {name: getattr(self, name) for name in _NUMBERS}

    @classmethod
    def from_payload(cls, payload: Mapping[str, Any], base: Model) -> RecalibratedPredictor:
        """What `payload` gave.

        Raises:
            IntegrityError: it is something else.
        """
        numbers = [payload.get(name) for name in _NUMBERS]
        numeric = all(isinstance(n, float) and math.isfinite(n) for n in numbers)
        if set(payload) != set(_NUMBERS) or not numeric:
            raise IntegrityError(f"a recalibration has the numbers {', '.join(_NUMBERS)}")
        return cls(base, payload["rising"], payload["falling"], payload["offset"])


def margin_of(model: Model, features: pa.Table, link: Link) -> Scores:
    """What boosting starts from: the model's log odds, or its score itself."""
    score = model.predict(features)
    if link == "identity":
        return score
    low, high = log_halves(score)
    return low + high


def log_halves(probability: Scores) -> tuple[Scores, Scores]:
    """`ln p` and `−ln(1 − p)`, whose sum is the log odds."""
    p = np.clip(probability, _NEAREST, 1 - _NEAREST)
    return np.log(p), -np.log1p(-p)


def sigmoid(margin: Scores) -> Scores:
    """Probabilities of log odds, without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * margin)))


def explained(model: Model, features: pa.Table) -> Contributions:
    """The model's contributions. Raises: ConfigError where it has none."""
    if not isinstance(model.predictor, ExplainedPredictor):
        raise ConfigError(f"a model of kind {model.kind!r} does not say what moves its scores")
    return model.predictor.contributions(features)
