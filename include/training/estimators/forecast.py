"""Forecasts of totals from labelled rows: a use case's baselines as rules, its trees beside them.

Of a total's baselines the first is the seasonal naive forecast, the last is the level that entities
are told apart by; a baseline's `then` stands in where its column is unknown.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final, cast

from include.models import forecast_fit
from include.models.contributors import Contributors
from include.models.forecast import ForecastPredictor, Rule, forecast_model
from include.models.forecast_fit import Observed
from include.models.model import Model
from include.training.estimators import Settings
from include.training.rows import LabelledRows
from include.use_cases.declaration import Baseline, UseCase

SETTINGS: Final[tuple[Settings, ...]] = ({"rounds": 80, "num_leaves": 16, "min_data_in_leaf": 40},)
MORE_SETTINGS: Final[tuple[Settings, ...]] = ()


def fit(
    use_case: UseCase, settings: Settings, rows: LabelledRows, _: Contributors | None = None
) -> Model:
    """Trees and rules, with intervals."""
    predictor = forecast_fit.fit(
        _observed(rows),
        use_case.columns,
        [_rule(one) for one in use_case.baselines],
        settings,
        horizon=use_case.label.horizon,
        most=_most(use_case),
        seed=use_case.seed,
    )
    return forecast_model(predictor, {**settings, "seed": use_case.seed})


def recorrected(use_case: UseCase, base: Model, rows: LabelledRows) -> Model:
    """Another forecast with its trees as they are, and answers and intervals as `rows` call for."""
    predictor = cast(ForecastPredictor, base.predictor)
    return replace(base, predictor=forecast_fit.corrected(predictor, _observed(rows)))


def naive_model(use_case: UseCase, baseline: Baseline, rows: LabelledRows | None = None) -> Model:
    """A baseline as forecast, with intervals where there are rows to tell them by."""
    rules = tuple(dict.fromkeys((_rule(baseline), _rule(use_case.baselines[-1]))))
    columns = dict.fromkeys(name for one in rules for name in (one.column, one.then) if name)
    predictor = forecast_fit.naive(tuple(columns), rules, _most(use_case))
    if rows is not None and len(rows):
        _, later = forecast_fit.split(_observed(rows), use_case.label.horizon, use_case.seed)
        predictor = forecast_fit.corrected(predictor, later)
    return forecast_model(predictor, {"baseline": baseline.name})


def _rule(baseline: Baseline) -> Rule:
    return Rule(baseline.column, baseline.then)


def _most(use_case: UseCase) -> float | None:
    """A horizon has no more days than it is long, and one where it begins within a day."""
    if use_case.label.value != "days":
        return None
    return float(-(-use_case.label.horizon // timedelta(days=1)) + 1)


def _observed(rows: LabelledRows) -> Observed:
    return Observed(rows.features, rows.label, rows.entity, rows.as_of)
