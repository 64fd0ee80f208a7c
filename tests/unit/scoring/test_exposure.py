"""How much attention groups of items get, and rankings that give each its share."""

from __future__ import annotations

from collections import Counter
from math import floor

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.scoring.exposure import fair_order, groups_of, measured
from include.scoring.ranks import ranked


def test_the_first_place_weighs_most() -> None:
    """Exposure falls with the logarithm of the place, and adds up to one."""
    found = measured(["a", "b", "b"], np.array([1, 2, 3]), ["a", "b", "b", "c"])
    weights = [1.0, 1 / np.log2(3), 0.5]
    assert [one.group for one in found] == ["a", "b", "c"]
    assert [one.candidates for one in found] == [0.25, 0.5, 0.25]
    assert found[0].exposure == pytest.approx(1 / sum(weights))
    assert found[2].exposure == 0.0
    assert sum(one.exposure for one in found) == pytest.approx(1.0)


def test_without_a_need_the_order_stays() -> None:
    """Where scores give every group its share already, nothing moves."""
    assert fair_order("abab", {"a": 0.5, "b": 0.5}, 4) == [0, 1, 2, 3]


def test_a_group_that_is_behind_moves_up() -> None:
    """Two of four have to be b's, though all a's score higher."""
    assert fair_order("aaaabb", {"a": 0.5, "b": 0.5}, 4) == [0, 4, 1, 5]


@given(st.text("abc", min_size=1, max_size=40), st.integers(1, 12))
def test_every_beginning_of_a_list_holds_each_groups_share(groups: str, top: int) -> None:
    """With two groups always; nothing is shown twice, and in a group the better comes first."""
    shares = {group: count / len(groups) for group, count in Counter(groups).items()}
    order = fair_order(groups, shares, top)
    assert len(order) == len(set(order)) == min(top, len(groups))
    for group in shares:
        places = [place for place in order if groups[place] == group]
        assert places == sorted(places)
    if len(shares) == 2:
        for k in range(1, len(order) + 1):
            shown = Counter(groups[place] for place in order[:k])
            for group, share in shares.items():
                assert shown[group] >= min(floor(share * k + 1e-9), groups.count(group))


def test_a_ranking_with_parity_shows_both_groups() -> None:
    """The better scores of one group leave room for the other, entity by entity."""
    features = pa.table(
        {
            "user_id": ["u"] * 4 + ["v"] * 4,
            "item_id": ["i1", "i2", "i3", "i4"] * 2,
            "group": ["a", "a", "b", "b"] * 2,
        }
    )
    scores = np.array([4.0, 3.0, 2.0, 1.0] * 2)
    how = {"scores": scores, "baseline": None}
    by_score = ranked(features, "ranking", 2, **how)
    fair = ranked(features, "ranking", 2, **how, parity=groups_of(features, "group"))
    assert by_score["item_id"].to_pylist() == ["i1", "i2"] * 2
    assert fair["item_id"].to_pylist() == ["i1", "i3"] * 2
    assert fair["rank"].to_pylist() == [1, 2] * 2
