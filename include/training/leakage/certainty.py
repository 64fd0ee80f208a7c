"""Certainty: the outcome is sure where a feature has some value, and open by everything else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from include.training.leakage.power import Flags, Floats
from include.training.leakage.table import EXPECTED, Side, usual_value

#: Share of a missing outcome that everything else expects, at least, and how little of it is seen.
OPEN, SELDOM = 0.2, 0.05
_TAILS: Final = (0.02, 0.05, 0.1, 0.2, 0.4)


def too_sure(side: Side) -> Iterator[str]:
    """A reason where rows with some value of a feature have one outcome, against expectation.

    The expected number of the other outcome comes from everything else. It must be large, in rows
    and as a share; the number that is seen must be next to nothing.
    """
    table = side.table
    if not table.binary:
        return
    chance = _chance(side.rest, table.label)
    for name in side.names:
        for where, words in _regions(table.column(name)):
            rows = int(where.sum())
            for outcome, absent in ((1.0, 1 - chance), (0.0, chance)):
                expected = float(absent[where].sum())
                if expected < max(EXPECTED, OPEN * rows):
                    continue
                seen = int((table.label[where] != outcome).sum())
                if seen <= SELDOM * expected:
                    yield (
                        f"where {name} is {words}, {rows - seen:,} of {rows:,} rows have one "
                        f"outcome, and by all others {expected:,.0f} should have the other"
                    )
                    return


def _chance(score: Floats, label: Floats) -> Floats:
    """Each row's chance of the outcome by its score: the share among rows of like scores."""
    chance = np.empty(len(score))
    for part in np.array_split(np.argsort(score, kind="stable"), max(2, min(20, len(score) // 50))):
        chance[part] = label[part].mean()
    return chance


def _regions(column: Floats) -> Iterator[tuple[Flags, str]]:
    """Parts of a feature's values, in words that name no value, as they go into reasons."""
    missing, usual = np.isnan(column), usual_value(column)
    present = column[~missing]
    yield missing, "missing"
    yield ~missing, "there"
    yield column == usual, "its most frequent value"
    yield ~missing & (column != usual), "another than its most frequent value"
    for share in _TAILS if len(present) else ():
        low, high = np.quantile(present, (share, 1 - share))
        yield column <= low, f"among its lowest {share:.0%}"
        yield column >= high, f"among its highest {share:.0%}"
