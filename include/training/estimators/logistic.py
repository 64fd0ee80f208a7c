"""Logistic regression over signed logarithms of the features."""

from __future__ import annotations

from typing import Final

import numpy as np
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from include.models.contributors import Contributors
from include.models.estimators import PipelinePredictor, matrix, signed_log
from include.models.model import Model
from include.training.estimators import Settings
from include.training.rows import LabelledRows
from include.use_cases.declaration import UseCase

SETTINGS: Final[tuple[Settings, ...]] = ({"C": 0.01}, {"C": 0.1})
MORE_SETTINGS: Final[tuple[Settings, ...]] = ()


def fit(
    use_case: UseCase, settings: Settings, rows: LabelledRows, _: Contributors | None = None
) -> Model:
    """A classifier whose scores are probabilities."""
    pipeline = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(C=settings["C"], max_iter=1_000, random_state=use_case.seed),
    )
    values = signed_log(matrix(rows.features, use_case.columns))
    with threadpool_limits(1):
        pipeline.fit(
            values, rows.label.astype(np.int8), logisticregression__sample_weight=rows.weight
        )
    predictor = PipelinePredictor(use_case.columns, pipeline)
    return Model("logistic", use_case.columns, predictor, {**settings, "seed": use_case.seed})
