"""Explanations: contributions add up to the margin of every row, whatever is in it."""

from __future__ import annotations

from typing import Any

import lightgbm
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from include.models.baselines import baseline_model
from include.models.estimators import LightGBMPredictor, PipelinePredictor, signed_log
from include.models.model import ExplainedPredictor, Model

COLUMNS = ("recency__days", "spend__sum", "never__known")
GENERATOR = np.random.default_rng(3)
VALUES = np.where(GENERATOR.random((400, 3)) < 0.1, np.nan, GENERATOR.normal(size=(400, 3)))
VALUES[:, 2] = np.nan
AMOUNT = np.nan_to_num(VALUES[:, 0]) + np.nan_to_num(VALUES[:, 1]) ** 2
LABEL = (AMOUNT + GENERATOR.normal(size=400) > 1).astype(int)

ROWS = st.lists(
    st.tuples(*[st.none() | st.floats(-1e6, 1e6, allow_subnormal=False) for _ in COLUMNS]),
    max_size=12,
)


def table(rows: Any) -> pa.Table:
    return pa.table(
        {
            name: pa.array([row[place] for row in rows], pa.float64())
            for place, name in enumerate(COLUMNS)
        }
    )


def trees(objective: str) -> Model:
    parameters = {"objective": objective, "num_threads": 1, "verbosity": -1, "seed": 1}
    label = AMOUNT if objective == "regression" else LABEL
    group = [20] * 20 if objective == "lambdarank" else None
    data = lightgbm.Dataset(VALUES, label, group=group, feature_name=list(COLUMNS))
    booster = lightgbm.train(parameters, data, 12)
    return Model("lightgbm", COLUMNS, LightGBMPredictor(COLUMNS, booster), {})


def logistic() -> Model:
    pipeline = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True),
        StandardScaler(),
        LogisticRegression(random_state=1),
    ).fit(signed_log(VALUES), LABEL)
    return Model("logistic", COLUMNS, PipelinePredictor(COLUMNS, pipeline), {})


def baseline(descending: bool) -> Model:
    return baseline_model({"column": COLUMNS[0], "descending": descending, "then": COLUMNS[1]})


def same(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return scores


def log_odds(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.log(scores / (1 - scores))


#: Model, and from its scores to their margin.
EXPLAINED = {
    "classifying trees": (trees("binary"), log_odds),
    "regression trees": (trees("regression"), same),
    "ranking trees": (trees("lambdarank"), same),
    "logistic": (logistic(), None),
    "rising baseline": (baseline(False), same),
    "falling baseline": (baseline(True), lambda scores: 1 - 1 / scores),
}


@pytest.mark.parametrize("name", EXPLAINED)
@settings(max_examples=40, deadline=None)
@given(rows=ROWS)
def test_base_and_contributions_sum_up_to_the_margin(name: str, rows: Any) -> None:
    """Nothing of a score is left unexplained, nulls and extremes included."""
    model, margin = EXPLAINED[name]
    assert isinstance(model.predictor, ExplainedPredictor)
    features = table(rows)
    found = model.predictor.contributions(features)
    assert found.values.shape == (len(rows), len(found.columns))
    assert set(found.columns) <= set(model.columns)
    total = found.base + found.values.sum(axis=1)
    scores = model.predict(features)
    if margin is None:  # log odds of a probability that rounds to 1 are lost; go the other way
        assert np.allclose(1 / (1 + np.exp(-total)), scores, rtol=1e-12, atol=1e-15)
    else:
        assert np.allclose(total, margin(scores), rtol=1e-7, atol=1e-9)


def test_reasons_name_the_weightiest_features_with_their_values() -> None:
    """A stored reason has the catalogue's name, the row's value and the signed contribution."""
    model = EXPLAINED["logistic"][0]
    (row,) = model.details(table([(4.0, 0.5, None)]), 1)
    (reason,) = row["reasons"]
    assert reason["feature"] == "recency__days"
    assert reason["value"] == 4.0
    assert reason["contribution"] > 0


def test_what_added_nothing_is_no_reason() -> None:
    """A feature that training never saw a value of explains nothing and is not named."""
    for model, _ in EXPLAINED.values():
        (row,) = model.details(table([(4.0, 0.5, None)]), 3)
        assert {one["feature"] for one in row["reasons"]} <= set(COLUMNS[:2])


def test_no_reasons_are_calculated_where_none_are_kept() -> None:
    """A use case without reasons pays nothing for them."""

    class Refuses(PipelinePredictor):
        def contributions(self, features: pa.Table) -> Any:
            raise AssertionError("asked for contributions")

    pipeline = EXPLAINED["logistic"][0].predictor.pipeline  # type: ignore[union-attr]
    model = Model("logistic", COLUMNS, Refuses(COLUMNS, pipeline), {})
    assert model.details(table([(1.0, 2.0, None)]), 0) == [{}]
