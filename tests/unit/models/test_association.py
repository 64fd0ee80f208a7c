"""Bought together: shrunk along the categories, right to the last digit, and explained."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from include.errors import ConfigError, IntegrityError, QualityError
from include.models import arrays, association_fit
from include.models.association import Association, AssociationSettings
from include.models.association_fit import asked, choose, fit, one_given

AS_OF = datetime(2024, 3, 1, tzinfo=UTC)
FLAT = AssociationSettings(strength=4.0, size_power=0.0, trend=0.0)


def baskets(*contents: str, days_ago: float = 1.0) -> pa.Table:
    """A basket per text; its items are the words."""
    rows = [(f"b{n:04}", item) for n, text in enumerate(contents) for item in text.split()]
    return pa.table(
        {
            "group_id": [basket for basket, _ in rows],
            "item_id": [item for _, item in rows],
            "event_timestamp": pa.array(
                [AS_OF - timedelta(days=days_ago)] * len(rows), pa.timestamp("us", "UTC")
            ),
        }
    )


def categories(**of: str) -> pa.Table:
    """Two levels: `department/shelf`, where either may be empty."""
    parts = {item: path.partition("/") for item, path in of.items()}
    return pa.table(
        {
            "item_id": pa.array(list(parts), pa.string()),
            "department": pa.array([part[0] or None for part in parts.values()], pa.string()),
            "shelf": pa.array([part[2] or None for part in parts.values()], pa.string()),
        }
    )


def given(*items: str) -> pa.Table:
    return pa.table({"entity_id": ["me"] * len(items), "item_id": list(items)})


def listed(model: Association, *items: str, top: int = 10, **options: Any) -> dict[str, float]:
    lists = model.recommend(given(*items), top, **options)
    return dict(zip(lists["item_id"].to_pylist(), lists["score"].to_pylist(), strict=True))


def random_baskets(seed: int, count: int = 300) -> tuple[pa.Table, pa.Table]:
    """Baskets of a handful of 24 items in 6 shelves and 3 departments, some without either."""
    generator = np.random.default_rng(seed)
    items = [f"i{n:02}" for n in range(24)]
    contents, days = [], []
    for _ in range(count):
        shelf = generator.integers(6)
        likely = np.where(np.arange(24) // 4 == shelf, 0.4, 0.06)
        contents.append([i for i, p in zip(items, likely, strict=True) if generator.random() < p])
        days.append(float(generator.uniform(0.5, 90)))
    rows = [
        (f"b{n:04}", item, AS_OF - timedelta(days=day))
        for n, (content, day) in enumerate(zip(contents, days, strict=True))
        for item in content
    ]
    table = pa.table(
        {
            "group_id": [row[0] for row in rows],
            "item_id": [row[1] for row in rows],
            "event_timestamp": pa.array([row[2] for row in rows], pa.timestamp("us", "UTC")),
        }
    )
    shelves = {item: f"d{n // 8}/s{n // 4}" for n, item in enumerate(items)}
    shelves |= {"i03": "", "i07": "d0/", "i11": "/s2", "never": "d1/s3", "odd": "d9/s9"}
    return table, categories(**shelves)


def by_hand(
    rows: pa.Table, shelves: pa.Table, chosen: AssociationSettings
) -> dict[str, dict[str, float]]:
    """Scores beside each item from the definition alone, with dictionaries and loops."""
    content: dict[str, set[str]] = defaultdict(set)
    recent = set()
    for row in rows.to_pylist():
        content[row["group_id"]].add(row["item_id"])
        if row["event_timestamp"] >= AS_OF - timedelta(days=chosen.recent_days):
            recent.add(row["group_id"])
    weight = {basket: len(items) ** -chosen.size_power for basket, items in content.items()}
    mean = sum(weight.values()) / len(weight)
    weight = {basket: one / mean for basket, one in weight.items()}
    items = sorted({item for held in content.values() for item in held})
    path = {}
    for row in shelves.to_pylist():
        department, shelf = row["department"], row["shelf"]
        path[row["item_id"]] = ((department,) if department else ()) + (
            (shelf,) if department and shelf else ()
        )

    def shared(group: set[str], item: str) -> float:
        return sum(
            weight[basket] * len((held & group) - {item})
            for basket, held in content.items()
            if item in held
        )

    held_by = {
        item: sum(weight[basket] for basket, held in content.items() if item in held)
        for item in items
    }
    chain: dict[tuple[str, ...], dict[str, float]] = {
        (): {item: held_by[item] / sum(weight.values()) for item in items}
    }
    for known in sorted({path.get(item, ())[:n] for item in items for n in (1, 2)}, key=len):
        if known not in chain:
            group = {item for item in items if path.get(item, ())[: len(known)] == known}
            size = sum(held_by[item] for item in group)
            above = chain[known[:-1]]
            chain[known] = {
                item: (shared(group, item) + chosen.strength * above[item])
                / (size + chosen.strength)
                for item in items
            }
    scores = {}
    for one in items:
        above = chain[path.get(one, ())]
        scores[one] = {}
        for other in items:
            if other == one:
                continue
            share = (shared({one}, other) + chosen.strength * above[other]) / (
                held_by[one] + chosen.strength
            )
            every = sum(other in held for held in content.values())
            now = sum(other in content[basket] for basket in recent)
            expected = every * len(recent) / len(content)
            scores[one][other] = share * ((now + 20) / (expected + 20)) ** chosen.trend
    return scores


@pytest.mark.parametrize(
    "chosen",
    [
        AssociationSettings(),
        AssociationSettings(strength=3.0, size_power=0.5, trend=1.0, recent_days=14),
        FLAT,
    ],
)
def test_scores_are_those_of_the_definition(chosen: AssociationSettings) -> None:
    """Sparse counts, blocks and stored lists give what loops over baskets give, for every pair."""
    rows, shelves = random_baskets(1)
    model = fit(rows, chosen, as_of=AS_OF, categories=shelves)
    for item, expected in by_hand(rows, shelves, chosen).items():
        found = listed(model, item, top=50)
        assert found == pytest.approx(expected, rel=1e-6)


def test_pairs_are_counted_in_parts_to_the_same_end(monkeypatch: Any) -> None:
    """How many items are counted at a time, and without any categories, changes nothing."""
    rows, _ = random_baskets(2)
    whole = fit(rows, FLAT, as_of=AS_OF)
    monkeypatch.setattr("include.models.cooccurrence._AT_A_TIME", 3)
    parts = fit(rows, FLAT, as_of=AS_OF)
    assert arrays.to_bytes(parts.arrays()) == arrays.to_bytes(whole.arrays())


def test_few_neighbours_keep_the_head_of_each_list() -> None:
    """The kept ones are the best of all, with the scores they had."""
    rows, shelves = random_baskets(3)
    long = fit(rows, AssociationSettings(), as_of=AS_OF, categories=shelves)
    short = fit(rows, AssociationSettings(neighbours=6), as_of=AS_OF, categories=shelves)
    for item in short.items:
        whole = listed(long, item, top=24)
        # the item itself may stand in its category's list, so 5 are certain
        assert listed(short, item, top=5) == pytest.approx(dict(list(whole.items())[:5]))


def test_pure_lift_does_not_win() -> None:
    """What was bought together once, and never else, stays behind what often goes together."""
    rows = baskets(*["bread butter"] * 30, *["bread"] * 30, "bread caviar", *["milk"] * 20)
    found = listed(fit(rows, FLAT, as_of=AS_OF), "bread")
    assert next(iter(found)) == "butter"
    listing = pa.table({"entity_id": ["me"], "item_id": ["caviar"]})
    ((pair,),) = fit(rows, FLAT, as_of=AS_OF).together(given("bread"), listing, 1)
    assert pair["baskets"] == 1
    assert pair["lift"] == pytest.approx((1 / 61) / (1 / 81))


def test_a_rare_item_goes_by_its_category() -> None:
    """With little to tell, what goes with its shelf comes first, not what goes with anything."""
    rows = baskets(
        *["tea lemon"] * 20, *["wine cheese"] * 20, *["wine"] * 20, *["bread"] * 60, "rare bread"
    )
    shelves = categories(tea="drinks/tea", rare="drinks/tea", wine="drinks/wine")
    with_shelf = fit(rows, FLAT, as_of=AS_OF, categories=shelves)
    assert list(listed(with_shelf, "rare"))[:2] == ["lemon", "bread"]
    assert next(iter(listed(fit(rows, FLAT, as_of=AS_OF), "rare"))) == "bread"


def test_items_never_bought_go_by_the_finest_known_category() -> None:
    """A new item gets its shelf's list, or its department's, or everything's."""
    rows = baskets(*["tea lemon"] * 20, *["wine cheese"] * 40, *["bread"] * 60)
    shelves = categories(
        tea="drinks/tea", wine="drinks/wine", new="drinks/tea", newer="drinks/beer", odd="none/x"
    )
    model = fit(rows, FLAT, as_of=AS_OF, categories=shelves)
    assert next(iter(listed(model, "new"))) == "lemon"
    assert next(iter(listed(model, "newer"))) == "cheese"
    assert next(iter(listed(model, "odd"))) == "bread"
    assert listed(model, "unheard of") == listed(model, "odd")


def test_items_beyond_the_bound_go_by_their_category_too() -> None:
    """An item in too few baskets is not listed, and as a given one has its category's list."""
    rows = baskets(*["tea lemon"] * 20, *["bread"] * 60, "rare bread")
    shelves = categories(tea="drinks/tea", rare="drinks/tea")
    model = fit(rows, replace(FLAT, most_items=3), as_of=AS_OF, categories=shelves)
    assert model.items == ("bread", "lemon", "tea")
    assert model.others == ("rare",)
    assert next(iter(listed(model, "rare"))) == "lemon"
    assert "rare" not in listed(model, "bread")


def test_what_is_at_hand_is_not_listed_and_several_items_count_by_their_mean() -> None:
    """Two given items give the mean of their scores, themselves left out."""
    rows, shelves = random_baskets(4)
    model = fit(rows, AssociationSettings(), as_of=AS_OF, categories=shelves)
    one, two = listed(model, "i00", top=50), listed(model, "i13", top=50)
    both = listed(model, "i00", "i13", top=50)
    assert set(both) == set(one) & set(two)
    for item, score in both.items():
        assert score == pytest.approx((one[item] + two[item]) / 2)


def test_what_sells_now_comes_before_what_sold() -> None:
    """Of two items as often bought together with one, the trend puts the recent one first."""
    old = baskets(*["bread jam"] * 30, *["plain"] * 30, days_ago=80)
    new = baskets(*["bread honey"] * 30, days_ago=2)
    new = new.set_column(0, "group_id", pa.array([f"n{b}" for b in new["group_id"].to_pylist()]))
    rows = pa.concat_tables([old, new])
    flat = listed(fit(rows, FLAT, as_of=AS_OF), "bread")
    assert flat["honey"] == flat["jam"]
    assert list(flat) == ["honey", "jam", "plain"]  # equal ones by id
    risen = listed(fit(rows, replace(FLAT, trend=0.5), as_of=AS_OF), "bread")
    assert risen["honey"] > 1.5 * risen["jam"]


def test_nothing_is_learnt_from_the_future() -> None:
    """Rows at and after the instant are left out; where none are before, there is an error."""
    before, after = baskets("bread jam", "bread"), baskets("bread wine", days_ago=-1)
    after = after.set_column(0, "group_id", pa.array(["later"] * after.num_rows))
    model = fit(pa.concat_tables([before, after]), FLAT, as_of=AS_OF)
    assert model.items == ("bread", "jam")
    assert model.total == 2
    with pytest.raises(QualityError, match="before 2024-03-01"):
        fit(after, FLAT, as_of=AS_OF)


def test_a_shared_model_lists_only_what_the_tenant_has() -> None:
    """`among` bounds what is listed, not what may be given."""
    rows, _ = random_baskets(6)
    model = fit(rows, AssociationSettings(), as_of=AS_OF)
    assert set(listed(model, "i00", among=["i05", "i09", "foreign"])) == {"i05", "i09"}


def test_a_model_comes_back_with_the_same_lists_and_bytes() -> None:
    """Through bytes and back nothing changes."""
    rows, shelves = random_baskets(7)
    model = fit(rows, AssociationSettings(neighbours=4), as_of=AS_OF, categories=shelves)
    content = arrays.to_bytes(model.arrays())
    again = Association.from_arrays(dict(model.header()), arrays.from_bytes(content))
    assert again.recommend(asked(rows), 5).equals(model.recommend(asked(rows), 5))
    assert arrays.to_bytes(again.arrays()) == content


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("pair_items", lambda values: values + 100),
        ("pair_items", lambda values: values[::-1].copy()),
        ("pair_ends", lambda values: values[::-1].copy()),
        ("pair_scores", lambda values: values[:-1]),
        ("fallback_ends", lambda values: values[:0]),
        ("parent", lambda values: values - 5),
        ("doubt", lambda values: -values),
        ("baskets", lambda values: values * 0),
        ("items_utf8", lambda values: values[::-1].copy()),
    ],
)
def test_arrays_that_do_not_fit_are_refused(name: str, change: Any) -> None:
    """Places outside, rows out of order and counts that cannot be raise."""
    rows, shelves = random_baskets(8)
    model = fit(rows, AssociationSettings(), as_of=AS_OF, categories=shelves)
    kept = dict(model.arrays())
    with pytest.raises(IntegrityError):
        Association.from_arrays(model.header(), {**kept, name: change(kept[name])})
    for header in ({}, {**model.header(), "total": 0}, {**model.header(), "total": "1"}):
        with pytest.raises(IntegrityError):
            Association.from_arrays(header, kept)


def test_each_item_of_a_basket_is_given_once_and_baskets_count_alike() -> None:
    """The hit rate of a basket is the share of its items whose list holds another of its items."""
    tested = baskets("a b c", "a d", "b", "c d")
    lists = pa.table(
        {
            "entity_id": ["a", "a", "b", "c"],
            "item_id": ["d", "b", "c", "c"],
            "score": [2.0, 1.0, 1.0, 1.0],
        }
    )
    # a → d, b; b → c; c → itself, which is no hit; d has no list
    assert one_given(lists, tested, 2).tolist() == pytest.approx([2 / 3, 1 / 2, 0])
    assert one_given(lists, tested, 1).tolist() == pytest.approx([1 / 3, 1 / 2, 0])
    assert one_given(lists.slice(0, 0), tested, 1).tolist() == [0, 0, 0]


def test_choosing_fits_before_the_window_and_looks_into_it(monkeypatch: Any) -> None:
    """The candidate that hits most of the last days is chosen; none sees them."""
    rows, shelves = random_baskets(9, count=600)
    seen = []

    def watched(table: pa.Table, chosen: AssociationSettings, **options: Any) -> Association:
        seen.append(options["as_of"])
        return fit(table, chosen, **options)

    monkeypatch.setattr(association_fit, "fit", watched)
    candidates = (AssociationSettings(strength=5.0), AssociationSettings(strength=1e8))
    week = timedelta(days=14)
    found = choose(rows, candidates, window=week, as_of=AS_OF, categories=shelves, top=3)
    assert found.settings == candidates[0]
    assert found.hit_rate[candidates[0]] > found.hit_rate[candidates[1]]
    assert set(seen) == {AS_OF - week}
    with pytest.raises(ConfigError):
        choose(rows, (), window=week, as_of=AS_OF)
    with pytest.raises(QualityError, match="no basket"):
        choose(rows, candidates, window=timedelta(seconds=1), as_of=AS_OF)


@pytest.mark.parametrize(
    "wrong",
    [
        {"strength": 0.0},
        {"size_power": -1.0},
        {"trend": 3.0},
        {"recent_days": 0},
        {"neighbours": 0},
        {"most_items": 1_000_000},
    ],
)
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    """Amounts out of range raise where they are declared."""
    with pytest.raises(ConfigError):
        AssociationSettings(**wrong)


def test_an_item_with_two_categories_is_an_error() -> None:
    """The table of categories holds each item once."""
    twice = pa.concat_tables([categories(a="x/y"), categories(a="x/z")])
    with pytest.raises(ConfigError, match="twice"):
        fit(baskets("a b"), FLAT, as_of=AS_OF, categories=twice)


def test_lists_are_explained_by_the_baskets_that_hold_both() -> None:
    """Their number, and lift; nothing beside what only its category brought there."""
    rows, shelves = random_baskets(5)
    held: dict[str, set[str]] = defaultdict(set)
    for row in rows.to_pylist():
        held[row["item_id"]].add(row["group_id"])
    total = len({row["group_id"] for row in rows.to_pylist()})
    model = fit(rows, FLAT, as_of=AS_OF, categories=shelves)
    items = [*model.items[:6], "never"]
    history = pa.table({"entity_id": items, "item_id": items})
    lists = model.recommend(history, 10)
    told = model.together(history, lists, 1)
    assert len(told) == lists.num_rows
    explained = 0
    for row, reasons in zip(lists.to_pylist(), told, strict=True):
        at_hand, other = held[row["entity_id"]], held[row["item_id"]]
        both = len(at_hand & other)
        if not both:
            assert reasons == []
            continue
        explained += 1
        (reason,) = reasons
        assert (reason["item"], reason["baskets"]) == (row["entity_id"], both)
        assert reason["lift"] == pytest.approx(both / len(at_hand) / (len(other) / total))
    assert explained > 30
    assert [] in told


def test_of_several_items_at_hand_those_in_most_baskets_are_named() -> None:
    """At most as many as asked for."""
    model = fit(baskets("tea milk", "tea milk", "ale milk", "ink"), FLAT, as_of=AS_OF)
    history, lists = given("tea", "ale"), pa.table({"entity_id": ["me"], "item_id": ["milk"]})
    (told,) = model.together(history, lists, 2)
    assert [(one["item"], one["baskets"]) for one in told] == [("tea", 2), ("ale", 1)]
    assert model.together(history, lists, 1) == [told[:1]]
