"""Tests whether the champion has become worse than expected, window after window.

One odd week proves nothing, however many entities it has: the week was odd for all of them. So the
newest windows are judged together, and each of them has to be low: two windows have to fall far,
four may fall less (runs rules; Western Electric 1956; Champ and Woodall 1987). The chance that all
of them are low without a decline follows from how much windows swing, as known at promotion and
from the windows before. Without a known swing there is no answer.
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

#: Numbers of newest windows that are judged together; each of the two tests has half the level.
RUNS: Final = (2, 4)
#: Places at which the distribution of a variance that windows share is summed up.
_PLACES: Final = 80
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(15)


@dataclass(frozen=True)
class Window:
    """A figure of one window; higher is better."""

    value: float
    error: float  #: standard error by entity
    entities: float | None = None  #: effective number behind the error; None for very many


@dataclass(frozen=True)
class PromisedFigure:
    """The value that a figure was expected to have, and how sure that was."""

    value: float
    error: float = 0.0  #: standard error by entity; 0 of a given number
    blocks: float = math.inf  #: blocks of time that the value is the mean of
    swing: Swing = UNKNOWN  #: of the figure from window to window, as known at promotion


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
    # first, with the swing: what windows share is the variance between them beyond that of chance
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
    # second, with the error by entity alone and its few degrees of freedom: never surer than that
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
