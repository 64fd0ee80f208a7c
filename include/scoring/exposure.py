"""How much attention rankings give to groups of items, and rankings that give each its share.

Exposure falls with the place as `1 / log2(1 + place)` (Singh and Joachims, "Fairness of Exposure in
Rankings", 2018). A group's share of it is held against its share of what could have been shown.
Parity is kept by DetGreedy (Geyik, Ambler and Kenthapadi, "Fairness-Aware Ranking in Search &
Recommendation Systems with Application to LinkedIn Talent Search", 2019): at every place k of a
list, a group of share p has at least ⌊p·k⌋ items and, if that can be, at most ⌈p·k⌉.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.handoffs import GroupExposure

#: Of an item whose group is not known.
UNKNOWN = "unknown"


def groups_of(features: pa.Table, column: str) -> list[str]:
    """The group of each row's item."""
    return [UNKNOWN if group is None else group for group in features[column].to_pylist()]


def measured(
    shown: Sequence[str], place: npt.NDArray[np.int64], offered: Sequence[str]
) -> tuple[GroupExposure, ...]:
    """Per group its share of the candidates and of the exposure, by name.

    Args:
        shown: group of each item shown, at `place`, from 1.
        offered: group of each candidate.
    """
    weight = 1.0 / np.log2(1.0 + place)
    total = weight.sum()
    given: dict[str, float] = {}
    for group, one in zip(shown, weight.tolist(), strict=True):
        given[group] = given.get(group, 0.0) + one
    counted = Counter(offered)
    return tuple(
        GroupExposure(
            group=group,
            candidates=counted[group] / len(offered),
            exposure=given.get(group, 0.0) / total if total else 0.0,
        )
        for group in sorted(counted)
    )


def fair_order(groups: Sequence[str], shares: Mapping[str, float], top: int) -> list[int]:
    """Places of the candidates to show, at most `top`, each group with its share.

    Args:
        groups: of one entity's candidates, best first.
        shares: group → share of every list, adding up to 1.
    """
    waiting: dict[str, list[int]] = {}
    for place, group in enumerate(groups):
        waiting.setdefault(group, []).append(place)
    for places in waiting.values():
        places.reverse()
    shown: Counter[str] = Counter()
    order: list[int] = []
    while len(order) < min(top, len(groups)):
        k = len(order) + 1
        open_to = [group for group, places in waiting.items() if places]
        behind = [g for g in open_to if shown[g] < int(np.floor(shares.get(g, 0.0) * k + 1e-9))]
        below = [g for g in open_to if shown[g] < int(np.ceil(shares.get(g, 0.0) * k - 1e-9))]
        # candidates come best first: the group whose next one stands first has the best
        best = min(behind or below or open_to, key=lambda group: waiting[group][-1])
        order.append(waiting[best].pop())
        shown[best] += 1
    return order
