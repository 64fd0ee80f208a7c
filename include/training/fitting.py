"""Fits a model of the tenant's own: a few settings, chosen on an inner window, seeds stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final, cast

import lightgbm
import numpy as np
import numpy.typing as npt
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from include.models import text_match
from include.models.estimators import LightGBMPredictor, PipelinePredictor, matrix, signed_log
from include.models.model import Model
from include.models.text_match import TextMatchPredictor
from include.training.forecasting import fit_forecast
from include.training.lists import fit_lists
from include.training.metrics import measure
from include.training.rows import Rows
from include.training.windows import Windows
from include.use_cases.declaration import Task, UseCase

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
#: Estimator → the settings it is tried with; the first one is taken where nothing can choose.
SETTINGS: Final[Mapping[str, tuple[Mapping[str, Any], ...]]] = {
    "logistic": ({"C": 0.01}, {"C": 0.1}),
    "lightgbm": ({"rounds": 60, "num_leaves": 8, "min_data_in_leaf": 40},),
    "text_match": ({"rounds": 60, "num_leaves": 8, "min_data_in_leaf": 40},),
    "forecast": ({"rounds": 80, "num_leaves": 16, "min_data_in_leaf": 40},),
}
#: The same for the rows of many tenants, which bear larger trees.
GLOBAL_SETTINGS: Final[Mapping[str, tuple[Mapping[str, Any], ...]]] = {
    **SETTINGS,
    "lightgbm": (
        *SETTINGS["lightgbm"],
        {"rounds": 240, "num_leaves": 16, "min_data_in_leaf": 40},
    ),
}


@dataclass(frozen=True)
class Fitted:
    """The chosen model, and what every setting reached on the inner window."""

    model: Model
    trials: tuple[Mapping[str, Any], ...]


def fit_best(
    use_case: UseCase,
    training: Rows,
    windows: Windows,
    horizon: timedelta,
    tried: Mapping[str, tuple[Mapping[str, Any], ...]] = SETTINGS,
) -> Fitted:
    """Choose estimator and setting on the inner window, then fit on all training rows.

    Args:
        tried: estimator → settings.
    """
    if use_case.lists:
        return Fitted(*fit_lists(use_case, training, windows))
    earlier, last = windows.inner(horizon)
    trials: list[dict[str, Any]] = []
    for name in use_case.estimators:
        trials += [{"estimator": name, "settings": dict(s)} for s in tried[name]]
    chosen = trials[0]
    if last is not None and len(trials) > 1:
        inner, outer = training.at(earlier), training.at([last])
        if _both_classes(inner) and _both_classes(outer):
            for trial in trials:
                model = fit(use_case, trial["estimator"], trial["settings"], inner)
                scores = model.predict(outer.features)
                trial[use_case.metric] = measure(use_case.metric, outer, scores)
            reached = [trial[use_case.metric] for trial in trials]
            chosen = trials[int(np.argmax([-1.0 if r is None else r for r in reached]))]
    model = fit(use_case, chosen["estimator"], chosen["settings"], training)
    return Fitted(model, tuple(trials))


def fit(use_case: UseCase, estimator: str, settings: Mapping[str, Any], rows: Rows) -> Model:
    """One estimator on all of `rows`; the same rows give the same model, bit by bit."""
    return _FITTERS[estimator](use_case, settings, rows)


def _logistic(use_case: UseCase, settings: Mapping[str, Any], rows: Rows) -> Model:
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


def _lightgbm(use_case: UseCase, settings: Mapping[str, Any], rows: Rows) -> Model:
    return _trees(use_case, settings, rows, use_case.columns)


def _trees(
    use_case: UseCase, settings: Mapping[str, Any], rows: Rows, columns: tuple[str, ...]
) -> Model:
    parameters = {**_TREES, **_OBJECTIVES[use_case.task], **settings, "seed": use_case.seed}
    rounds = parameters.pop("rounds")
    ranking = use_case.task == "ranking"
    data = lightgbm.Dataset(
        matrix(rows.features, columns),
        rows.label,
        weight=None if ranking else rows.weight,
        group=_group_sizes(rows) if ranking else None,
        feature_name=list(columns),
        params={"num_threads": 1, "verbosity": -1},
    )
    booster = lightgbm.train(parameters, data, num_boost_round=rounds)
    predictor = LightGBMPredictor(columns, booster)
    return Model("lightgbm", columns, predictor, {**parameters, "rounds": rounds})


def _text_match(use_case: UseCase, settings: Mapping[str, Any], rows: Rows) -> Model:
    """Trees that also read the likeness of the use case's two texts, in words training knows."""
    assert use_case.texts is not None  # the declaration checks it
    left, right = (rows.features[name].to_pylist() for name in use_case.texts)
    weights = text_match.inverse_document_frequencies([*left, *right])
    likeness = text_match.similarities(weights, left, right)
    widened = replace(rows, features=text_match.with_similarity(rows.features, likeness))
    numeric = (*use_case.columns, text_match.SIMILARITY)
    trees = _trees(use_case, settings, widened, numeric)
    columns = (*use_case.columns, *use_case.texts)
    predictor = TextMatchPredictor(columns, weights, cast(LightGBMPredictor, trees.predictor))
    return Model("text_match", columns, predictor, trees.parameters)


def _group_sizes(rows: Rows) -> npt.NDArray[np.int64]:
    """Lengths of the rankings, whose rows follow each other."""
    starts = np.flatnonzero(np.concatenate([[True], rows.group[1:] != rows.group[:-1]]))
    return np.diff(np.concatenate([starts, [len(rows)]]))


def _both_classes(rows: Rows) -> bool:
    return len(rows) > 0 and 0 < int(rows.label.sum()) < len(rows)


_FITTERS: Final[Mapping[str, Callable[[UseCase, Mapping[str, Any], Rows], Model]]] = {
    "logistic": _logistic,
    "lightgbm": _lightgbm,
    "text_match": _text_match,
    "forecast": fit_forecast,
}
