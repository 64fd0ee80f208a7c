"""EASE, blended with what is about lately and with the kinds of things an entity likes.

Settings are chosen by how well lists from what entities had by the last training snapshot hold what
they had in its window, and the model then learns from both. Where nobody liked anything, lists hold
what is about lately.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import timedelta
from itertools import product
from typing import Final

import numpy as np
import pyarrow as pa

from include.models import ease
from include.models.contributors import Contributors
from include.models.diversity import Variety
from include.models.ease import Ease
from include.models.item_lists import ndcg
from include.models.list_models import EasePredictor
from include.models.model import Model
from include.models.playlist import BLENDS, TREND, Columns, experts
from include.training.estimators import Trials
from include.training.list_rows import (
    RECENCY,
    WEIGHT,
    had,
    history_of,
    liked,
    list_model,
    looked_at,
    wanted,
)
from include.training.rows import LabelledRows
from include.training.windows import TrainingWindows
from include.use_cases.declaration import TOP, UseCase

#: Strengths by which a tenant's item similarities are drawn to the global ones.
SHRINKAGES: Final = (0.0, 30.0, 300.0)


def fit_lists(
    use_case: UseCase,
    training: LabelledRows,
    windows: TrainingWindows,
    parent: Model | None = None,
    contributors: Contributors | None = None,
) -> tuple[Model, Trials]:
    """The model, drawn to the global one's similarities where that is there."""
    prior = (
        parent.predictor.ease if parent and isinstance(parent.predictor, EasePredictor) else None
    )
    history = history_of(use_case)
    looked = looked_at(training, windows)
    last = training.at(looked[-1:])
    before, later = had(last, history), wanted(last)
    grid = [
        replace(one, weight=WEIGHT, seen=history.seen, shrinkage=shrinkage)
        for one, shrinkage in product(ease.GRID, SHRINKAGES if prior else (0.0,))
        if one.novelty == 0  # how much popularity counts is the blend's
    ]
    settings, blend = grid[0], BLENDS[0]
    trials: Trials = ()
    lately = use_case.reach / timedelta(days=1)
    if later.num_rows and liked(before):
        chosen = ease.choose(before, later, grid, prior=prior, contributors=contributors)
        settings = chosen.settings
        # EASE will be older than the histories it is asked about; the blend has to know that
        earlier = [at for at in looked if at + use_case.reach <= looked[-1]]
        older = had(training.at(earlier[-1:]), history)
        fitted = ease.fit(older if liked(older) else before, settings, prior, contributors)
        columns = Columns(WEIGHT, RECENCY, history.category, lately)
        found = experts(before, columns, fitted)
        drop = history.seen == "drop"
        reached = {
            one: ndcg(found.lists(one, TOP, drop_seen=drop), later, TOP).mean() for one in BLENDS
        }
        blend = max(reached, key=lambda one: reached[one])
        trials = (
            *({"settings": asdict(s), "ndcg@10": v} for s, v in chosen.ndcg.items()),
            *({"blend": asdict(one), "ndcg@10": float(v)} for one, v in reached.items()),
        )
    both = [table.select(["entity_id", "item_id", WEIGHT]) for table in (before, later)]
    if liked(*both):
        fitted = ease.fit(pa.concat_tables(both), settings, prior, contributors)
    else:
        fitted, blend = Ease(settings, (), np.empty(0, np.int64), np.empty((0, 0)), ()), TREND
    predictor = EasePredictor(
        replace(fitted, settings=replace(settings, weight=history.weight)),
        blend,
        Columns(history.weight, history.recency, history.category, lately),
        Variety(history.relevance, history.novelty, history.chance, use_case.seed),
    )
    return list_model(use_case, "ease", predictor, {**asdict(settings), **asdict(blend)}), trials
