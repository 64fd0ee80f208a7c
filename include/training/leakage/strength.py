"""Strength: what an origin explains of what everything else leaves unexplained."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from include.features.origins import EVENT, TIMING
from include.training.leakage.power import Floats, InfluenceEstimate
from include.training.leakage.table import SURE, Side, monotone

#: Share of what everything else leaves unexplained, above which an origin is suspect; of what a
#: scored event says of itself, and of one kind of event, which are meant to tell; and of what
#: tells of the future anyway.
EXPLAINS, EXPLAINS_ITSELF, EXPLAINS_AS_EVENT, EXPLAINS_ALL = 0.05, 0.15, 0.25, 0.9
#: Features of an origin that are looked at alone, the strongest ones.
ALONE: Final = 3


def too_strong(side: Side) -> Iterator[str]:
    """Says so where an origin explains more than an honest one of its kind may."""
    if _allowed(side) == EXPLAINS_ALL and not side.table.binary:
        return  # sums of what goes on are as regular as trade is
    for words, found in explained(side):
        if found.above(_allowed(side), side.table.entity, SURE):
            yield (
                f"{words}, it explains {found.value:.0%} of what all else leaves unexplained, "
                f"and surely more than the {_allowed(side):.0%} that are let pass"
            )
            return


def explained(side: Side) -> Iterator[tuple[str, InfluenceEstimate]]:
    """Share of what the rest leaves unexplained, by its best feature and by all together."""
    table = side.table
    left = (table.target - side.expected) ** 2
    strongest = table.strongest(side.names)[:ALONE]
    alone = min((_best(side, name) for name in strongest), key=lambda answer: _error(side, answer))
    whole = monotone(side.whole, table.target)
    for words, answer in (("alone", alone), ("with all else", whole)):
        gained = left - (table.target - answer) ** 2
        share = float(gained.sum() / left.sum()) if left.any() else 0.0
        yield words, InfluenceEstimate(share, (gained - share * left) / (left.sum() or 1.0))


def _allowed(side: Side) -> float:
    """Share of what the rest leaves unexplained that the origin may explain."""
    if side.origin in (TIMING, side.use_case.label.value):
        return EXPLAINS_ALL
    if side.origin.startswith(EVENT):
        return EXPLAINS_AS_EVENT
    request = side.use_case.request
    return EXPLAINS_ITSELF if request and _is_of(side, request.columns) else EXPLAINS


def _is_of(side: Side, columns: Sequence[str]) -> bool:
    return any(name in columns for name in side.names)


def _best(side: Side, name: str) -> Floats:
    """The best monotone function of one feature, and the mean where it is missing."""
    column, target = side.table.column(name), side.table.target
    missing = np.isnan(column)
    found = np.zeros(len(target))
    if missing.any():
        found[missing] = target[missing].mean()
    if not missing.all():
        found[~missing] = monotone(column[~missing], target[~missing])
    return found


def _error(side: Side, answer: Floats) -> float:
    return float(((side.table.target - answer) ** 2).sum())
