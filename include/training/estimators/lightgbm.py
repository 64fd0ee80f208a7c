"""Boosted trees, as a classifier or, over the items of one entity at one instant, as a ranking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import lightgbm

from include.models.contributors import Contributors
from include.models.estimators import LightGBMPredictor, matrix
from include.models.model import Model
from include.training.estimators import Settings
from include.training.rows import LabelledRows
from include.training.updating import group_sizes
from include.use_cases.declaration import Task, UseCase

SETTINGS: Final[tuple[Settings, ...]] = ({"rounds": 60, "num_leaves": 8, "min_data_in_leaf": 40},)
MORE_SETTINGS: Final[tuple[Settings, ...]] = (
    {"rounds": 240, "num_leaves": 16, "min_data_in_leaf": 40},
)
_TREES: Final[Mapping[str, Any]] = {
    "learning_rate": 0.06,
    "feature_fraction": 0.8,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "lambda_l2": 5.0,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
#: Ranked are the items of one entity at one instant (LambdaMART; Burges 2010).
_OBJECTIVES: Final[Mapping[Task, Mapping[str, Any]]] = {
    "classification": {"objective": "binary"},
    "ranking": {"objective": "lambdarank", "lambdarank_truncation_level": 15},
}


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
    parameters = {**_TREES, **_OBJECTIVES[use_case.task], **settings, "seed": use_case.seed}
    rounds = parameters.pop("rounds")
    ranking = use_case.task == "ranking"
    data = lightgbm.Dataset(
        matrix(rows.features, columns),
        rows.label,
        weight=None if ranking else rows.weight,
        group=group_sizes(rows) if ranking else None,
        feature_name=list(columns),
        params={"num_threads": 1, "verbosity": -1},
    )
    booster = lightgbm.train(parameters, data, num_boost_round=rounds)
    return LightGBMPredictor(columns, booster), {**parameters, "rounds": rounds}
