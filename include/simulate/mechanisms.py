"""How a label follows from features: one mechanism of the world, and every tenant's deviation.

A mechanism is a function of features in standard form (mean 0, deviation 1) to a score of mean 0
and deviation 1: a linear part, and a nonlinear one of products, hinges and steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from include.simulate.seeds import Array, Name, stream

#: Share of the variance of a score that comes from products, hinges and steps.
NONLINEAR: Final = 0.35
#: Rows on which mechanisms are brought to mean 0 and deviation 1, and base rates are solved.
REFERENCE_ROWS: Final = 4_096


@dataclass(frozen=True)
class Mechanism:
    """Weights and terms; arrays are read-only."""

    linear: Array  #: one weight per feature
    pairs: tuple[tuple[int, int, float], ...]  #: products of two features
    hinges: tuple[tuple[int, float, float], ...]  #: what a feature exceeds a knot by
    steps: tuple[tuple[int, float, float], ...]  #: whether a feature exceeds a knot
    offset: float = 0.0
    linear_scale: float = 1.0
    nonlinear_scale: float = 1.0

    def score(self, standard: Array) -> Array:
        """One score per column of `standard` (features × rows)."""
        bent = self._bent(standard)
        return (
            self.linear_scale * (self.linear @ standard) + self.nonlinear_scale * bent - self.offset
        )

    def _bent(self, standard: Array) -> Array:
        total = np.zeros(standard.shape[1])
        for i, j, weight in self.pairs:
            total += weight * standard[i] * standard[j]
        for i, knot, weight in self.hinges:
            total += weight * np.maximum(standard[i] - knot, 0.0)
        for i, knot, weight in self.steps:
            total += weight * (standard[i] > knot)
        return total


@lru_cache(maxsize=4_096)
def mechanism(seed: int, features: int, *names: Name) -> Mechanism:
    """The mechanism of that name, standardised on the world's reference rows."""
    return draw_mechanism(seed, names, reference(seed, features))


def draw_mechanism(seed: int, names: Sequence[Name], rows: Array) -> Mechanism:
    """The mechanism of that name, of mean 0 and deviation 1 on these rows (features × rows)."""
    features = len(rows)
    draw = stream(seed, "mechanism", features, *names)
    # a few features matter much, most of them little
    weights = draw.permutation(0.8 ** np.arange(features)) * draw.choice((-1.0, 1.0), features)
    weights.flags.writeable = False
    terms = max(1, features // 4)
    one, other = draw.integers(features, size=(2, terms))
    hinged, stepped = draw.integers(features, size=(2, terms))
    sizes = draw.normal(size=(3, terms))
    knots = draw.normal(scale=0.7, size=(2, terms))
    raw = Mechanism(
        linear=weights,
        pairs=tuple(zip(one.tolist(), other.tolist(), sizes[0].tolist(), strict=True)),
        hinges=tuple(zip(hinged.tolist(), knots[0].tolist(), sizes[1].tolist(), strict=True)),
        steps=tuple(zip(stepped.tolist(), knots[1].tolist(), sizes[2].tolist(), strict=True)),
    )
    linear, bent = raw.linear @ rows, raw._bent(rows)
    linear_scale = float(np.sqrt(1 - NONLINEAR) / max(linear.std(), 1e-9))
    bent_scale = float(np.sqrt(NONLINEAR) / max(bent.std(), 1e-9))
    total = linear_scale * linear + bent_scale * bent
    scale = 1.0 / float(total.std())
    return Mechanism(
        linear=weights,
        pairs=raw.pairs,
        hinges=raw.hinges,
        steps=raw.steps,
        offset=float(total.mean()) * scale,
        linear_scale=linear_scale * scale,
        nonlinear_scale=bent_scale * scale,
    )


def mixed(score: Array, other: Array, share: Array | float, overlap: float) -> Array:
    """A score that follows another one in a share of its variance.

    Args:
        overlap: their correlation, which is taken out of the other one first, so that what comes
            correlates with `score` by √(1 − share) exactly.
    """
    apart = (other - overlap * score) / np.sqrt(max(1 - overlap**2, 1e-9))
    answer: Array = np.sqrt(1 - share) * score + np.sqrt(share) * apart
    return answer


def overlap(one: Array, other: Array) -> float:
    """Correlation of two scores of the reference rows; of scores without spread it is 0."""
    spread = float(one.std() * other.std())
    covariance = float(((one - one.mean()) * (other - other.mean())).mean())
    return covariance / spread if spread > 1e-12 else 0.0


@lru_cache(maxsize=64)
def reference(seed: int, features: int) -> Array:
    """Reference rows of the world, independent and normal, read-only: features × rows."""
    rows = stream(seed, "reference", features).standard_normal((features, REFERENCE_ROWS))
    rows.flags.writeable = False
    return rows


def solve_intercept(scores: Array, positive_rate: float) -> float:
    """The intercept under which logistic probabilities of these scores have that mean."""
    low, high = -40.0, 40.0
    for _ in range(40):
        middle = (low + high) / 2
        if sigmoid(scores + middle).mean() < positive_rate:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def sigmoid(logit: Array) -> Array:
    """Probabilities from log odds, without overflow."""
    answer: Array = 0.5 * (1 + np.tanh(0.5 * logit))
    return answer
