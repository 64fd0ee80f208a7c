"""How much figures swing from one block of time to the next, where the holdout is one block.

Whatever all rows of a time share moves a figure from window to window. A holdout of one or two
windows does not tell how much; training windows do, a year of them. Models that are here as they
are (rules of thumb, the global one, who serves) are asked about the training windows, those of the
tenant's own have been judged on later ones as time went by (see `candidates`). A model that has
learnt from a window looks better there than it is, but about as much in every window: for its level
such windows are worth nothing, for how it swings they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from include.models.measures import log_odds
from include.models.model import Scores
from include.registry.evidence import Comparison
from include.registry.two_way import Swing, blocks_of
from include.training.candidates import OwnModel, judged_by_rows, some_entities
from include.training.evaluation import Contender
from include.training.metrics import Estimate, Intervals
from include.training.rows import LabelledRows
from include.use_cases.declaration import UseCase


@dataclass(frozen=True)
class Earlier:
    """What models say of training windows."""

    use_case: UseCase
    rows: LabelledRows  #: that the fixed models are asked about
    fixed: Mapping[str, Scores]  #: by key
    own: Mapping[
        str, tuple[LabelledRows, Scores]
    ]  #: by key: later windows of those judged through time

    @classmethod
    def of(
        cls,
        use_case: UseCase,
        training: LabelledRows,
        contenders: Sequence[Contender],
        own: Sequence[OwnModel],
    ) -> Earlier:
        """Ask every contender that can be asked; nobody where training windows are no windows."""
        if not len(training) or not judged_by_rows(use_case, training):
            return cls(use_case, training, {}, {})
        rows = some_entities(training, use_case.seed)
        later = {
            f"own/{one.name}": (
                LabelledRows.stacked([part.rows for part in one.later]),
                np.concatenate([part.scores for part in one.later]),
            )
            for one in own
            if one.later
        }
        fixed = {
            one.key: one.model.predict(rows.features) for one in contenders if one.rung != "own"
        }
        return cls(use_case, rows, fixed, later)

    def informed(self, found: Comparison) -> Comparison:
        """A comparison that knows how much the two models' difference swings."""
        ours, theirs = (self.fixed.get(key) for key in (found.candidate, found.against))
        if ours is None or theirs is None:
            return found
        intervals = Intervals(self.rows, self.use_case.reach)
        swing = intervals.swing(self.use_case.metric, ours, theirs)
        return found.with_swing(swing)

    def told(
        self, key: str, estimate: Estimate, holdout: LabelledRows, scores: Scores | None
    ) -> Swings:
        """What later figures of a model are to be judged with.

        Args:
            estimate: of the deciding metric on the holdout.
            scores: of the holdout's rows, where the model scores rows.
        """
        metric = estimate.uncertainty.swing if estimate.uncertainty else Swing()
        gaps = Swing() if scores is None else self._gaps(holdout, scores)
        earlier = self.own.get(key)
        if earlier is None and key in self.fixed:
            earlier = self.rows, self.fixed[key]
        if earlier is not None:
            rows, said = earlier
            intervals = Intervals(rows, self.use_case.reach)
            metric = metric.pooled(intervals.swing(self.use_case.metric, said))
            gaps = gaps.pooled(self._gaps(rows, said))
        own = estimate.uncertainty
        return Swings(own.by_entity if own else None, own.blocks if own else 0.0, metric, gaps)

    def _gaps(self, rows: LabelledRows, scores: Scores) -> Swing:
        """Of the log odds of outcomes less those of what was predicted."""
        if self.use_case.task != "classification" or not len(rows):
            return Swing()
        found = list(gaps(rows, scores, self.use_case))
        return Swing.among([gap for gap, _ in found], [error for _, error in found])


@dataclass(frozen=True)
class Swings:
    """What the ledger keeps of the champion for judging later windows by."""

    error: float | None  #: standard error by entity of its metric on the holdout
    blocks: float  #: of time that the holdout was, effectively
    metric: Swing
    calibration: Swing  #: of the gap of log odds

    def document(self) -> dict[str, Any]:
        """As the ledger keeps it."""
        return asdict(self)


def gaps(rows: LabelledRows, scores: Scores, use_case: UseCase) -> Iterator[tuple[float, float]]:
    """Per block the log odds of outcomes less those predicted, with the error that chance makes.

    Where both lie within 0 and 1.
    """
    block = blocks_of(rows.as_of, use_case.reach)
    for number in np.unique(block).tolist():
        rates = [float(values[block == number].mean()) for values in (rows.label, scores)]
        if all(0 < rate < 1 for rate in rates):
            spread = rates[0] * (1 - rates[0]) * int((block == number).sum())
            yield log_odds(rates[0]) - log_odds(rates[1]), 1 / math.sqrt(spread)
