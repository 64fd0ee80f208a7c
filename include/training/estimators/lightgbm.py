"""Boosted trees, as a classifier or, over the items of one entity at one instant, as a ranking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from include.models.boosting import SAMPLED
from include.models.contributors import Contributors
from include.models.estimators import LightGBMPredictor, matrix
from include.models.model import Model
from include.training.estimators import Settings
from include.training.rows import LabelledRows
from include.training.trees import boosted, parameters
from include.use_cases.declaration import UseCase

SETTINGS: Final[tuple[Settings, ...]] = ({"rounds": 60, "num_leaves": 8, "min_data_in_leaf": 40},)
MORE_SETTINGS: Final[tuple[Settings, ...]] = (
    {"rounds": 240, "num_leaves": 16, "min_data_in_leaf": 40},
)


def fit(
    use_case: UseCase, settings: Settings, rows: LabelledRows, _: Contributors | None = None
) -> Model:
    """Trees over all columns that the use case calculates with."""
    predictor, parameters = fit_trees(use_case, settings, rows, use_case.columns)
    return Model("lightgbm", use_case.columns, predictor, parameters)


def fit_trees(
    use_case: UseCase, settings: Settings, rows: LabelledRows, columns: tuple[str, ...]
) -> tuple[LightGBMPredictor, Mapping[str, Any]]:
    """Trees over these columns, and the parameters they were fitted with."""
    settings = {**SAMPLED, **settings}
    rounds = settings.pop("rounds")
    booster = boosted(use_case, rows, matrix(rows.features, columns), columns, settings, rounds)
    told = {**parameters(use_case, settings), "rounds": rounds}
    return LightGBMPredictor(columns, booster), told
