"""Playlists: what is about, what kinds an entity likes, and what EASE says, in one list."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from include.models import ease
from include.models.ease import Ease, EaseSettings
from include.models.playlist import BLENDS, TREND, Blend, Columns, Experts, experts

COLUMNS = Columns("liking", "days", "kind", 7.0)
TASTE, LIKENESS = Blend(0.0, 1.0, 0.0), Blend(0.0, 0.0, 1.0)
SETTINGS = EaseSettings(ridge=1.0)


def history(*rows: tuple[str, str, float, float, str | None]) -> pa.Table:
    """Entity, item, liking, days since it first had it, category."""
    names = ("entity_id", "item_id", "liking", "days", "kind")
    kinds = (pa.string(), pa.string(), pa.float64(), pa.float64(), pa.string())
    columns = zip(*rows, strict=True) if rows else ([],) * 5
    arrays = [pa.array(list(one), kind) for one, kind in zip(columns, kinds, strict=True)]
    return pa.table(arrays, names=names)


#: Rock and jazz go together with themselves; `hit` is had by most.
PAST = history(
    ("a", "rock-1", 3, 50, "rock"),
    ("a", "rock-2", 2, 50, "rock"),
    ("a", "hit", 1, 40, "pop"),
    ("b", "rock-1", 1, 50, "rock"),
    ("b", "rock-2", 1, 50, "rock"),
    ("b", "rock-3", 1, 50, "rock"),
    ("b", "hit", 1, 40, "pop"),
    ("c", "jazz-1", 2, 50, "jazz"),
    ("c", "jazz-2", 1, 50, "jazz"),
    ("d", "jazz-1", 1, 50, "jazz"),
    ("d", "jazz-2", 1, 50, "jazz"),
    ("d", "hit", 1, 40, "pop"),
)


def known(past: pa.Table = PAST) -> Ease:
    """EASE of what was had and liked."""
    return ease.fit(past, replace(SETTINGS, weight="liking"))


def lists(
    found: Experts, blend: Blend, top: int = 10, *, drop_seen: bool = True
) -> dict[str, list[str]]:
    table = found.lists(blend, top, drop_seen=drop_seen)
    answer: dict[str, list[str]] = {}
    for row in table.to_pylist():
        answer.setdefault(row["entity_id"], []).append(row["item_id"])
    return answer


def test_an_item_that_came_out_after_training_is_listed_first_where_everybody_puts_it_on() -> None:
    """What is about lately comes with the history, not from the model."""
    rows = [
        ("b", "fresh", 1, 2, "rock"),
        ("c", "fresh", 1, 2, "rock"),
        ("d", "fresh", 1, 2, "rock"),
    ]
    now = pa.concat_tables([PAST, history(*rows)])
    assert "fresh" not in known().items
    assert lists(experts(now, COLUMNS, known()), TREND)["a"][0] == "fresh"


def test_reasons_sum_up_to_what_the_score_is_beyond_the_mean() -> None:
    """Every expert that has a say is named, and likeness with the items that are most like it."""
    found = experts(PAST, COLUMNS, known())
    blend, novelty = Blend(0.5, 1.0, 0.5), 0.1
    everything = found.lists(blend, 10, drop_seen=False, novelty=novelty)
    reasons = found.reasons(blend, everything, 9, novelty=novelty, kind="kind")
    scores = everything["score"].to_numpy()
    owners = np.array(everything["entity_id"].to_pylist())
    for row, told in enumerate(reasons):
        beyond = scores[row] - scores[owners == owners[row]].mean()
        assert sum(one["contribution"] for one in told) == pytest.approx(beyond)
        sizes = [abs(one["contribution"]) for one in told]
        assert sizes == sorted(sizes, reverse=True)
    pairs = [(row["entity_id"], row["item_id"]) for row in everything.to_pylist()]
    by = {one["feature"]: one for one in reasons[pairs.index(("a", "rock-3"))]}
    assert set(by) == {"trend", "novelty", "kind", "likeness"}
    assert by["kind"]["value"] == "rock"
    model = known()
    place = {item: row for row, item in enumerate(model.items)}
    added = {
        row["item_id"]: row["liking"] * model.effects[place[row["item_id"]], place["rock-3"]]
        for row in PAST.to_pylist()
        if row["entity_id"] == "a"
    }
    most = sorted((item for item in added if added[item] > 0), key=lambda item: -added[item])
    assert by["likeness"]["items"] == most
    assert "rock-2" in by["likeness"]["items"]
    assert [len(one) for one in found.reasons(blend, everything, 2)] == [2] * len(reasons)


def test_what_everybody_turns_down_is_not_about() -> None:
    """A new item that all skip stands behind one that a single entity plays."""
    skipped = [(who, "noise", -1, 1, "pop") for who in "bcd"]
    now = pa.concat_tables([PAST, history(*skipped, ("b", "gem", 1, 1, "pop"))])
    listed = lists(experts(now, COLUMNS, known()), TREND)["a"]
    assert listed.index("gem") < listed.index("noise")


def test_an_entitys_own_category_comes_first_and_what_it_skips_sinks() -> None:
    """Skips of a category push down the items of it that were never put on."""
    skips = history(("a", "jazz-1", -9, 10, "jazz"), ("a", "jazz-2", -8, 10, "jazz"))
    more = history(("d", "jazz-3", 1, 60, "jazz"), ("d", "folk-1", 1, 60, "folk"))
    now = pa.concat_tables([PAST, more])
    before = lists(experts(now, COLUMNS, known()), TASTE)["a"]
    after = lists(experts(pa.concat_tables([now, skips]), COLUMNS, known()), TASTE)["a"]
    assert before[0] == after[0] == "rock-3"
    assert before.index("jazz-3") < before.index("folk-1")
    assert after.index("jazz-3") > after.index("folk-1")


@pytest.mark.parametrize("blend", BLENDS)
def test_what_was_put_on_before_is_dropped_whatever_the_blend(blend: Blend) -> None:
    """Played or skipped, and even where nothing else is left."""
    now = pa.concat_tables([PAST, history(("a", "jazz-1", -1, 1, "jazz"))])
    had = set(zip(now["entity_id"].to_pylist(), now["item_id"].to_pylist(), strict=True))
    listed = lists(experts(now, COLUMNS, known()), blend)
    assert listed.keys() == set("abcd")
    assert not [
        (who, item) for who, items in listed.items() for item in items if (who, item) in had
    ]


def test_an_item_that_ease_does_not_know_is_neither_liked_nor_disliked() -> None:
    """It is worth what the others are on average, in logarithms."""
    now = pa.concat_tables([PAST, history(("c", "other", 1, 60, None))])
    rows = experts(now, COLUMNS, known()).lists(LIKENESS, 10, drop_seen=False).to_pylist()
    scores = {row["item_id"]: row["score"] for row in rows if row["entity_id"] == "a"}
    other = scores.pop("other")
    assert scores.keys() == set(known().items)
    assert other == pytest.approx(np.mean(list(scores.values())))
    assert scores["jazz-2"] < other < scores["rock-1"]


def test_an_ease_that_knows_nothing_leaves_the_list_to_the_other_experts() -> None:
    """Then its part is the same for every item."""
    nothing = Ease(SETTINGS, (), np.empty(0, np.int64), np.empty((0, 0)), ())
    found = experts(PAST, COLUMNS, nothing)
    assert lists(found, Blend(1.0, 1.0, 1.0)) == lists(found, Blend(1.0, 1.0, 0.0))


def test_a_blend_is_the_weighted_sum_of_its_experts() -> None:
    """So that a weight of zero silences an expert, and scores can be taken apart."""
    found = experts(PAST, COLUMNS, known())

    def scores(blend: Blend) -> dict[tuple[str, str], float]:
        rows = found.lists(blend, 10, drop_seen=False).to_pylist()
        return {(row["entity_id"], row["item_id"]): row["score"] for row in rows}

    trend, taste, likeness = scores(TREND), scores(TASTE), scores(LIKENESS)
    whole = scores(Blend(0.5, 1.0, 2.0))
    assert whole.keys() == trend.keys()
    for key, score in whole.items():
        assert score == pytest.approx(0.5 * trend[key] + taste[key] + 2.0 * likeness[key])


def test_where_things_are_had_again_what_is_had_most_comes_first() -> None:
    """Nothing is dropped, and the share is that of all entities."""
    again = replace(known(), settings=replace(SETTINGS, seen="keep"))
    rows = [(who, item, 1, 1, None) for who, item in ("ax", "bx", "cx", "ay", "by", "az")]
    found = experts(history(*rows), COLUMNS, again)
    assert lists(found, TREND, drop_seen=False)["a"] == ["x", "y", "z"]


def test_rows_in_another_order_give_the_same_lists() -> None:
    """Ties go by item id, and sums do not depend on the order of rows."""
    shuffled = PAST.take(pa.array(np.random.default_rng(0).permutation(PAST.num_rows)))
    blend = Blend(1.0, 1.0, 1.0)
    one, other = (experts(table, COLUMNS, known()) for table in (PAST, shuffled))
    assert one.lists(blend, 5, drop_seen=True).equals(other.lists(blend, 5, drop_seen=True))


def test_nobody_has_no_list() -> None:
    """An empty history gives an empty table of lists."""
    found = experts(history(), COLUMNS, known())
    assert found.lists(TREND, 10, drop_seen=True).num_rows == 0
