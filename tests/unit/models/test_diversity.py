"""Lists made more varied, less famous, and other ones every week."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from include.errors import ConfigError
from include.models.diversity import discounted, diversified, sampled
from include.models.item_lists import LISTS

KINDS = {"a": "rock", "b": "rock", "c": "rock", "d": "jazz", "e": "folk"}


def lists(**of: dict[str, float]) -> pa.Table:
    rows = [(entity, item, score) for entity, own in of.items() for item, score in own.items()]
    return pa.table([list(column) for column in zip(*rows, strict=True)], schema=LISTS)


SOME = lists(
    u={"a": 5.0, "b": 4.9, "c": 4.8, "d": 3.0, "e": 1.0}, v={"d": 2.0, "a": 1.0}, w={"x": 7.0}
)


def own(found: pa.Table, entity: str) -> list[str]:
    pairs = zip(found["entity_id"].to_pylist(), found["item_id"].to_pylist(), strict=True)
    return [item for owner, item in pairs if owner == entity]


def test_variety_brings_other_categories_forward() -> None:
    """Each choice weighs its score against a category that is on the list already."""
    assert own(diversified(SOME, KINDS, 3, 1.0), "u") == ["a", "b", "c"]
    assert own(diversified(SOME, KINDS, 4, 0.4), "u") == ["a", "d", "e", "b"]
    assert own(diversified(SOME, KINDS, 3, 0.4), "v") == ["d", "a"]
    assert own(diversified(SOME, KINDS, 3, 0.4), "w") == ["x"]


@pytest.mark.parametrize("relevance", [0.0, 0.3, 0.7, 1.0])
def test_varied_lists_are_those_of_the_definition(relevance: float) -> None:
    """Many lists at once give what choosing one by one gives, and scores fall by place."""
    generator = np.random.default_rng(1)
    kinds = {f"i{n:02}": f"k{n % 5}" if n % 7 else "" for n in range(30)}
    of = {}
    for user in range(20):
        items = generator.choice(sorted(kinds), size=int(generator.integers(1, 25)), replace=False)
        values = np.sort(generator.normal(size=len(items)))[::-1]
        of[f"u{user:02}"] = dict(zip(items.tolist(), values.tolist(), strict=True))
    table = lists(**of)
    found = diversified(table, kinds, 8, relevance)
    for user, scored in of.items():
        low, high = min(scored.values()), max(scored.values())
        left = {
            item: (one - low) / (high - low) if high > low else 1.0 for item, one in scored.items()
        }
        expected: list[str] = []
        while left and len(expected) < 8:
            on = {kinds[item] for item in expected} - {""}
            value = {i: relevance * s - (1 - relevance) * (kinds[i] in on) for i, s in left.items()}
            expected.append(max(value, key=lambda item: value[item]))
            del left[expected[-1]]
        assert own(found, user) == expected
    for user in of:
        scores = found.filter(pc.equal(found["entity_id"], user))["score"].to_numpy()
        assert (np.diff(scores) <= 0).all()


def test_a_discount_of_fame_brings_the_little_known_forward() -> None:
    """Scores are divided by a power of support; what nobody had and negative scores stay."""
    had = {"a": 100, "b": 4}
    some = lists(u={"a": 5.0, "b": 2.0, "new": 0.9, "bad": -1.0})
    found = discounted(some, had, 0.5, 3)
    assert own(found, "u") == ["b", "new", "a"]
    assert found["score"].to_pylist() == pytest.approx([1.0, 0.9, 0.5])
    assert discounted(some, had, 0.0, 4).equals(some)


def test_equal_scores_after_a_discount_come_by_id() -> None:
    """Ties are broken as everywhere."""
    some = lists(u={"b": 4.0, "a": 2.0})
    assert own(discounted(some, {"b": 2}, 1.0, 2), "u") == ["a", "b"]


POOL = lists(**{f"u{n}": {f"i{m:02}": float(50 - m) for m in range(50)} for n in range(40)})


def test_a_week_has_one_list_and_the_next_another() -> None:
    """Seed, entity and week decide; lists keep their order and scores."""
    one = sampled(POOL, 10, seed=1, week="2024-W09")
    assert sampled(POOL, 10, seed=1, week="2024-W09").equals(one)
    assert not sampled(POOL, 10, seed=1, week="2024-W10").equals(one)
    assert not sampled(POOL, 10, seed=2, week="2024-W09").equals(one)
    assert own(one, "u1") != own(one, "u2")
    assert Counter(one["entity_id"].to_pylist()) == {f"u{n}": 10 for n in range(40)}
    for entity in ("u0", "u39"):
        assert own(one, entity) == sorted(own(one, entity))


def test_an_item_that_goes_leaves_the_rest_of_the_weeks_list() -> None:
    """Only its own place is filled anew; where all places count alike, by one item exactly."""
    one = own(sampled(POOL, 10, seed=1, week="w", steepness=0.0), "u3")
    gone = one[4]
    fewer = POOL.filter(pc.not_equal(POOL["item_id"], gone))
    two = own(sampled(fewer, 10, seed=1, week="w", steepness=0.0), "u3")
    assert set(one) - set(two) == {gone}
    assert len(set(two) - set(one)) == 1


def test_who_stands_higher_is_drawn_more_often() -> None:
    """Over many weeks the first place is drawn by its weight among all, and everything at times."""
    pool = lists(u={"a": 3.0, "b": 2.0, "c": 1.0})
    weeks = 1_500
    drawn = Counter(own(sampled(pool, 1, seed=7, week=f"w{n}"), "u")[0] for n in range(weeks))
    total = 1 + 1 / 2 + 1 / 3
    for place, item in enumerate("abc", start=1):
        share = 1 / place / total
        error = (share * (1 - share) / weeks) ** 0.5
        assert abs(drawn[item] / weeks - share) < 4 * error


def test_empty_lists_stay_empty() -> None:
    """Nothing goes in, nothing comes out."""
    empty = SOME.slice(0, 0)
    for found in (
        diversified(empty, KINDS, 3, 0.5),
        discounted(empty, {}, 0.5, 3),
        sampled(empty, 3, seed=1, week="w"),
    ):
        assert found.num_rows == 0


@pytest.mark.parametrize("wrong", [{"relevance": 1.5, "top": 3}, {"relevance": 0.5, "top": 0}])
def test_impossible_wishes_are_refused(wrong: dict[str, Any]) -> None:
    """A relevance beyond 1 and a list of nothing are errors; so is a reward for fame."""
    with pytest.raises(ConfigError):
        diversified(SOME, KINDS, wrong["top"], wrong["relevance"])
    with pytest.raises(ConfigError):
        discounted(SOME, {}, -1.0, 3)
