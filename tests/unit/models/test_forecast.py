"""Forecasts of totals: who answers where, how wide intervals are, what comes back from bytes."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from include.errors import IntegrityError
from include.models import forecast, forecast_fit
from include.models.forecast import (
    BANDS,
    EDGES,
    LEVELS,
    MEAN,
    TREES,
    ForecastPredictor,
    Rule,
    forecast_model,
)
from include.models.forecast_fit import Observed
from include.models.model import Model
from include.models.serialise import from_bytes, to_bytes

WEEK = timedelta(days=7)
COLUMNS = ("last", "mean", "promoted")
RULES = (Rule("last"), Rule("mean", "last"))
SETTINGS = {"rounds": 40, "num_leaves": 8, "min_data_in_leaf": 20}
NAIVE = forecast_fit.naive(COLUMNS, RULES, None)


def sales(items: int = 150, weeks: int = 8, seed: int = 3) -> Observed:
    """Poisson sales of items that sell 0 to 60 a week, three times that when promoted."""
    draw = np.random.default_rng(seed)
    rate = np.tile(np.exp(draw.uniform(-1, 4, items)), weeks)
    promoted = draw.random(items * weeks) < 0.3
    features = {
        "last": draw.poisson(rate).astype(float),
        "mean": draw.poisson(4 * rate) / 4,
        "promoted": promoted.astype(float),
    }
    start = np.datetime64("2024-01-01", "us")
    week = np.repeat(np.arange(weeks), items)
    return Observed(
        pa.table(features),
        draw.poisson(rate * np.where(promoted, 3, 1)).astype(float),
        np.tile(np.array([f"i{n}" for n in range(items)]), weeks),
        start + week * np.timedelta64(WEEK),
    )


def fit(rows: Observed) -> ForecastPredictor:
    """The forecast of a week."""
    return forecast_fit.fit(rows, COLUMNS, RULES, SETTINGS, horizon=WEEK, most=None, seed=1)


@pytest.fixture(scope="module")
def fitted() -> ForecastPredictor:
    """Fitted on eight weeks."""
    return fit(sales())


def error(model: ForecastPredictor, rows: Observed) -> float:
    """Of the sum of what was sold, the share that the forecasts are off."""
    return float(np.abs(rows.label - model.predict(rows.features)).sum() / rows.label.sum())


def test_trees_answer_where_they_are_better_than_the_rules(fitted: ForecastPredictor) -> None:
    """What drives sales and no rule knows makes the forecast better by more than a tenth."""
    fresh = sales(seed=4)
    assert TREES in fitted.chosen
    for one in (0, 1):
        assert error(fitted, fresh) < 0.9 * error(replace(fitted, chosen=(one,) * BANDS), fresh)


def test_a_rule_answers_where_trees_show_nothing(fitted: ForecastPredictor) -> None:
    """Where last week is what comes, last week is forecast."""
    rows = sales()
    same = replace(rows, label=rows.features["last"].to_numpy())
    assert set(forecast_fit.corrected(fitted, same).chosen) == {0, MEAN}


def test_where_little_is_known_all_rules_together_answer(fitted: ForecastPredictor) -> None:
    """Not just above bands of many items, but far above them, and in every band without a row."""
    rows = sales()
    small = rows.features["mean"].to_numpy() < 10
    few = np.isin(rows.entity, np.unique(rows.entity[~small])[:10])
    found = forecast_fit.corrected(fitted, rows.where(small | few))
    assert set(found.chosen[1 + EDGES.index(3.0) : 1 + EDGES.index(100.0)]) == {TREES}
    assert set(found.chosen[1 + EDGES.index(100.0) :]) == {MEAN}
    features = pa.table({"last": [200.0], "mean": [400.0], "promoted": [0.0]})
    assert found.predict(features).tolist() == [300.0]
    assert set(forecast_fit.corrected(fitted, rows.where(rows.label < 0)).chosen) == {MEAN}


def test_intervals_cover_what_they_promise(fitted: ForecastPredictor) -> None:
    """On fresh rows of the same kind, all together and in large bands; counts allow no less."""
    fresh = sales(seed=5)
    found = fitted.intervals(fresh.features)
    dense = fresh.features["mean"].to_numpy() > 10
    for level in (80, 95):
        inside = (found[f"low_{level}"] <= fresh.label) & (fresh.label <= found[f"high_{level}"])
        assert level / 100 - 0.04 < inside.mean() < level / 100 + 0.14
        assert level / 100 - 0.06 < inside[dense].mean() < level / 100 + 0.1


def test_intervals_are_nested_around_the_forecast_and_never_negative(
    fitted: ForecastPredictor,
) -> None:
    """Also for rows unlike any that were seen."""
    wild = pa.table(
        {
            "last": [0.0, 1e9, float("inf"), None, -3.0],
            "mean": [0.0, 1e9, 1e300, None, -1e300],
            "promoted": [1.0, None, float("-inf"), None, 1e300],
        }
    )
    point, found = fitted.predict(wild), fitted.intervals(wild)
    order = [found["low_95"], found["low_80"], point, found["high_80"], found["high_95"]]
    assert np.isfinite(order).all()
    assert (np.diff(order, axis=0) >= 0).all()
    assert (found["low_95"] >= 0).all()


def test_one_enormous_line_bends_no_other_forecast() -> None:
    """89,638 pieces of one item in one week are that item's own matter."""
    rows = sales()
    label = rows.label.copy()
    label[5] = 89_638.0
    fresh = sales(seed=6)
    usual, bent = (fit(one).predict(fresh.features) for one in (rows, replace(rows, label=label)))
    assert np.abs(bent - usual).sum() < 0.1 * usual.sum()


def test_returns_count_as_nothing_sold() -> None:
    """A total below zero is fitted as zero."""
    rows = sales(items=60)
    none = np.where(rows.label < 3, 0.0, rows.label)
    returned = np.where(rows.label < 3, -50.0, rows.label)
    ours, theirs = (fit(replace(rows, label=label)) for label in (none, returned))
    assert ours.payload() == theirs.payload()


def test_whoever_has_no_level_yet_is_young_and_gets_what_stands_in() -> None:
    """Its mean is not known, so last week is all there is, and its bands are those of the young."""
    features = pa.table({"last": [2.0, 2.0, None], "mean": [None, 4.0, None]})
    there = forecast_fit.naive(("last", "mean"), RULES, None).situation(features)
    assert there.by_rule.tolist() == [[2.0, 2.0], [2.0, 4.0], [0.0, 0.0]]
    assert there.band.tolist() == [LEVELS + 1, 2, LEVELS]


def test_a_rule_alone_has_intervals_once_there_are_rows_to_tell_them_by() -> None:
    """Without rows it forecasts and promises nothing; with them it covers what it promises."""
    fresh = sales(seed=7)
    assert NAIVE.intervals(fresh.features) == {}
    assert forecast_fit.corrected(NAIVE, fresh.where(fresh.label < 0)).margins == {}
    found = forecast_fit.corrected(NAIVE, sales()).intervals(fresh.features)
    for level in (80, 95):
        inside = (found[f"low_{level}"] <= fresh.label) & (fresh.label <= found[f"high_{level}"])
        assert level / 100 - 0.04 < inside.mean() < level / 100 + 0.1


def test_nothing_is_forecast_beyond_what_there_can_be() -> None:
    """A month has no more days than it has, however wide its interval."""
    capped = forecast_fit.corrected(forecast_fit.naive(COLUMNS, RULES, 31.0), sales())
    features = pa.table({"last": [400.0], "mean": [400.0], "promoted": [0.0]})
    assert capped.predict(features).tolist() == [31.0]
    assert max(bound[0] for bound in capped.intervals(features).values()) == 31.0


def test_no_label_of_an_earlier_row_reaches_into_a_later_one() -> None:
    """The last quarter of the snapshots corrects; with one snapshot it is half of the items."""
    rows = sales()
    earlier, later = forecast_fit.split(rows, 2 * WEEK, seed=1)
    weeks = np.unique(rows.as_of)
    assert np.unique(later.as_of).tolist() == weeks[-2:].tolist()
    assert np.unique(earlier.as_of).tolist() == weeks[:-3].tolist()
    half, other = forecast_fit.split(rows.where(rows.as_of == weeks[0]), WEEK, seed=1)
    assert not set(half.entity) & set(other.entity)
    assert len(half) == len(other)


@pytest.mark.parametrize("kind", ["fitted", "naive"])
def test_a_forecast_comes_back_from_its_bytes(kind: str, fitted: ForecastPredictor) -> None:
    """With the same forecasts and intervals, and the same bytes again."""
    made = fitted if kind == "fitted" else forecast_fit.corrected(NAIVE, sales())
    model = forecast_model(made, {"seed": 1})
    back = from_bytes(to_bytes(model))
    features = sales(seed=8).features
    assert np.array_equal(back.predict(features), model.predict(features))
    assert back.details(features, 0) == model.details(features, 0)
    assert to_bytes(back) == to_bytes(model)


def test_the_same_rows_give_the_same_bytes(fitted: ForecastPredictor) -> None:
    """Neither chance nor the order of threads shows."""
    assert to_bytes(forecast_model(fit(sales()), {})) == to_bytes(forecast_model(fitted, {}))


def tampered(**changes: Any) -> bytes:
    """The document of a rule with another payload."""
    document = json.loads(to_bytes(forecast_model(forecast_fit.corrected(NAIVE, sales()), {})))
    return json.dumps({**document, "payload": {**document["payload"], **changes}}).encode()


@pytest.mark.parametrize(
    "changes",
    [
        {"rules": []},
        {"rules": [["price", ""]]},
        {"rules": [["", "last"]]},
        {"rules": 3},
        {"trees": ["tree"]},
        {"trees": ["tree"] * 5},
        {"chosen": [0] * (BANDS - 1)},
        {"chosen": [TREES] * BANDS},
        {"chosen": [True] * BANDS},
        {"chosen": [2] * BANDS},
        {"chosen": [-3] * BANDS},
        {"margins": {"80": [0.0] * BANDS}},
        {"margins": {"80": [0.0] * BANDS, "95": [0.0]}},
        {"margins": {"80": [0.0] * BANDS, "95": ["a"] * BANDS}},
        {"most": "all"},
        {"code": "import os"},
    ],
)
def test_what_is_no_forecast_is_refused(changes: dict[str, Any]) -> None:
    """Whatever was changed in the bytes is an integrity error."""
    with pytest.raises(IntegrityError):
        from_bytes(tampered(**changes))


def test_a_payload_of_another_type_is_refused() -> None:
    """Text is no forecast."""
    document: Model = forecast_model(NAIVE, {})
    assert document.kind == forecast.KIND
    with pytest.raises(IntegrityError, match="has the parts"):
        ForecastPredictor.from_payload(COLUMNS, "tree")


def test_bands_of_too_few_rows_share_their_intervals() -> None:
    """With the band below, the lowest with the one above, and all young together with everybody."""
    rows = sales()
    level = rows.features["mean"].to_numpy()
    margins = forecast_fit.corrected(NAIVE, rows.where(level < 10)).margins["80"]
    assert len(set(margins[1:LEVELS])) > 1
    assert len(set(margins[EDGES.index(10.0) : LEVELS])) == 1
    assert len(set(margins[LEVELS:])) == 1
    dense = forecast_fit.corrected(NAIVE, rows.where(level > 10)).margins["80"]
    assert len(set(dense[: 1 + EDGES.index(30.0)])) == 1


def test_a_young_item_of_large_sales_is_none_of_the_many_that_sell_nothing() -> None:
    """New items mostly sell nothing again; one that sold 20,000 pieces is told from them."""
    rows = sales()
    young = pa.array([None] * len(rows), pa.float64())
    features = rows.features.set_column(1, "mean", young).set_column(
        0, "last", pa.array(np.ones(len(rows)))
    )
    new = replace(rows, features=features, label=np.zeros(len(rows)))
    known = np.isin(rows.entity, np.unique(rows.entity)[:75])
    both = Observed(
        pa.concat_tables([rows.features.filter(pa.array(known)), new.features]),
        np.concatenate([rows.label[known], new.label]),
        np.concatenate([rows.entity[known], np.char.add("new-", rows.entity)]),
        np.concatenate([rows.as_of[known], rows.as_of]),
    )
    asked = pa.table({"last": [1.0, 20_000.0], "mean": [None, None], "promoted": [0.0, 0.0]})
    found = fit(both).predict(asked.cast(features.schema))
    assert found[0] < 0.2
    assert found[1] == 20_000.0


def test_nothing_is_forecast_for_no_rows(fitted: ForecastPredictor) -> None:
    """An empty table gives empty answers."""
    empty = sales().features.slice(0, 0)
    assert fitted.predict(empty).shape == (0,)
    assert all(bound.shape == (0,) for bound in fitted.intervals(empty).values())
