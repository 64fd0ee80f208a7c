"""Metrics against their definitions, and intervals that mean what they say."""

from __future__ import annotations

from itertools import product

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from include.training.metrics import Bootstrap, measure
from include.training.rows import Rows


def rows(
    label: list[int], group: list[str] | None = None, relevant: list[int] | None = None
) -> Rows:
    count = len(label)
    names = np.array(group or [f"u{i}" for i in range(count)], dtype=np.str_)
    return Rows(
        features=pa.table({"x": np.zeros(count)}),
        label=np.array(label, np.int8),
        weight=np.ones(count),
        entity=names,
        item=np.full(count, ""),
        group=names,
        relevant=np.array(relevant or [0] * count, np.int64),
        tenant=np.full(count, "acme"),
        as_of=np.full(count, np.datetime64("2024-01-01", "us")),
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
    found = Bootstrap(rows(label), 7).difference("auc", scores, scores.copy())
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_intervals_are_the_same_for_the_same_seed_and_hold_the_value() -> None:
    """The seed decides, and nothing else."""
    generator = np.random.default_rng(1)
    label = generator.integers(0, 2, 200).tolist()
    scores = generator.random(200) + 0.5 * np.array(label)
    first, again, other = (
        Bootstrap(rows(label), seed).estimate("auc", scores) for seed in (7, 7, 8)
    )
    assert first == again
    assert first != other
    assert first.low is not None
    assert first.low < first.value < first.high


def test_rows_of_one_entity_are_drawn_together() -> None:
    """Repeating every row of an entity adds no certainty."""
    generator = np.random.default_rng(1)
    label = generator.integers(0, 2, 60).tolist()
    scores = generator.random(60) + 0.5 * np.array(label)
    once = Bootstrap(rows(label), 7).estimate("auc", scores)
    names = [f"u{i}" for i in range(60)]
    often = Bootstrap(rows(label * 5, names * 5), 7).estimate("auc", np.tile(scores, 5))
    assert often.value == pytest.approx(once.value)
    assert often.high - often.low == pytest.approx(once.high - once.low, rel=0.25)


def test_without_rows_or_classes_nothing_is_measured() -> None:
    """No figure is better than a made-up one."""
    for metric, label in product(("auc", "hit@10"), ([], [0, 0])):
        found = Bootstrap(rows(label), 1).estimate(metric, np.zeros(len(label)))
        assert (found.value, found.low, found.high) == (None, None, None)
