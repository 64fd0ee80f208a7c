"""How much figures swing from one block of time to the next, where the holdout is one block.

Whatever all rows of a time share moves a figure from window to window. A holdout of one or two
windows does not tell how much; a year of training windows does. Models that are not fitted in this
training (rules of thumb, the global model, the incumbent) score the training windows; the tenant's
own models have scores of later windows from before they learnt of them (see `candidates`). A model
that has learnt from a window looks better there than it is, but about equally so in every window:
such windows say nothing about the model's level, and are good for its swing.
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
    """The scores that models give to rows of training windows."""

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
        """Score training windows with every contender that can.

        Empty where training rows cannot be judged like later ones (`judged_by_rows`).
        """
        if not len(training) or not judged_by_rows(use_case, training):
            return cls(use_case, training, {}, {})
        rows = some_entities(training, use_case.seed)
        later = {
            f"own/{model.name}": (
                LabelledRows.stacked([part.rows for part in model.later]),
                np.concatenate([part.scores for part in model.later]),
            )
            for model in own
            if model.later
        }
        fixed = {
            contender.key: contender.model.predict(rows.features)
            for contender in contenders
            if contender.rung != "own"
        }
        return cls(use_case, rows, fixed, later)

    def informed(self, found: Comparison) -> Comparison:
        """The comparison, with bounds that know how much the two models' difference swings."""
        ours, theirs = (self.fixed.get(key) for key in (found.candidate, found.against))
        if ours is None or theirs is None:
            return found
        intervals = Intervals(self.rows, self.use_case.reach)
        swing = intervals.swing(self.use_case.metric, ours, theirs)
        return found.with_swing(swing)

    def told(
        self, key: str, estimate: Estimate, holdout: LabelledRows, scores: Scores | None
    ) -> Swings:
        """The errors and swings by which later figures of a model are to be judged.

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
            rows, answers = earlier
            intervals = Intervals(rows, self.use_case.reach)
            metric = metric.pooled(intervals.swing(self.use_case.metric, answers))
            gaps = gaps.pooled(self._gaps(rows, answers))
        own = estimate.uncertainty
        return Swings(own.by_entity if own else None, own.blocks if own else 0.0, metric, gaps)

    def _gaps(self, rows: LabelledRows, scores: Scores) -> Swing:
        """The swing of the calibration gap: log odds of the outcomes less those predicted."""
        if self.use_case.task != "classification" or not len(rows):
            return Swing()
        measured = list(gaps(rows, scores, self.use_case))
        return Swing.among([gap for gap, _ in measured], [error for _, error in measured])


@dataclass(frozen=True)
class Swings:
    """The champion's errors and swings that the ledger keeps, for judging later windows."""

    error: float | None  #: standard error by entity of its metric on the holdout
    blocks: float  #: of time that the holdout was, effectively
    metric: Swing
    calibration: Swing  #: of the gap of log odds

    def document(self) -> dict[str, Any]:
        """As the ledger keeps it."""
        return asdict(self)


def gaps(rows: LabelledRows, scores: Scores, use_case: UseCase) -> Iterator[tuple[float, float]]:
    """Per block, the log odds of the outcome rate less those of the mean prediction, and its error.

    Blocks whose rate or mean prediction is 0 or 1 are left out. The error is the binomial one, by
    the delta method: 1 / √(n p (1 − p)).
    """
    block = blocks_of(rows.as_of, use_case.reach)
    for number in np.unique(block).tolist():
        rates = [float(values[block == number].mean()) for values in (rows.label, scores)]
        if all(0 < rate < 1 for rate in rates):
            spread = rates[0] * (1 - rates[0]) * int((block == number).sum())
            yield log_odds(rates[0]) - log_odds(rates[1]), 1 / math.sqrt(spread)
