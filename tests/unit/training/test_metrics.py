"""Metrics against their definitions, and intervals that mean what they say."""

from __future__ import annotations

from datetime import timedelta
from itertools import product

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score

from include.training.metrics import Intervals, Lists, measure
from include.training.rows import LabelledRows, repeated

REACH = timedelta(days=7)


def rows(
    label: list[int] | list[float],
    group: list[str] | None = None,
    relevant: list[int] | None = None,
    wanted: list[tuple[str, ...]] | None = None,
) -> LabelledRows:
    count = len(label)
    lists = repeated((), count)
    if wanted is not None:
        lists[:] = wanted
    names = np.array(group or [f"u{i}" for i in range(count)], dtype=np.str_)
    return LabelledRows(
        features=pa.table({"x": np.zeros(count)}),
        label=np.array(label, np.float64),
        weight=np.ones(count),
        entity=names,
        item=np.full(count, ""),
        group=names,
        relevant=np.array(relevant or [0] * count, np.int64),
        tenant=np.full(count, "acme"),
        as_of=np.full(count, np.datetime64("2024-01-01", "us")),
        wanted=lists,
        sensitive=np.full(count, ""),
    )


binary = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 4)), min_size=2, max_size=40)


@given(binary)
def test_auc_and_average_precision_are_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    """Ties included; undefined where only one class is there."""
    label, score = [p[0] for p in pairs], np.array([float(p[1]) for p in pairs])
    found = {m: measure(m, rows(label), score) for m in ("auc", "average_precision")}
    if sum(label) == 0:
        assert found == {"auc": None, "average_precision": None}
    elif sum(label) == len(label):
        assert found["auc"] is None
    else:
        assert found["auc"] == pytest.approx(roc_auc_score(label, score))
        assert found["average_precision"] == pytest.approx(average_precision_score(label, score))


def test_a_hit_needs_one_bought_item_among_the_first_ten() -> None:
    """The eleventh place does not count."""
    group = ["a@1"] * 11 + ["b@1"] * 11
    label = [0] * 10 + [1] + [1] + [0] * 10
    scores = np.tile(np.arange(11, 0, -1.0), 2)
    assert measure("hit@10", rows(label, group, [1] * 22), scores) == 0.5


def test_ndcg_compares_with_all_that_was_bought() -> None:
    """One of two bought items, in second place; the other was never offered."""
    found = measure("ndcg@10", rows([0, 1, 0], ["a@1"] * 3, [2] * 3), np.array([3.0, 2.0, 1.0]))
    assert found == pytest.approx((1 / np.log2(3)) / (1 + 1 / np.log2(3)))


def test_rankings_without_an_outcome_are_not_judged() -> None:
    """Nobody can recommend to somebody who buys nothing."""
    found = measure("hit@10", rows([1, 0], ["a@1", "b@1"], [1, 0]), np.array([1.0, 1.0]))
    assert found == 1.0


@given(st.randoms(use_true_random=False))
def test_ranking_metrics_do_not_depend_on_the_order_of_groups(random: object) -> None:
    """Groups may stand in any order among the rows."""
    label, group = [1, 0, 0, 1, 0, 1], ["a@1", "a@1", "b@1", "b@1", "c@1", "c@1"]
    scores = np.array([0.1, 0.9, 0.3, 0.2, 0.5, 0.6])
    order = list(range(6))
    random.shuffle(order)  # type: ignore[attr-defined]
    mixed = rows([label[i] for i in order], [group[i] for i in order], [1] * 6)
    straight = measure("ndcg@10", rows(label, group, [1] * 6), scores)
    assert measure("ndcg@10", mixed, scores[order]) == pytest.approx(straight)


def test_equal_models_differ_by_exactly_nothing() -> None:
    """A paired comparison of a model with itself has no width."""
    generator = np.random.default_rng(1)
    label = generator.integers(0, 2, 80).tolist()
    scores = generator.random(80)
    found = Intervals(rows(label), REACH).difference("auc", scores, scores.copy())
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_intervals_hold_the_value_and_come_without_a_draw() -> None:
    """The same rows give the same bounds, and there is no seed that they could depend on."""
    generator = np.random.default_rng(1)
    label = generator.integers(0, 2, 200).tolist()
    scores = generator.random(200) + 0.5 * np.array(label)
    first, again = (Intervals(rows(label), REACH).estimate("auc", scores) for _ in range(2))
    assert first == again
    assert first.low is not None
    assert first.low < first.value < first.high


def test_rows_of_one_entity_count_together() -> None:
    """Repeating every row of an entity adds no certainty."""
    generator = np.random.default_rng(1)
    label = generator.integers(0, 2, 60).tolist()
    scores = generator.random(60) + 0.5 * np.array(label)
    once = Intervals(rows(label), REACH).estimate("auc", scores)
    names = [f"u{i}" for i in range(60)]
    often = Intervals(rows(label * 5, names * 5), REACH).estimate("auc", np.tile(scores, 5))
    assert often.value == pytest.approx(once.value)
    assert often.high - often.low == pytest.approx(once.high - once.low)


def test_without_rows_or_classes_nothing_is_measured() -> None:
    """No figure is better than a made-up one."""
    for metric, label in product(("auc", "hit@10"), ([], [0, 0])):
        found = Intervals(rows(label), REACH).estimate(metric, np.zeros(len(label)))
        assert (found.value, found.low, found.high) == (None, None, None)


@given(st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=2, max_size=40))
def test_the_brier_skill_is_what_is_gained_over_the_base_rate(
    pairs: list[tuple[int, float]],
) -> None:
    """1 for certainty that is right, 0 for the base rate, undefined where there is one class."""
    label, score = [p[0] for p in pairs], np.array([p[1] for p in pairs])
    found = measure("brier_skill", rows(label), score)
    rate = sum(label) / len(label)
    if rate in (0, 1):
        assert found is None
    else:
        usual = brier_score_loss(label, np.full(len(label), rate))
        assert found == pytest.approx(1 - brier_score_loss(label, score) / usual)


def test_forecast_accuracy_is_one_minus_the_weighted_absolute_percentage_error() -> None:
    """Errors of 1 and 2 on a total of 10 leave 0.7; without a total there is no figure."""
    assert measure("forecast_accuracy", rows([4.0, 6.0]), np.array([5.0, 4.0])) == 0.7
    assert measure("forecast_accuracy", rows([0.0, 0.0]), np.array([5.0, 4.0])) is None


def test_lift_counts_the_best_tenth_against_the_base_rate() -> None:
    """Of 20 rows two are looked at: both are positive, where one in five is."""
    label = [1, 1, 1, 1] + [0] * 16
    scores = np.arange(20, 0, -1.0)
    assert measure("lift@10%", rows(label), scores) == 5.0
    assert measure("precision@1%", rows(label), scores) == 1.0


def test_rows_of_equal_score_share_the_room_at_the_top() -> None:
    """A model that cannot tell rows apart has a lift of one, in whatever order they stand."""
    label = [1] * 5 + [0] * 15
    for each in (label, label[::-1]):
        assert measure("lift@10%", rows(each), np.zeros(20)) == pytest.approx(1.0)


def test_lists_are_judged_by_all_that_was_wanted() -> None:
    """A group without a list has missed; one without an outcome is not judged."""
    group = ["a", "a", "b", "c"]
    data = rows([0] * 4, group, [2, 2, 1, 0], [("x", "y")] * 2 + [("z",), ()])
    lists = Lists({"a": ["w", "x"], "c": ["x"]})
    assert measure("hit@10", data, lists) == 0.5
    best = 1 + 1 / np.log2(3)
    assert measure("ndcg@10", data, lists) == pytest.approx((1 / np.log2(3)) / best / 2)


def test_a_list_scores_as_the_same_order_of_rows_does() -> None:
    """Where every candidate is a row, both ways to answer come to the same figure."""
    group = [name for name in "abc" for _ in range(15)]
    items = [f"i{place}" for _ in "abc" for place in range(15)]
    draw = np.random.default_rng(5)
    label, scores = draw.integers(0, 2, 45), draw.random(45)
    wanted = {
        name: tuple(i for g, i, y in zip(group, items, label, strict=True) if g == name and y)
        for name in "abc"
    }
    data = rows(label.tolist(), group, [len(wanted[g]) for g in group], [wanted[g] for g in group])
    order = np.argsort(-scores)
    lists = Lists({name: [items[i] for i in order if group[i] == name] for name in "abc"})
    for metric in ("hit@10", "ndcg@10"):
        assert measure(metric, data, lists) == pytest.approx(measure(metric, data, scores))
