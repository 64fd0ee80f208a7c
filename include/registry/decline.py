"""Whether what serves has become worse than was expected of it, window after window.

One odd week is none, however many entities it has: all of them had it. So the newest windows are
judged together, and each of them has to be low: of two it takes large falls, of four smaller ones
that stay (runs rules; Western Electric 1956; Champ and Woodall 1987). That all of them are low by
chance follows from how much windows swing, as known at promotion and from the windows before them;
where it is not known nothing is said.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import gammainc, gammaincinv, ndtr

from include.registry.two_way import UNKNOWN, Swing

Floats = npt.NDArray[np.float64]

#: How many of the newest windows are judged together; either test has half of the level.
RUNS: Final = (2, 4)
#: Places at which the distributions of what all windows of a run have in common are summed up.
_PLACES: Final = 80
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(15)


@dataclass(frozen=True)
class Window:
    """A figure of one window; it rises with quality."""

    value: float
    error: float  #: standard error by entity
    entities: float | None = None  #: that the error effectively rests on; many where None


@dataclass(frozen=True)
class PromisedFigure:
    """The value that a figure was expected to have, and how sure that was."""

    value: float
    error: float = 0.0  #: standard error by entity; 0 of a given number
    blocks: float = math.inf  #: of time that it is the mean of
    swing: Swing = UNKNOWN  #: of the figure from window to window, as known then


def chance_of_fall(windows: Sequence[Window], expected: PromisedFigure) -> float | None:
    """The chance that the newest windows are all so low without a decline; 1 where one is not low.

    None where windows are too few, or how much they swing is unknown.

    Args:
        windows: that do not overlap, oldest first.
    """
    chances = [_chance(windows, expected, run) for run in RUNS if len(windows) >= run]
    computed = [chance for chance in chances if chance is not None]
    return min(1.0, len(RUNS) * min(computed)) if computed else None


def _chance(windows: Sequence[Window], expected: PromisedFigure, run: int) -> float | None:
    """The chance for one run: the larger of two, with and without anything shared in a window."""
    newest, before = windows[-run:], windows[:-run]
    observed = Swing.along([window.value for window in before], [window.error for window in before])
    swing = expected.swing.pooled(observed)
    if not swing.freedom:
        return None
    fall = np.array([expected.value - window.value for window in newest])
    if fall.min() <= 0:
        return 1.0
    chance = np.array([window.error**2 for window in newest])
    # what windows share, of which there is a distribution: above what chance makes in them alone
    variance, weight = _scaled(swing.variance, swing.freedom, swing.chance)
    shared = variance - swing.chance
    beyond = max(0.0, swing.variance - swing.chance)
    low = _all_low(
        fall,
        np.sqrt(beyond + chance),
        np.sqrt(shared[:, None] + chance),
        np.sqrt(shared / expected.blocks + expected.error**2),
        weight,
    )
    # as if windows shared nothing, and few entities made the error: never surer than that
    entities = min(math.inf if window.entities is None else window.entities for window in newest)
    scale, weight = _scaled(1.0, max(entities - 1, 1.0), 0.0)
    alone = _all_low(
        fall,
        np.sqrt(chance),
        np.sqrt(scale[:, None] * chance),
        np.full(len(scale), expected.error),
        weight,
    )
    return max(low, alone)


def _scaled(variance: float, freedom: float, least: float) -> tuple[Floats, Floats]:
    """The distribution of a true variance that was measured, as places and their weights.

    It is the posterior without other knowledge: scaled inverse chi-square, cut off below `least`.
    """
    if not variance or math.isinf(freedom):
        return np.array([max(variance, least)]), np.ones(1)
    # Quantiles at s³ for even steps s in (0, 1), each of weight d(s³) = 3 s² ds: dense where the
    # variance is large, which is where the chance of a fall comes from.
    steps = (np.arange(_PLACES) + 0.5) / _PLACES
    below = gammainc(freedom / 2, freedom * variance / (2 * least)) if least else 1.0
    places = gammaincinv(freedom / 2, below * steps**3)
    variances = freedom * variance / (2 * np.maximum(places, 1e-300))
    return np.maximum(variances, least), 3 * steps**2 / _PLACES


def _all_low(fall: Floats, about: Floats, error: Floats, common: Floats, weight: Floats) -> float:
    """The chance that all windows are as low as the least low of them, in standard errors.

    Windows share the variance and the error of what was expected, and are independent given both.
    So their chances multiply at each place of either, and the products are averaged over the places
    (the orthant of a multivariate Student distribution; Dunnett and Sobel 1954).

    Args:
        fall: per window, below what is expected.
        about: the fall's standard error per window, without regard to places.
        error: that standard error per place of the distribution (rows) and window.
        common: per place, the standard error of what is expected.
        weight: of each place.
    """
    if not about.min():
        return 0.0
    least = float((fall / about).min()) * about
    # Gauss–Hermite nodes: how far off the expected value may be, the same for all windows
    off = common[:, None, None] * _NODES[None, :, None]
    chance = ndtr((off - least) / error[:, None, :]).prod(axis=2)
    return float(weight @ (chance @ (_WEIGHTS / _WEIGHTS.sum())))
