"""How sure a figure is, when neither the rows of one entity nor those of one time are independent.

A promotion, a holiday or the weather moves all series of a chain in the same week, so a thousand of
them in one week are one week. A figure's influences (one per row, summing up to about 0) are added
up by entity and by block of time, and each sum gives a variance:

- by entity, over all of its rows (Obuchowski 1997; Field and Welsh 2007);
- by block, the jackknife that leaves out one block at a time (CV3 of MacKinnon, Nielsen and Webb
  2023; never too small on average, Hansen 2025), with Student's t on the blocks: they are few
  (Bester, Conley and Hansen 2011);
- what entities add that come back in several blocks, by entity less by entity within a block. By
  block and this together are the two-way variance of Cameron, Gelbach and Miller (2011) and
  Thompson (2011).

Each part keeps the quantile of its own degrees of freedom (as in Howe 1974), and the interval is
never narrower than the one by entity alone.

One block has no variance. Then, or beside few, a `Swing` that is known from other blocks stands in.
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
#: Effective entities that a variance can rest on: of fewer, Student's t makes an interval of more
#: than 160 standard errors, and soon of more than a number can say.
_FEWEST: Final = 1.5


@dataclass(frozen=True)
class Swing:
    """How much a figure of one block of time varies from block to block, chance included."""

    variance: float = 0.0
    freedom: float = 0.0  #: degrees of freedom of the variance; 0 where it is not known
    chance: float = 0.0  #: of the variance, what few entities make by chance

    def pooled(self, other: Swing) -> Swing:
        """Both together, weighted by what each rests on."""
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
        """Of figures of blocks that weigh alike, and their standard errors by entity."""
        if len(figures) < 2:
            return cls()
        chance = float(np.mean(np.square(errors))) if len(errors) else 0.0
        return cls(float(np.var(figures, ddof=1)), len(figures) - 1.0, chance)

    @classmethod
    def along(cls, figures: Sequence[float], errors: Sequence[float] = ()) -> Swing:
        """Likewise, of blocks one after another whose level may have changed for good.

        By the squares of their differences (von Neumann 1941), which a change of level hardly
        touches; the degrees of freedom are those of such a sum.
        """
        count = len(figures)
        if count < 2:
            return cls()
        chance = float(np.mean(np.square(errors))) if len(errors) else 0.0
        variance = float((np.diff(figures) ** 2).sum()) / (2 * (count - 1))
        return cls(variance, 2 * (count - 1) ** 2 / (3 * count - 4), chance)

    @classmethod
    def read(cls, found: Mapping[str, Any] | None) -> Swing:
        """From a promotion's evidence; not known where that has none."""
        return cls() if found is None else cls(**found)


UNKNOWN: Final = Swing()


@dataclass(frozen=True)
class Uncertainty:
    """What the variance of one figure is made of; errors are standard errors."""

    by_entity: float
    entities: float  #: that the error by entity effectively rests on (Satterthwaite 1946)
    returning: float  #: error by entities that come back in another block
    by_block: float  #: 0 where there is one block
    blocks: float  #: effectively: 1 / sum of squared shares, the number of equally heavy ones
    freedom: float  #: degrees of freedom of `by_block`; 0 where there is one block
    elsewhere: Swing = UNKNOWN  #: of the figure from block to block, as other blocks tell

    @property
    def swing(self) -> Swing:
        """How much the figure varies from block to block, by its own blocks."""
        chance = max(0.0, self.by_entity**2 - self.returning**2) * self.blocks
        return Swing(self.by_block**2 * self.blocks, self.freedom, chance)

    @property
    def known(self) -> bool:
        """Whether the swing from block to block is known, without which nothing can be decided."""
        return self.freedom + self.elsewhere.freedom > 0

    def half_width(self, level: float = PLAIN) -> float:
        """Of the interval that misses with a chance of `level` on either side.

        Where only one block is there and no swing is known, it is about that block alone. It is
        infinite where effectively one entity makes the figure.
        """
        if self.entities < _FEWEST:
            return math.inf
        by_entity = _quantile(self.entities - 1, level)
        alone = by_entity * self.by_entity
        if not self.known:
            return alone
        both = self.swing.pooled(self.elsewhere)
        by_block = _quantile(both.freedom, level) * math.sqrt(both.variance / self.blocks)
        return max(alone, math.hypot(by_block, by_entity * self.returning))

    def chance_above(self, distance: float) -> float:
        """One-sided p-value of a figure at `distance` from what is tested; 0.5 at none.

        The level at which the interval's end would lie there.
        """
        if distance <= 0:
            return 1 - self.chance_above(-distance) if distance < 0 else 0.5
        low, high = 0.0, 0.5
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if self.half_width(middle) > distance else (low, middle)
        return high

    @classmethod
    def read(cls, found: Mapping[str, Any] | None) -> Uncertainty | None:
        """From a promotion's evidence; None where that has none."""
        if found is None:
            return None
        return cls(**{**found, "elsewhere": Swing(**found["elsewhere"])})


def two_way(influence: Floats, entity: npt.ArrayLike, block: Codes) -> Uncertainty:
    """The uncertainty of a figure.

    Args:
        influence: per row, how much it moves the figure: what the figure would lose without it.
        entity: per row.
        block: per row, as `blocks_of` numbers them.
    """
    entities, blocks = _codes(entity), _codes(block)
    count, number = int(entities.max(initial=-1)) + 1, int(blocks.max(initial=-1)) + 1
    by_entity = np.bincount(entities, influence, count)
    cells = np.bincount(_codes(entities * number + blocks), influence)
    squares = by_entity**2
    whole = float(squares.sum()) * _correction(count)
    inside = float((cells**2).sum()) * _correction(len(cells))
    fourth = float((squares**2).sum())
    effective = float(squares.sum()) ** 2 / fourth if fourth else float(count)
    shares = np.bincount(blocks, minlength=number) / max(len(blocks), 1)
    heavy = 1 / float((shares**2).sum()) if number else 0.0
    between = 0.0
    if number > 1:
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
    """A number per row; what is looked at within `reach` of a block's start is of that block.

    Labels reach that far, so that what is closer shares the days its labels are about.
    """
    found, of = np.unique(instants, return_inverse=True)
    codes, start, number = np.zeros(len(found), np.int64), None, -1
    for place, at in enumerate(found):
        if start is None or at - start >= np.timedelta64(reach):
            start, number = at, number + 1
        codes[place] = number
    return codes[of]


def _codes(values: npt.ArrayLike) -> Codes:
    found: Codes = np.unique(np.asarray(values), return_inverse=True)[1].astype(np.int64)
    return found


def _correction(count: int) -> float:
    return count / (count - 1) if count > 1 else 1.0


def _quantile(freedom: float, level: float) -> float:
    """Student's, above which lies `level`."""
    return float(stdtrit(freedom, 1 - level))
