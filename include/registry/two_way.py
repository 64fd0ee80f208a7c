"""The uncertainty of a figure whose rows depend on each other by entity and by time.

A promotion, a holiday or the weather moves all series of a chain in the same week, so a thousand of
them in one week are one week. A figure's influences (one per row, summing up to about 0) are added
up by entity and by block of time, and each sum gives a variance:

- by entity, over all of its rows (Obuchowski 1997; Field and Welsh 2007);
- by block, the jackknife that leaves out one block at a time (CV3 of MacKinnon, Nielsen and Webb
  2023; never too small on average, Hansen 2025), with Student's t on the blocks: they are few
  (Bester, Conley and Hansen 2011);
- by entities that come back in several blocks: the variance by entity, less that by entity within
  a block. This and the variance by block together are the two-way variance of Cameron, Gelbach and
  Miller (2011) and Thompson (2011).

Each part keeps the quantile of its own degrees of freedom (as in Howe 1974), and the interval is
never narrower than the one by entity alone.

A single block has no variance between blocks. A `Swing` that is known from other blocks then stands
in for it, and is pooled with it where blocks are few.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

#: One-sided level of a 95 % interval.
PLAIN: Final = 0.025
#: Least effective number of entities for a variance: with fewer, Student's t makes an interval of
#: more than 160 standard errors, and soon of more than a float can hold.
_FEWEST: Final = 1.5


@dataclass(frozen=True)
class Swing:
    """How much a figure of one block of time varies from block to block, chance included."""

    variance: float = 0.0
    freedom: float = 0.0  #: degrees of freedom of the variance; 0 where it is not known
    chance: float = 0.0  #: the part of the variance that comes from few entities by chance

    def pooled(self, other: Swing) -> Swing:
        """The two swings as one, each weighted by its degrees of freedom."""
        freedom = self.freedom + other.freedom
        if not freedom:
            return Swing()
        weights = self.freedom / freedom, other.freedom / freedom
        return Swing(
            weights[0] * self.variance + weights[1] * other.variance,
            freedom,
            weights[0] * self.chance + weights[1] * other.chance,
        )

    @classmethod
    def among(cls, figures: Sequence[float], errors: Sequence[float] = ()) -> Swing:
        """The swing of one figure per block, all blocks weighing alike.

        Args:
            errors: each figure's standard error by entity, which is what chance alone makes.
        """
        if len(figures) < 2:
            return cls()
        chance = float(np.mean(np.square(errors))) if len(errors) else 0.0
        return cls(float(np.var(figures, ddof=1)), len(figures) - 1.0, chance)

    @classmethod
    def along(cls, figures: Sequence[float], errors: Sequence[float] = ()) -> Swing:
        """The swing of one figure per block, in order of time, where the level may have moved.

        Half the mean square of successive differences estimates the variance (von Neumann 1941): a
        change of level touches one difference only. The degrees of freedom are those of that sum.
        """
        count = len(figures)
        if count < 2:
            return cls()
        chance = float(np.mean(np.square(errors))) if len(errors) else 0.0
        variance = float((np.diff(figures) ** 2).sum()) / (2 * (count - 1))
        return cls(variance, 2 * (count - 1) ** 2 / (3 * count - 4), chance)

    @classmethod
    def read(cls, found: Mapping[str, Any] | None) -> Swing:
        """The swing as a promotion's evidence keeps it; unknown where the evidence has none."""
        return cls() if found is None else cls(**found)


UNKNOWN: Final = Swing()


@dataclass(frozen=True)
class Uncertainty:
    """The parts of one figure's variance; every error is a standard error."""

    by_entity: float
    entities: float  #: effective number behind the error by entity (Satterthwaite 1946)
    returning: float  #: error by entities that come back in another block
    by_block: float  #: 0 where there is one block
    blocks: float  #: effective number of blocks: 1 / sum of squared shares of the rows
    freedom: float  #: degrees of freedom of `by_block`; 0 where there is one block
    elsewhere: Swing = UNKNOWN  #: the figure's swing as known from other blocks

    @property
    def swing(self) -> Swing:
        """How much the figure varies from block to block, by its own blocks.

        The variance of a mean of `blocks` equal blocks, times their number, is that of one block.
        Entities that come back add the same to every block, so they make no difference of blocks.
        """
        chance = max(0.0, self.by_entity**2 - self.returning**2) * self.blocks
        return Swing(self.by_block**2 * self.blocks, self.freedom, chance)

    @property
    def known(self) -> bool:
        """Whether the swing from block to block is known, without which nothing can be decided."""
        return self.freedom + self.elsewhere.freedom > 0

    def half_width(self, level: float = PLAIN) -> float:
        """Half the width of the interval that misses with a chance of `level` on either side.

        With a single block and no swing known, the interval is about that block alone. It is
        infinite where effectively one entity makes the figure.
        """
        if self.entities < _FEWEST:
            return math.inf
        by_entity = _quantile(self.entities - 1, level)
        alone = by_entity * self.by_entity
        if not self.known:
            return alone
        # Each part of the error keeps the quantile of its own degrees of freedom, and the parts,
        # which are independent, add up as squares (Howe 1974). Never narrower than by entity alone.
        both = self.swing.pooled(self.elsewhere)
        by_block = _quantile(both.freedom, level) * math.sqrt(both.variance / self.blocks)
        return max(alone, math.hypot(by_block, by_entity * self.returning))

    def chance_above(self, distance: float) -> float:
        """The one-sided p-value of a figure that lies `distance` above the tested value; 0.5 at 0.

        It is the level at which the interval's end would lie exactly at the tested value.
        """
        if distance <= 0:
            return 1 - self.chance_above(-distance) if distance < 0 else 0.5
        # Bisection: the interval narrows as the level rises, and throughout the loop its half width
        # is above `distance` at `low` and at most that at `high`.
        low, high = 0.0, 0.5
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self.half_width(middle) > distance else (low, middle)
        return high

    @classmethod
    def read(cls, found: Mapping[str, Any] | None) -> Uncertainty | None:
        """The uncertainty as a promotion's evidence keeps it; None where the evidence has none."""
        if found is None:
            return None
        return cls(**{**found, "elsewhere": Swing(**found["elsewhere"])})


def two_way(influence: Floats, entity: npt.ArrayLike, block: Codes) -> Uncertainty:
    """The uncertainty of a figure, from what each row adds to it.

    Args:
        influence: per row, what the figure would lose without that row; sums up to about 0.
        entity: per row, whose it is.
        block: per row, its block of time, as `blocks_of` numbers them.
    """
    entities, blocks = _codes(entity), _codes(block)
    count, number = int(entities.max(initial=-1)) + 1, int(blocks.max(initial=-1)) + 1
    # A sum of independent parts has the sum of their squares as its variance. The parts are
    # entities (`whole`), then entities within a block (`inside`): the difference is due to entities
    # that come back in other blocks.
    by_entity = np.bincount(entities, influence, count)
    cells = np.bincount(_codes(entities * number + blocks), influence)
    squares = by_entity**2
    whole = float(squares.sum()) * _correction(count)
    inside = float((cells**2).sum()) * _correction(len(cells))
    # how many equal entities would make as uncertain a variance (Satterthwaite 1946)
    fourth = float((squares**2).sum())
    effective = float(squares.sum()) ** 2 / fourth if fourth else float(count)
    shares = np.bincount(blocks, minlength=number) / max(len(blocks), 1)
    heavy = 1 / float((shares**2).sum()) if number else 0.0
    between = 0.0
    if number > 1:
        # Without a block of share h the figure moves by the block's influence / (1 − h). The sum of
        # these squares × (n − 1) / n, not centred, is CV3, never too small on average.
        left_out = np.bincount(blocks, influence, number) / (1 - shares)
        between = float((left_out**2).sum()) * (number - 1) / number
    returning = max(0.0, whole - inside) if number > 1 else 0.0
    return Uncertainty(
        math.sqrt(whole) if count > 1 else math.inf,
        effective,
        math.sqrt(returning),
        math.sqrt(between),
        heavy,
        max(1.0, heavy - 1) if number > 1 else 0.0,
    )


def blocks_of(instants: npt.NDArray[np.datetime64], reach: timedelta) -> Codes:
    """The number of each row's block of time: instants less than `reach` after the block's first.

    Labels look `reach` ahead, so instants that are closer than that share days of their labels.
    """
    distinct, place_of = np.unique(instants, return_inverse=True)
    codes, start, number = np.zeros(len(distinct), np.int64), None, -1
    for place, at in enumerate(distinct):
        if start is None or at - start >= np.timedelta64(reach):
            start, number = at, number + 1
        codes[place] = number
    return codes[place_of]


def _codes(values: npt.ArrayLike) -> Codes:
    codes: Codes = np.unique(np.asarray(values), return_inverse=True)[1].astype(np.int64)
    return codes


def _correction(count: int) -> float:
    return count / (count - 1) if count > 1 else 1.0


def _quantile(freedom: float, level: float) -> float:
    """The quantile of Student's t above which lies a share of `level`."""
    return float(stdtrit(freedom, 1 - level))
