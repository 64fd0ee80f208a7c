"""What lies in the same baskets: shrunk lift, its settings chosen on the last window."""

from __future__ import annotations

from dataclasses import asdict

import pyarrow as pa

from include.models import association_fit
from include.models.association import GRID
from include.models.contributors import Contributors
from include.models.list_models import AssociationPredictor
from include.models.model import Model
from include.training.estimators import Trials
from include.training.list_rows import (
    baskets_of,
    categories_of,
    history_of,
    list_model,
    looked_at,
)
from include.training.rows import LabelledRows
from include.training.windows import TrainingWindows
from include.use_cases.declaration import UseCase


def fit_lists(
    use_case: UseCase,
    training: LabelledRows,
    windows: TrainingWindows,
    parent: Model | None = None,
    contributors: Contributors | None = None,
) -> tuple[Model, Trials]:
    """The model of the baskets; a parent changes nothing of it."""
    looked = looked_at(training, windows)
    baskets, until = baskets_of(training), looked[-1] + use_case.reach
    if contributors is not None:
        baskets = contributors.known(baskets)
    known = categories_of(training, history_of(use_case), contributors)
    categories = None
    if known:
        categories = pa.table({"item_id": list(known), "category": list(known.values())})
    settings = GRID[0]
    trials: Trials = ()
    if len(looked) > 1:
        chosen = association_fit.choose(
            baskets,
            GRID,
            window=use_case.reach,
            as_of=until,
            categories=categories,
            contributors=contributors,
        )
        settings = chosen.settings
        trials = tuple({"settings": asdict(s), "hit@10": v} for s, v in chosen.hit_rate.items())
    fitted = association_fit.fit(
        baskets, settings, as_of=until, categories=categories, contributors=contributors
    )
    predictor = AssociationPredictor(fitted)
    return list_model(use_case, "bought_together", predictor, asdict(settings)), trials
