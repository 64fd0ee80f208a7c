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
    """What a figure was promised to be."""

    value: float
    error: float = 0.0  #: standard error by entity; 0 of a given number
    blocks: float = math.inf  #: of time that it is the mean of
    swing: Swing = UNKNOWN  #: of the figure from window to window, as known then


def chance_of_fall(windows: Sequence[Window], expected: PromisedFigure) -> float | None:
    """How likely the newest windows are all so low by chance; 1 where one of them is not low.

    None where nothing can be said.

    Args:
        windows: that do not overlap, oldest first.
    """
    found = [_chance(windows, expected, run) for run in RUNS if len(windows) >= run]
    known = [one for one in found if one is not None]
    return min(1.0, len(RUNS) * min(known)) if known else None


def _chance(windows: Sequence[Window], expected: PromisedFigure, run: int) -> float | None:
    newest, before = windows[-run:], windows[:-run]
    told = Swing.along([one.value for one in before], [one.error for one in before])
    swing = expected.swing.pooled(told)
    if not swing.freedom:
        return None
    fall = np.array([expected.value - one.value for one in newest])
    if fall.min() <= 0:
        return 1.0
    chance = np.array([one.error**2 for one in newest])
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
    entities = min(math.inf if one.entities is None else one.entities for one in newest)
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
    """Places and weights of what a variance is that was measured, and is at least so much.

    Its posterior distribution without other knowledge: scaled inverse chi-square, truncated.
    """
    if not variance or math.isinf(freedom):
        return np.array([max(variance, least)]), np.ones(1)
    steps = (np.arange(_PLACES) + 0.5) / _PLACES
    below = gammainc(freedom / 2, freedom * variance / (2 * least)) if least else 1.0
    places = gammaincinv(freedom / 2, below * steps**3)  # more of them where it is large
    found = freedom * variance / (2 * np.maximum(places, 1e-300))
    return np.maximum(found, least), 3 * steps**2 / _PLACES


def _all_low(fall: Floats, about: Floats, error: Floats, common: Floats, weight: Floats) -> float:
    """That all windows are as low as the least low of them, by chance.

    Given the errors they are independent but for what is expected of them; the rest is summed up
    (the orthant of a multivariate Student distribution; Dunnett and Sobel 1954).

    Args:
        fall: per window, below what is expected.
        about: its standard error, about.
        error: the same per place of the distribution.
        common: per place, the standard error of what is expected.
        weight: of the places.
    """
    if not about.min():
        return 0.0
    least = float((fall / about).min()) * about
    off = common[:, None, None] * _NODES[None, :, None]
    chance = ndtr((off - least) / error[:, None, :]).prod(axis=2)
    return float(weight @ (chance @ (_WEIGHTS / _WEIGHTS.sum())))
