"""Target leakage gives itself away in each of its ways, and honest features do not look like it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from include import use_cases
from include.training import leakage
from include.training.leakage import Fresh, Logged, Looks, SuspectedOrigin, find, power, sampled
from include.training.rows import LabelledRows, repeated

CHURN = use_cases.get("churn")
ENTITIES, INSTANTS = 600, 6
AMOUNT = "spend__sum_amount_90d"


def columns(seed: int = 0, tenant: str = "acme") -> tuple[LabelledRows, np.random.Generator]:
    """Rows whose outcome follows from timing, with noise, and from amounts not at all."""
    draw = np.random.default_rng(seed)
    count = ENTITIES * INSTANTS
    who = np.tile(np.arange(ENTITIES), INSTANTS)
    instant = np.repeat(np.arange(INSTANTS), ENTITIES)
    level = draw.normal(size=ENTITIES)[who]
    features = {}
    for name in CHURN.feature_columns:
        own = draw.normal(size=count)
        features[name] = pa.array(level + own if name.startswith("frequency") else own)
    label = (draw.random(count) < 1 / (1 + np.exp(1 + 1.5 * level))).astype(float)
    entity = np.array([f"{tenant}/{one}" for one in who], dtype=np.str_)
    text = np.full(count, "")
    whole = np.zeros(count, dtype=np.int64)
    at = np.array(
        [np.datetime64("2024-01-01", "us") + np.timedelta64(int(14 * i), "D") for i in instant]
    )
    rows = LabelledRows(
        pa.table(features), label, np.ones(count), entity, text, entity, whole,
        np.full(count, tenant), at, repeated((), count), text,
    )  # fmt: skip
    return rows, draw


def put(rows: LabelledRows, name: str, values: np.ndarray) -> LabelledRows:
    """The rows with another feature."""
    at = rows.features.column_names.index(name)
    return replace(rows, features=rows.features.set_column(at, name, pa.array(values)))


def recent(rows: LabelledRows) -> pa.Table:
    """Features like those of the rows, of as many entities."""
    return columns(1)[0].features.slice(0, ENTITIES)


def origins(found: tuple[SuspectedOrigin, ...]) -> list[str]:
    """What is suspected."""
    return [one.origin for one in found]


@pytest.mark.parametrize("seed", range(5))
def test_honest_features_are_let_pass(seed: int) -> None:
    """Strong timing and useless amounts are what most tenants have."""
    rows, _ = columns(seed)
    assert find(CHURN, rows, Looks(recent(rows))) == ()


def test_a_column_that_explains_what_is_left_is_suspected() -> None:
    """All features that are made of it are named, and how much it explains."""
    rows, draw = columns()
    leak = rows.label + draw.normal(size=len(rows))
    (found,) = find(CHURN, put(rows, AMOUNT, leak))
    assert found.origin == "amount"
    assert {AMOUNT, "basket_size__amount_90d"} <= set(found.columns)
    assert "of what all else leaves unexplained" in found.reasons[0]


def test_timing_may_be_as_strong_as_it_is() -> None:
    """Recency tells who stays away by what it is."""
    rows, draw = columns()
    strong = rows.label + 0.4 * draw.normal(size=len(rows))
    assert find(CHURN, put(rows, "recency__time_since_last_all", strong)) == ()


def test_timing_that_knows_everything_is_suspected() -> None:
    """No honest instant tells the outcome of every row."""
    rows, _ = columns()
    assert origins(find(CHURN, put(rows, "recency__time_since_last_all", rows.label))) == [
        "event_timestamp"
    ]


def test_a_value_that_makes_sure_is_suspected() -> None:
    """A few rows say it all, far too few to explain much, and say it without exception."""
    rows, draw = columns()
    some = (rows.label == 1) & (draw.random(len(rows)) < 0.07)
    (found,) = find(CHURN, put(rows, AMOUNT, np.where(some, 5.0, 0.0)))
    assert "rows have one outcome" in found.reasons[0]
    assert "5.0" not in found.reasons[0]


def test_a_missing_value_that_makes_sure_is_suspected() -> None:
    """That there is none is a value as well."""
    rows, draw = columns()
    some = (rows.label == 1) & (draw.random(len(rows)) < 0.07)
    values = np.where(some, np.nan, draw.normal(size=len(rows)))
    (found,) = find(CHURN, put(rows, AMOUNT, values))
    assert f"where {AMOUNT} is missing" in found.reasons[0]


def test_events_too_young_to_be_final_that_tell_more_are_suspected() -> None:
    """A habit is in final values too; a value that the outcome writes is only in young ones."""
    rows, draw = columns()
    noise = draw.normal(size=(2, len(rows)))
    habit = draw.normal(size=len(rows)) + 0.8 * rows.label
    honest = Fresh("the mean amount", habit + noise[0], habit + noise[1])
    assert find(CHURN, rows, Looks(fresh={"amount": [honest]})) == ()
    leak = Fresh("the mean amount", 0.8 * rows.label + noise[0], noise[1])
    (found,) = find(CHURN, rows, Looks(fresh={"amount": [leak]}))
    assert "younger than the label's horizon" in found.reasons[0]


@pytest.mark.parametrize("new", [True, False])
def test_a_column_that_tells_by_age_alone_is_suspected(new: bool) -> None:
    """Strong on new rows and useless on old ones, or the other way round."""
    rows, draw = columns()
    last = rows.as_of == rows.as_of.max()
    where = last if new else rows.as_of <= np.unique(rows.as_of)[2]
    values = draw.normal(size=len(rows)) + np.where(where, 2.0 * rows.label, 0.0)
    (found,) = find(CHURN, put(rows, AMOUNT, values))
    assert any(f"of {'new' if new else 'old'} rows" in reason for reason in found.reasons)


def test_a_column_that_rows_without_an_outcome_lack_is_suspected() -> None:
    """It is filled in when the outcome comes."""
    rows, draw = columns()
    values = np.where(draw.random(len(rows)) < 0.3 + 0.15 * rows.label, 1.0, 0.0)
    rows = put(rows, AMOUNT, values)
    empty = recent(rows)
    at = empty.column_names.index(AMOUNT)
    empty = empty.set_column(at, AMOUNT, pa.array(np.zeros(len(empty))))
    (found,) = find(CHURN, rows, Looks(empty))
    assert "that have no outcome yet" in found.reasons[0]


def test_where_nothing_happens_any_more_no_column_is_to_blame() -> None:
    """A tenant that falls silent lacks everything."""
    rows, draw = columns()
    there = np.where(draw.random(len(rows)) < 0.3 + 0.15 * rows.label, 1.0, 0.0)
    rows = put(put(rows, AMOUNT, there), "frequency__count_30d", there)
    empty = recent(rows)
    for name in (AMOUNT, "frequency__count_30d"):
        at = empty.column_names.index(name)
        empty = empty.set_column(at, name, pa.array(np.zeros(len(empty))))
    assert find(CHURN, rows, Looks(empty)) == ()


def test_values_that_changed_with_the_outcome_are_suspected() -> None:
    """Corrections as such are no leak; those that follow the outcome are."""
    rows, draw = columns()
    then, label = rows.features, rows.label
    entity = np.unique(rows.entity, return_inverse=True)[1]
    before = then[AMOUNT].to_numpy()
    by_chance = np.where(draw.random(len(rows)) < 0.2, before + 1, before)
    with_it = np.where((label == 1) & (draw.random(len(rows)) < 0.8), before + 1, before)
    for values, suspected in ((before, []), (by_chance, []), (with_it, ["amount"])):
        now = put(rows, AMOUNT, values).features
        assert origins(find(CHURN, rows, Looks(logged=Logged(then, now, label, entity)))) == (
            suspected
        )


def test_tenants_that_differ_are_no_leak() -> None:
    """What tells one tenant from another does not tell an outcome."""
    small, _ = columns(3, "acme")
    large, draw = columns(4, "bolt")
    large = replace(large, label=(draw.random(len(large)) < 0.8).astype(float))
    money = put(large, AMOUNT, draw.normal(size=len(large)) + 100)
    assert "amount" not in origins(find(CHURN, LabelledRows.stacked([small, money])))


def test_power_is_somers_d_with_an_error_per_entity() -> None:
    """Two AUC − 1; what is repeated tells no more; a missing score stands in the middle."""
    label, score = np.array([0.0, 0, 1, 1]), np.array([1.0, 3, 2, 4])
    assert power(label, score, True).value == pytest.approx(2 * 3 / 4 - 1)
    assert power(label, np.array([1.0, 2, np.nan, 3]), True).value == pytest.approx(0.75)
    assert power(np.arange(9.0), -np.arange(9.0), False).value == pytest.approx(-1)
    draw = np.random.default_rng(0)
    label = (draw.random(400) < 0.5).astype(float)
    score = label + draw.normal(size=400)
    once = power(label, score, True)
    twice = power(np.tile(label, 2), np.tile(score, 2), True)
    spread = [
        np.sqrt((np.bincount(who, one.influence) ** 2).sum())
        for who, one in ((np.arange(400), once), (np.tile(np.arange(400), 2), twice))
    ]
    assert spread[1] == pytest.approx(spread[0], rel=0.02)
    draws = [
        power(label[pick], score[pick], True).value
        for pick in (draw.integers(0, 400, 400) for _ in range(300))
    ]
    assert spread[0] == pytest.approx(np.std(draws), rel=0.15)


def test_of_many_rows_some_entities_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """With all of their instants, and the same ones every time."""
    rows, _ = columns()
    assert sampled(rows) is rows
    monkeypatch.setattr(leakage, "MOST_ROWS", len(rows) // 3)
    some = sampled(rows)
    assert len(some) == len(rows) // 3
    assert len(np.unique(some.entity)) == ENTITIES // 3
    assert sampled(rows).entity.tolist() == some.entity.tolist()
