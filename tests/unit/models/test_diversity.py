"""Lists made more varied, and other ones every week."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from include.errors import ConfigError
from include.models.diversity import Variety, diversified, drawn, weeks_of
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


POOL = lists(**{f"u{n}": {f"i{m:02}": float(50 - m) for m in range(50)} for n in range(40)})


def draw(
    pool: pa.Table, top: int = 10, *, seed: int = 1, week: str = "2024-W09", chance: float = 1.0
) -> pa.Table:
    """With everybody in the same week."""
    weeks = dict.fromkeys(pool["entity_id"].to_pylist(), week)
    return drawn(pool, weeks, top, seed=seed, chance=chance)


def test_a_week_has_one_list_and_the_next_another() -> None:
    """Seed, entity and week decide; lists keep their order and scores."""
    one = draw(POOL)
    assert draw(POOL).equals(one)
    assert not draw(POOL, week="2024-W10").equals(one)
    assert not draw(POOL, seed=2).equals(one)
    assert own(one, "u1") != own(one, "u2")
    assert Counter(one["entity_id"].to_pylist()) == {f"u{n}": 10 for n in range(40)}
    for entity in ("u0", "u39"):
        assert own(one, entity) == sorted(own(one, entity))


def test_without_chance_the_best_are_drawn() -> None:
    """And with little of it, nearly all of them."""
    best = [f"i{m:02}" for m in range(10)]
    assert own(draw(POOL, chance=0.0), "u3") == best
    assert len(set(own(draw(POOL, chance=0.01), "u3")) - set(best)) <= 1


def test_an_item_that_goes_leaves_the_rest_of_the_weeks_list() -> None:
    """Only its own place is filled anew; where all places count alike, by one item exactly."""
    one = own(draw(POOL, chance=1e9), "u3")
    gone = one[4]
    fewer = POOL.filter(pc.not_equal(POOL["item_id"], gone))
    two = own(draw(fewer, chance=1e9), "u3")
    assert set(one) - set(two) == {gone}
    assert len(set(two) - set(one)) == 1


def test_who_stands_higher_is_drawn_more_often() -> None:
    """Over many weeks the first place is drawn by its weight among all, and everything at times."""
    pool = lists(u={"a": 3.0, "b": 2.0, "c": 1.0})
    weeks = 1_500
    found = Counter(own(draw(pool, 1, seed=7, week=f"w{n}"), "u")[0] for n in range(weeks))
    total = 1 + 1 / 2 + 1 / 3
    for place, item in enumerate("abc", start=1):
        share = 1 / place / total
        error = (share * (1 - share) / weeks) ** 0.5
        assert abs(found[item] / weeks - share) < 4 * error


@pytest.mark.parametrize(
    ("day", "week"),
    [("2024-12-29", "2024-W52"), ("2024-12-30", "2025-W01"), ("2023-01-01", "2022-W52")],
)
def test_weeks_begin_on_monday(day: str, week: str) -> None:
    """Also over the new year."""
    at = datetime.fromisoformat(day).replace(tzinfo=UTC)
    assert weeks_of(pa.table({"entity_id": ["u", "u"], "as_of": [at, at]})) == {"u": week}


def test_empty_lists_stay_empty() -> None:
    """Nothing goes in, nothing comes out."""
    empty = SOME.slice(0, 0)
    for found in (
        diversified(empty, KINDS, 3, 0.5),
        draw(empty),
        Variety(0.5, 0.1, 0.3).chosen(empty, {}, {}, 3),
    ):
        assert found.num_rows == 0


@pytest.mark.parametrize("wrong", [{"relevance": 1.5, "top": 3}, {"relevance": 0.5, "top": 0}])
def test_impossible_wishes_are_refused(wrong: dict[str, Any]) -> None:
    """A relevance beyond 1 and a list of nothing are errors."""
    with pytest.raises(ConfigError):
        diversified(SOME, KINDS, wrong["top"], wrong["relevance"])


@pytest.mark.parametrize(
    "wrong",
    [{"relevance": 1.1}, {"novelty": -0.1}, {"chance": float("nan")}, {"chance": 11.0}],
)
def test_impossible_variety_is_refused(wrong: dict[str, float]) -> None:
    """So is a reward for fame."""
    with pytest.raises(ConfigError):
        Variety(**wrong)  # type: ignore[arg-type]
