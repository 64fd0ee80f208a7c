"""Who is scored, and what the labels say."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from include import use_cases
from include.errors import ConfigError
from include.features.library.items import ITEM_POPULARITY
from include.features.views import FeatureService
from include.storage.canonical import EVENTS
from include.use_cases.declaration import Baseline, ItemHistory, Items, Label, UseCase
from include.use_cases.spines import (
    basket_spine,
    labels,
    relevant_items,
    scoring_spine,
    wanted,
    wanted_in_baskets,
    wanted_pairs,
)

AS_OF = datetime(2024, 6, 1, tzinfo=UTC)
CHURN = use_cases.get("churn")
RANKING = use_cases.get("recommendation")
BOUGHT = ("Order Completed",)


def days(number: float) -> timedelta:
    return timedelta(days=number)


def history(*rows: tuple[str | None, str | None, float, float]) -> pa.Table:
    """Events from (user, item, days after AS_OF, days until known)."""
    made = []
    for number, (user, item, after, delay) in enumerate(rows):
        at = AS_OF + days(after)
        made.append(
            {
                "tenant_id": "acme",
                "source": "shop",
                "event_id": str(number),
                "event": "Order Completed",
                "user_id": user,
                "item_id": item,
                "event_timestamp": at,
                "created_timestamp": at + days(delay),
                "month": f"{at:%Y-%m}",
            }
        )
    return pa.Table.from_pylist(made, EVENTS)


def users(case: UseCase, events: pa.Table) -> list[str]:
    return scoring_spine(case, events, AS_OF)["user_id"].to_pylist()


def test_the_active_window_is_half_open() -> None:
    """Sixty days ago is active, a moment earlier is not, and an event at `as_of` is unknown."""
    events = history(
        ("edge", None, -60, 0), ("old", None, -60.001, 0), ("now", None, 0, 0), ("b", None, -1, 0)
    )
    assert users(CHURN, events) == ["b", "edge"]


def test_an_event_that_arrived_later_makes_nobody_active() -> None:
    """What was not known at `as_of` does not change whom the past would have scored."""
    assert users(CHURN, history(("late", None, -2, 3), ("timely", None, -2, 2))) == ["timely"]


def test_other_events_and_nameless_users_are_not_activity() -> None:
    """Only the declared events of someone count."""
    events = history((None, None, -1, 0), ("a", None, -1, 0))
    viewed = events.set_column(3, EVENTS.field("event"), pa.array(["Product Viewed"] * 2))
    assert users(CHURN, events) == ["a"]
    assert users(CHURN, viewed) == []


def test_a_churn_label_is_one_without_an_event_in_the_horizon() -> None:
    """The horizon is half-open: an order at its very end is too late, one at `as_of` counts."""
    events = history(
        *[(user, None, -1, 0) for user in ("back", "end", "first", "gone")],
        ("back", None, 12, 0),
        ("end", None, 30, 0),
        ("first", None, 0, 0),
    )
    spine = scoring_spine(CHURN, events, AS_OF)
    assert spine["user_id"].to_pylist() == ["back", "end", "first", "gone"]
    assert labels(CHURN, events, spine, AS_OF + days(30)).to_pylist() == [0, 1, 0, 1]


def test_labels_keep_the_order_of_a_spine_of_several_snapshots() -> None:
    """Each row is judged by its own instant."""
    events = history(("a", None, -40, 0), ("a", None, -5, 0), ("b", None, -40, 0))
    early = scoring_spine(CHURN, events, AS_OF - days(31))
    late = scoring_spine(CHURN, events, AS_OF)
    both = pa.concat_tables([late, early])
    assert both["user_id"].to_pylist() == ["a", "b", "a", "b"]
    assert labels(CHURN, events, both, AS_OF + days(30)).to_pylist() == [1, 1, 0, 1]


def test_a_label_that_nobody_can_know_yet_is_refused() -> None:
    """A label exists only once its whole horizon has passed."""
    events = history(("a", None, -1, 0))
    spine = scoring_spine(CHURN, events, AS_OF)
    with pytest.raises(ConfigError, match="earlier snapshot"):
        labels(CHURN, events, spine, AS_OF + days(29.9))


def test_an_outcome_that_arrives_after_the_training_does_not_count() -> None:
    """Labels see what was known when the training ran, no more."""
    events = history(("a", None, -1, 0), ("a", None, 5, 40))
    spine = scoring_spine(CHURN, events, AS_OF)
    assert labels(CHURN, events, spine, AS_OF + days(30)).to_pylist() == [1]
    assert labels(CHURN, events, spine, AS_OF + days(50)).to_pylist() == [0]


def test_candidates_are_the_own_items_and_the_popular_ones() -> None:
    """Own items most often had come first, popular ones are added once, all in order."""
    case = replace(RANKING, items=Items(own=1, popular=1, popular_window=days(28)))
    events = history(
        ("a", "milk", -50, 0),
        ("a", "milk", -40, 0),
        ("a", "tea", -35, 0),
        ("b", "bread", -3, 0),
        ("c", "bread", -2, 0),
        ("c", "tea", -2, 0),
    )
    spine = scoring_spine(case, events, AS_OF)
    rows = list(zip(spine["user_id"].to_pylist(), spine["item_id"].to_pylist(), strict=True))
    assert rows == [("a", "bread"), ("a", "milk"), ("b", "bread"), ("c", "bread")]


def pairs(spine: pa.Table) -> list[tuple[str, str]]:
    return list(zip(spine["user_id"].to_pylist(), spine["item_id"].to_pylist(), strict=True))


def viewed(*users: str) -> pa.Table:
    """A view by each, of an item that is not sold."""
    events = history(*((user, "shown", -1, 0) for user in users))
    return events.set_column(3, EVENTS.field("event"), pa.array(["Product Viewed"] * len(users)))


def test_newcomers_are_offered_what_is_popular() -> None:
    """Whoever did anything lately is ranked for, where the use case says so; nobody else is."""
    items = Items(own=5, popular=1, popular_window=days(28), newcomers=True)
    case = replace(RANKING, items=items)
    sold = history(("a", "milk", -50, 0), ("a", "tea", -3, 0), ("gone", "milk", -70, 0))
    events = pa.concat_tables([sold, viewed("new", "gone")])
    asked = scoring_spine(case, events, AS_OF)
    assert pairs(asked) == [
        *(("a", item) for item in ("milk", "tea")),
        *(("gone", item) for item in ("milk", "tea")),
        ("new", "tea"),
    ]
    strict = replace(case, items=replace(items, newcomers=False))
    assert users(strict, events) == ["a", "a"]


def test_a_catalogue_stands_in_where_hardly_anything_sells() -> None:
    """Behind what does sell, each item once, and no more than are offered at all."""
    items = Items(own=5, popular=3, popular_window=days(28), newcomers=True)
    case = replace(RANKING, items=items)
    catalogue = ("salt", "tea", "rice", "oil")
    found = scoring_spine(case, viewed("new"), AS_OF, catalogue=catalogue)
    assert pairs(found) == [("new", item) for item in ("rice", "salt", "tea")]
    events = pa.concat_tables([history(("a", "tea", -3, 0)), viewed("new")])
    found = scoring_spine(case, events, AS_OF, catalogue=catalogue)
    offered = [("a", item) for item in ("rice", "salt", "tea")]
    assert pairs(found) == [*offered, *(("new", item) for _, item in offered)]


def test_a_tenant_that_sells_needs_no_catalogue() -> None:
    """With ten popular items of its own, nothing else is offered."""
    case = replace(RANKING, items=Items(own=5, popular=50, popular_window=days(28), newcomers=True))
    events = history(*(("a", f"own{number}", -3, 0) for number in range(10)))
    offered = scoring_spine(case, events, AS_OF, catalogue=("salt",))["item_id"].to_pylist()
    assert sorted(offered) == [f"own{number}" for number in range(10)]


def test_items_that_were_had_are_not_offered_where_a_tenant_says_so() -> None:
    """However long ago; more of the popular ones take their place, and they are not wanted."""
    items = Items(own=1, popular=1, popular_window=days(28), newcomers=True)
    case = replace(RANKING, items=items).with_seen("drop")
    events = pa.concat_tables(
        [
            history(
                ("a", "milk", -50, 0), ("a", "tea", -3, 0), ("b", "tea", -3, 0),
                ("b", "ale", -2, 0), ("a", "tea", 3, 0), ("a", "ale", 4, 0),
                ("a", "rare", 4, 0), ("b", "milk", 5, 0),
            ),
            viewed("new"),
        ]
    )  # fmt: skip
    spine = scoring_spine(case, events, AS_OF)
    assert pairs(spine) == [("a", "ale"), ("new", "ale"), ("new", "tea")]
    until = AS_OF + days(28)
    assert labels(case, events, spine, until).to_pylist() == [1, 0, 0]
    assert relevant_items(case, events, AS_OF, until) == {"a": 2, "b": 1}
    assert relevant_items(RANKING, events, AS_OF, until) == {"a": 3, "b": 1}
    with pytest.raises(ConfigError, match="leave it out"):
        CHURN.with_seen("keep")


def test_a_ranking_label_is_one_for_items_bought_in_the_horizon() -> None:
    """A user's items are told apart, and those never offered still count as relevant."""
    events = history(
        ("a", "milk", -5, 0), ("a", "tea", -5, 0), ("a", "milk", 3, 0), ("a", "salt", 3, 0)
    )
    spine = scoring_spine(RANKING, events, AS_OF)
    assert spine["item_id"].to_pylist() == ["milk", "tea"]
    assert labels(RANKING, events, spine, AS_OF + days(28)).to_pylist() == [1, 0]
    assert relevant_items(RANKING, events, AS_OF, AS_OF + days(28)) == {"a": 2}


@pytest.mark.parametrize("case", [CHURN, RANKING])
def test_without_events_nobody_is_scored(case: UseCase) -> None:
    """An empty history gives an empty spine of the right shape."""
    spine = scoring_spine(case, EVENTS.empty_table(), AS_OF)
    assert spine.num_rows == 0
    assert spine.column_names == [*case.keys, "as_of"]
    assert len(labels(case, EVENTS.empty_table(), spine, AS_OF)) == 0


@pytest.mark.parametrize("case", [CHURN, RANKING])
def test_the_order_of_events_does_not_matter(case: UseCase) -> None:
    """Equal events in another order give the same spine."""
    events = history(*[(f"u{n % 5}", f"i{n % 7}", -n - 1, 0) for n in range(50)])
    shuffled = events.take(pa.array(list(reversed(range(50)))))
    assert scoring_spine(case, events, AS_OF) == scoring_spine(case, shuffled, AS_OF)


def baskets(*rows: tuple[str, str, float]) -> pa.Table:
    """Order lines from (basket, item, days after AS_OF)."""
    lines = history(*[(f"of {basket}", item, after, 0) for basket, item, after in rows])
    column = lines.schema.get_field_index("group_id")
    return lines.set_column(column, EVENTS.field("group_id"), pa.array([r[0] for r in rows]))


DEMAND = replace(
    CHURN,
    task="regression",
    label=Label("total", days(7), value="quantity"),
    estimators=("forecast",),
    baselines=(Baseline("usual", "frequency__count_30d"),),
    metrics=("forecast_accuracy",),
)


def test_a_total_adds_up_what_an_entity_had_within_the_horizon() -> None:
    """Nothing bought is nothing, a return counts against, and a missing quantity is none."""
    events = history(
        ("a", None, -1, 0), ("b", None, -1, 0), ("a", None, 1, 0), ("a", None, 2, 0),
        ("a", None, 3, 0), ("a", None, 7, 0),
    )  # fmt: skip
    column = events.schema.get_field_index("quantity")
    sold = pa.array([9.0, 9.0, 4.0, -1.5, None, 100.0])
    events = events.set_column(column, EVENTS.field("quantity"), sold)
    spine = scoring_spine(DEMAND, events, AS_OF)
    assert labels(DEMAND, events, spine, AS_OF + days(7)).to_pylist() == [2.5, 0.0]


def test_days_with_an_outcome_are_counted_once_each() -> None:
    """Two orders on one day are one active day."""
    case = replace(DEMAND, label=Label("total", days(30), value="days"))
    events = history(
        ("a", None, -1, 0), ("a", None, 1.1, 0), ("a", None, 1.2, 0), ("a", None, 4, 0)
    )
    spine = scoring_spine(case, events, AS_OF)
    assert labels(case, events, spine, AS_OF + days(30)).to_pylist() == [2.0]


def test_outcomes_may_be_other_events_than_activity() -> None:
    """A lead is active by what it looks at, and converts by what it orders."""
    case = replace(CHURN, events=("Product Viewed",), label=Label("present", days(30), BOUGHT))
    events = history(("a", None, -1, 0), ("b", None, -1, 0), ("a", None, 2, 0), ("c", None, -1, 0))
    names = pa.array(["Product Viewed", "Product Viewed", BOUGHT[0], BOUGHT[0]])
    events = events.set_column(3, EVENTS.field("event"), names)
    spine = scoring_spine(case, events, AS_OF)
    assert spine["user_id"].to_pylist() == ["a", "b"]
    assert labels(case, events, spine, AS_OF + days(30)).to_pylist() == [1.0, 0.0]


def test_items_can_be_what_is_scored() -> None:
    """The spine holds the items that sold lately."""
    case = replace(DEMAND, entity="item_id", active_window=days(28))
    events = history((None, "tea", -1, 0), ("a", "ale", -30, 0), ("a", None, -1, 0))
    assert scoring_spine(case, events, AS_OF)["item_id"].to_pylist() == ["tea"]


def test_a_label_that_is_a_total_needs_a_value() -> None:
    """And one that is not has none."""
    with pytest.raises(ConfigError, match="a total needs a `value`"):
        Label("total", days(7))
    with pytest.raises(ConfigError, match="nothing else has one"):
        Label("absent", days(7), value="amount")


LISTS = replace(
    RANKING,
    items=None,
    history=ItemHistory(2, "user_item__net_count_all"),
    estimators=("ease",),
    baselines=(Baseline("popularity"),),
)


def test_a_list_model_reads_the_items_that_active_entities_have_had() -> None:
    """Most often had first, then most recently; as many as the use case takes."""
    events = history(
        ("a", "tea", -9, 0), ("a", "tea", -8, 0), ("a", "ale", -7, 0), ("a", "ink", -1, 0),
        ("b", "tea", -90, 0),
    )  # fmt: skip
    spine = scoring_spine(LISTS, events, AS_OF).select(["user_id", "item_id"]).to_pylist()
    assert [tuple(row.values()) for row in spine] == [("a", "ink"), ("a", "tea")]


def test_what_was_had_already_is_not_wanted_again() -> None:
    """Unless the use case lets it be listed again."""
    events = history(("a", "tea", -1, 0), ("a", "tea", 1, 0), ("a", "ale", 2, 0))
    spine = scoring_spine(LISTS, events, AS_OF)
    until = AS_OF + days(28)
    assert wanted(LISTS, events, spine, AS_OF, until) == [("ale",)]
    again = replace(LISTS, history=replace(LISTS.history, seen="keep"))
    assert wanted(again, events, spine, AS_OF, until) == [("ale", "tea")]


ASSOCIATION = replace(
    LISTS,
    task="association",
    entity="item_id",
    estimators=("bought_together",),
    features=FeatureService("items", (ITEM_POPULARITY,)),
    segments_by="item_popularity__net_count_90d",
    history=ItemHistory(1),
)


def test_an_association_asks_each_item_of_a_later_basket_for_the_others() -> None:
    """Baskets of one item ask nothing; those before the instant and beyond the horizon don't."""
    events = baskets(
        ("old", "tea", -1), ("old", "ale", -1), ("new", "tea", 1), ("new", "ink", 1),
        ("new", "ale", 1), ("one", "tea", 2), ("late", "tea", 28), ("late", "ale", 28),
    )  # fmt: skip
    until = AS_OF + days(28)
    spine = basket_spine(ASSOCIATION, events, AS_OF, until)
    assert spine["item_id"].to_pylist() == ["ale", "ink", "tea"]
    found = wanted(ASSOCIATION, events, spine, AS_OF, until)
    assert found == [("ink", "tea"), ("ale", "tea"), ("ale", "ink")]
    assert scoring_spine(ASSOCIATION, events, AS_OF)["item_id"].to_pylist() == ["ale", "tea"]


def test_what_lists_should_have_held_is_the_same_for_everybody() -> None:
    """Live figures leave out what was had before, as training does; an item asks for all others."""
    events = history(
        ("a", "tea", -1, 0), ("a", "tea", 1, 0), ("a", "ale", 2, 0), ("b", "tea", 3, 0)
    )
    until = AS_OF + days(28)
    found = wanted_pairs(LISTS, events, AS_OF, until).to_pylist()
    assert [tuple(pair.values()) for pair in found] == [("a", "ale"), ("b", "tea")]
    bought = baskets(
        ("x", "tea", 1), ("x", "ink", 1), ("y", "tea", 2), ("y", "ale", 2), ("z", "ale", 3)
    )
    found = wanted_pairs(ASSOCIATION, bought, AS_OF, until).to_pylist()
    assert [tuple(pair.values()) for pair in found] == [
        ("ale", "tea"), ("ink", "tea"), ("tea", "ale"), ("tea", "ink"),
    ]  # fmt: skip
    asked = wanted_in_baskets(ASSOCIATION, bought, AS_OF, until).to_pylist()
    assert [tuple(one.values()) for one in asked] == [
        ("x", "ink", "tea"), ("x", "tea", "ink"), ("y", "ale", "tea"), ("y", "tea", "ale"),
    ]  # fmt: skip
