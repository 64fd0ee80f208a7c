"""Scores become ranked rows in one defined order."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import ConfigError, QualityError, UnknownNameError
from include.scoring.ranks import SCHEMA, ranked

USERS = pa.table({"user_id": ["b", "a", "c"], "x": [1.0, 2.0, 3.0]})


def test_entities_are_ranked_by_score_then_name() -> None:
    """Classification ranks the whole table; equal scores are ordered by entity."""
    rows = ranked(USERS, "classification", 2, scores=np.array([0.5, 0.5, 0.9]), baseline=None)
    assert rows.schema == SCHEMA
    assert rows.select(["entity_id", "item_id", "rank", "score", "baseline_score"]).to_pylist() == [
        {"entity_id": "c", "item_id": "", "rank": 1, "score": 0.9, "baseline_score": None},
        {"entity_id": "a", "item_id": "", "rank": 2, "score": 0.5, "baseline_score": None},
        {"entity_id": "b", "item_id": "", "rank": 3, "score": 0.5, "baseline_score": None},
    ]


def test_a_ranking_keeps_the_best_items_of_each_entity() -> None:
    """Ranks count within an entity, and end at `top_k`."""
    features = pa.table({"user_id": list("aabba"), "item_id": list("xyxyz")})
    rows = ranked(features, "ranking", 2, scores=np.array([0.1, 0.3, 0.2, 0.2, 0.2]), baseline=None)
    found = [(r["entity_id"], r["item_id"], r["rank"]) for r in rows.to_pylist()]
    assert found == [("a", "y", 1), ("a", "z", 2), ("b", "x", 1), ("b", "y", 2)]


def test_equal_scores_follow_the_catalogue_before_the_id() -> None:
    """What the catalogue does not know comes after it; scores come before both."""
    features = pa.table({"user_id": list("aaaab"), "item_id": list("uvxyx")})
    scores = np.array([0.1, 0.1, 0.1, 0.2, 0.1])
    rows = ranked(features, "ranking", 4, scores=scores, baseline=None, catalogue=("x", "v"))
    found = [(r["entity_id"], r["item_id"], r["rank"]) for r in rows.to_pylist()]
    assert found == [("a", "y", 1), ("a", "x", 2), ("a", "v", 3), ("a", "u", 4), ("b", "x", 1)]


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("uvwxyz"), st.sampled_from([0.0, 1.0])),
        unique_by=lambda row: row[:2],
    ),
    st.integers(1, 4),
)
def test_a_ranking_is_what_sorting_by_hand_gives(
    rows: list[tuple[str, str, float]], top_k: int
) -> None:
    """The fast ranks equal those of a plain loop, whatever the order of the rows."""
    features = pa.table(
        {
            "user_id": pa.array([r[0] for r in rows], pa.string()),
            "item_id": pa.array([r[1] for r in rows], pa.string()),
        }
    )
    scores = np.array([r[2] for r in rows], dtype=np.float64)
    expected = []
    for user in sorted({r[0] for r in rows}):
        best = sorted((-score, item) for u, item, score in rows if u == user)[:top_k]
        expected += [(user, item, place) for place, (_, item) in enumerate(best, 1)]
    found = ranked(features, "ranking", top_k, scores=scores, baseline=None).to_pylist()
    assert [(r["entity_id"], r["item_id"], r["rank"]) for r in found] == expected


def test_a_baseline_without_an_answer_is_null() -> None:
    """What the baseline cannot say is null, not a number."""
    rows = ranked(
        USERS,
        "classification",
        3,
        scores=np.array([3.0, 2.0, 1.0]),
        baseline=np.array([0.25, np.nan, np.inf]),
    )
    assert rows["baseline_score"].to_pylist() == [0.25, None, None]


def test_both_zeros_are_one_score() -> None:
    """Negative zero does not come after zero."""
    rows = ranked(USERS, "classification", 3, scores=np.array([0.0, -0.0, -1.0]), baseline=None)
    assert rows["entity_id"].to_pylist() == ["a", "b", "c"]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_refused(bad: float) -> None:
    """A model that answers with no number writes nothing."""
    with pytest.raises(QualityError, match="1 of them not finite"):
        ranked(USERS, "classification", 3, scores=np.array([0.1, bad, 0.2]), baseline=None)


def test_too_few_scores_are_refused() -> None:
    """One score per row, or none is used."""
    with pytest.raises(QualityError, match="2 scores for 3 rows"):
        ranked(USERS, "classification", 3, scores=np.array([0.1, 0.2]), baseline=None)


def test_rows_without_an_entity_are_refused() -> None:
    """A prediction has to be about somebody."""
    features = pa.table({"user_id": ["a", None]})
    with pytest.raises(QualityError, match="1 rows to score have no user_id"):
        ranked(features, "classification", 3, scores=np.array([0.1, 0.2]), baseline=None)


def test_missing_keys_are_named() -> None:
    """Features without join keys are an error that lists what is looked for."""
    scores = np.array([0.1])
    with pytest.raises(ConfigError, match="user_id, account_id, item_id"):
        ranked(pa.table({"x": [1]}), "classification", 3, scores=scores, baseline=None)
    with pytest.raises(ConfigError, match="'item_id'"):
        ranked(pa.table({"user_id": ["a"]}), "ranking", 3, scores=scores, baseline=None)
    with pytest.raises(UnknownNameError, match="classification, ranking"):
        ranked(pa.table({"user_id": ["a"]}), "divination", 3, scores=scores, baseline=None)


def test_repeated_entities_are_refused() -> None:
    """An entity has one prediction; a table that repeats it was built wrongly."""
    features = pa.table({"user_id": ["a", "b", "a"]})
    with pytest.raises(QualityError, match="1 rows to score repeat"):
        ranked(features, "classification", 3, scores=np.array([0.1, 0.2, 0.3]), baseline=None)
