"""Looks for target leakage: what a model can know in training, and will not know when it serves.

A column that carries its outcome makes every figure of a holdout look well, since the holdout has
the column too (Kaufman, Rosset, Perlich and Stitelman 2012). Nothing in the rows proves that it
does, but it gives itself away. Features are looked at by what they are made of, their origins
(`features.origins`), as a leaking column spoils all of them; each beside all that does without it:

strength    it explains a good part of what everything else leaves unexplained; of an event, that
            is all that does not count it among others
certainty   where it has some value the outcome is sure, and everything else leaves it open
freshness   it tells the outcome by events that are younger than the label's horizon, and not by
            older ones, whose values are final: an honest measure is a habit, and tells by both
age         it tells the outcome of new rows and not of old ones, or the other way round, and the
            rest does not change so
completion  rows that have no outcome yet lack it, as labelled rows did not when they were new
vintage     what was logged when rows were scored is not what is computed for them now, and only
            that tells the outcome

What happened at all, when and to whom (`TIMING`), and a total's own column tell of the future by
what they are. There, only what cannot be true is suspect.

"Everything else" is a ridge regression on the features' ranks and, of its scores, the best monotone
function, on all rows at once: that flatters it, and so protects honest features. No other model is
fitted. Errors are those of whole entities, whose rows are not independent (influence functions; for
the AUC DeLong, DeLong and Clarke-Pearson 1988; clustered, Obuchowski 1997).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from include.features.origins import TIMING
from include.training.leakage.certainty import too_sure
from include.training.leakage.evidence import Fresh, Logged, Looks, SuspectedOrigin
from include.training.leakage.power import Flags, power
from include.training.leakage.strength import too_strong
from include.training.leakage.table import Side, Table
from include.training.leakage.times import changed_with_age, fresher, lacking, rewritten
from include.training.rows import LabelledRows
from include.use_cases.declaration import UseCase

__all__ = ["Fresh", "Logged", "Looks", "SuspectedOrigin", "find", "power", "sampled"]

#: Rows that are looked at, those of whole entities: more say nothing new.
MOST_ROWS: Final = 20_000


def sampled(rows: LabelledRows) -> LabelledRows:
    """The rows of every second, third, … entity where there are more than anybody needs."""
    step = -(-len(rows) // MOST_ROWS)
    if step <= 1:
        return rows
    keep: Flags = np.unique(rows.entity, return_inverse=True)[1] % step == 0
    return rows.where(keep)


def find(
    use_case: UseCase, rows: LabelledRows, looks: Looks | None = None
) -> tuple[SuspectedOrigin, ...]:
    """Every origin of the use case's features that looks like its outcome, with the reasons.

    Args:
        rows: labelled ones, see `sampled`.
    """
    looks = looks or Looks()
    table = Table.of(use_case, rows)
    if table is None:
        return ()
    found = []
    gone = lacking(table, looks.recent)
    if gone.keys() & set(table.origins.get(TIMING, ())):
        gone = {}  # nothing happens any more, which is no column's fault
    for origin, names in table.origins.items():
        side = Side.of(use_case, table, origin, names)
        gaps = [gone[name] for name in names if name in gone]
        reasons = (*_reasons(side, looks), *gaps[:1])
        if reasons:
            found.append(SuspectedOrigin(origin, names, reasons))
    return tuple(found)


def _reasons(side: Side, looks: Looks) -> Iterator[str]:
    """What speaks against an origin, by every look but completion."""
    yield from too_strong(side)
    if side.origin != TIMING:
        yield from too_sure(side)
    yield from fresher(side, looks.fresh.get(side.origin, ()))
    yield from changed_with_age(side)
    if looks.logged is not None:
        yield from rewritten(side, looks.logged)
