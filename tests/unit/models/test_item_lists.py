"""Lists: the best first, equal ones by id, in parts as in one, and measured against what came."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as drawn
from scipy import sparse

from include.errors import QualityError
from include.models import item_lists
from include.models.interactions import category_levels, interactions
from include.models.item_lists import best, best_stored, lists_of, ndcg

#: Few different scores, so that most lists have ties at their end.
TIED = drawn(
    np.float64,
    st.tuples(st.integers(0, 6), st.integers(0, 9)),
    elements=st.sampled_from([-np.inf, -1.0, 0.0, 2.0]),
)


def table(**columns: list[Any]) -> pa.Table:
    return pa.table({name: pa.array(values) for name, values in columns.items()})


@settings(max_examples=80, deadline=None)
@given(TIED, st.integers(1, 10))
def test_the_best_are_those_of_a_full_sort(scores: Any, top: int) -> None:
    """Equal scores come by column, and minus infinity never comes."""
    found = best(scores, top)
    expected = [
        (row, column)
        for row in range(scores.shape[0])
        for column in sorted(range(scores.shape[1]), key=lambda c: (-scores[row, c], c))[:top]
        if scores[row, column] > -np.inf
    ]
    assert list(zip(found.rows.tolist(), found.columns.tolist(), strict=True)) == expected
    assert (found.scores == scores[found.rows, found.columns]).all()


@settings(max_examples=40, deadline=None)
@given(TIED, st.integers(1, 10))
def test_the_best_of_stored_cells_are_those_of_the_full_matrix(scores: Any, top: int) -> None:
    """What is not stored is not chosen; the rest is chosen alike."""
    rows, columns = np.nonzero(scores > -np.inf)
    cells = sparse.csr_array((scores[rows, columns], (rows, columns)), shape=scores.shape)
    found, whole = best_stored(cells, top), best(scores, top)
    for name in ("rows", "columns", "scores"):
        assert getattr(found, name).tolist() == getattr(whole, name).tolist()


def test_lists_in_parts_are_those_in_one(monkeypatch: Any) -> None:
    """How many rows are in memory at a time changes nothing."""
    scores = np.random.default_rng(1).normal(size=(7, 5))
    names = [f"u{row}" for row in range(7)], [f"i{column}" for column in range(5)]
    blocked = sparse.csr_array(([1.0], ([2], [3])), shape=(7, 5))
    among = np.array([True, True, False, True, True])
    options = {"blocked": blocked, "among": among}
    whole = lists_of(*names, lambda part: scores[part].copy(), 4, **options)
    monkeypatch.setattr(item_lists, "_CELLS", 10)
    parts = lists_of(*names, lambda part: scores[part].copy(), 4, **options)
    assert parts.equals(whole)
    assert "i2" not in whole["item_id"].to_pylist()
    assert whole.num_rows == 7 * 4 - 1


def test_ndcg_is_that_of_the_definition() -> None:
    """Hits are discounted by place, and the ideal list holds as many as fit."""
    lists = table(
        entity_id=["a", "a", "a", "b", "nobody"],
        item_id=["x", "y", "z", "x", "x"],
        score=[3.0, 2.0, 1.0, 1.0, 1.0],
    )
    later = table(entity_id=["a", "a", "b", "c"], item_id=["y", "new", "y", "x"])
    gain = 1 / np.log2(3)
    assert ndcg(lists, later, 3) == pytest.approx([gain / (1 + gain), 0.0, 0.0])
    assert ndcg(lists, later, 1) == pytest.approx([0.0, 0.0, 0.0])
    assert ndcg(lists.slice(0, 0), later, 3) == pytest.approx([0.0, 0.0, 0.0])
    everything = table(entity_id=["b"], item_id=["y"], score=[1.0])
    assert ndcg(everything, later, 5) == pytest.approx([0.0, 1.0, 0.0])


def test_rows_of_one_pair_are_summed_and_pairs_counted_once() -> None:
    """With a weight the rows of a pair add up; without one a pair weighs 1."""
    history = table(entity_id=["b", "a", "b"], item_id=["x", "y", "x"], w=[2.0, -1.0, 3.0])
    found = interactions(history, "w")
    assert found.matrix().toarray().tolist() == [[0, -1], [5, 0]]
    assert found.support().tolist() == [1, 0]
    assert interactions(history).matrix().toarray().tolist() == [[0, 1], [1, 0]]
    known = interactions(history, items=("y", "z"))
    assert known.matrix().toarray().tolist() == [[1, 0], [0, 0]]
    assert known.unknown == 2
    with pytest.raises(QualityError, match="1 rows of the history have no w"):
        interactions(history.set_column(2, "w", pa.array([1.0, None, 1.0])), "w")


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.int64()])
def test_ids_may_be_of_any_type_and_in_several_chunks(kind: pa.DataType) -> None:
    """Chunked columns, long texts and numbers are read as texts."""
    parts = [table(entity_id=["2"], item_id=["10"]), table(entity_id=["1"], item_id=["9"])]
    history = pa.concat_tables(parts)
    history = history.cast(pa.schema([("entity_id", kind), ("item_id", kind)]))
    found = interactions(history)
    assert (found.entities, found.items) == (("1", "2"), ("10", "9"))
    assert found.columns.tolist() == [1, 0]


def test_a_shelf_of_the_same_name_elsewhere_is_another() -> None:
    """Below two departments one word is two categories; below an unknown one it is none."""
    shelves = table(
        item_id=["a", "b", "c"], department=["food", "pets", None], shelf=["dry", "dry", "dry"]
    )
    departments, shelf = category_levels(shelves, ("a", "b", "c", "d"))
    assert departments == ["\x1ffood", "\x1fpets", "", ""]
    assert shelf == ["\x1ffood\x1fdry", "\x1fpets\x1fdry", "", ""]
    assert category_levels(None, ("a",)) == []
