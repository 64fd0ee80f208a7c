"""Learning the categories of a share from the training window."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from include.errors import ConfigError
from include.features import categories, in_memory, vectorized
from include.features.conditions import Condition, at_least, below, equals
from include.features.declarations import USER, Aggregation, EventStream
from include.features.spine import Spine
from include.features.views import FeatureService, FeatureView
from include.storage.canonical import ATTRIBUTES, EVENTS

START = datetime(2024, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SERVICE = FeatureService(
    "taste",
    (
        FeatureView(
            "mix",
            USER,
            EventStream(("Order Completed",)),
            (Aggregation("share", "item_id", (7 * DAY,), top=2),),
        ),
    ),
)


def bought(*items: tuple[str | None, int], late: int = 0) -> pa.Table:
    """Events of one user: item and day, known `late` days after."""
    rows = [
        {
            "tenant_id": "acme",
            "source": "shop",
            "event_id": f"e{n}",
            "event": "Order Completed",
            "user_id": "ann",
            "item_id": item,
            "event_timestamp": START + day * DAY,
            "created_timestamp": START + (day + late) * DAY,
            "month": "2024-03",
        }
        for n, (item, day) in enumerate(items)
    ]
    return pa.Table.from_pylist(rows, schema=EVENTS)


def learn(events: pa.Table, start: datetime | None, end: datetime) -> tuple[str, ...]:
    facts = ATTRIBUTES.empty_table()
    found = categories.learn(SERVICE, events, facts, "UTC", start=start, end=end)
    return found["mix__share_item_id_top2"]


def test_most_frequent_first_then_alphabetical() -> None:
    """The most frequent values of the window are taken, ties in alphabetical order, nulls never."""
    events = bought(("tea", 0), ("ink", 1), ("ale", 1), ("tea", 2), (None, 2), (None, 2), (None, 2))
    assert learn(events, None, START + 9 * DAY) == ("tea", "ale")


def test_only_the_training_window_is_looked_at() -> None:
    """Events before its start, at its end, or known later do not count."""
    events = bought(("old", 0), ("old", 0), ("tea", 2), ("new", 4), ("new", 4))
    assert learn(events, START + DAY, START + 4 * DAY) == ("tea",)
    assert learn(bought(("tea", 2), late=3), None, START + 4 * DAY) == ()


def test_bound_service_computes_and_means_something_else() -> None:
    """Binding changes the fingerprint with the categories, and names the slots by rank."""
    bound = categories.bind(SERVICE, {"mix__share_item_id_top2": ("tea", "ale")})
    other = categories.bind(SERVICE, {"mix__share_item_id_top2": ("tea",)})
    assert len({SERVICE.fingerprint, bound.fingerprint, other.fingerprint}) == 3
    assert SERVICE.unbound
    assert not bound.unbound
    spine = Spine.at({"user_id": ["ann"]}, START + 3 * DAY)
    table = in_memory.compute(bound, spine, bought(("tea", 0)), ATTRIBUTES.empty_table(), "UTC")
    assert table["mix__share_item_id_7d_1"].to_pylist() == [1.0]


@pytest.mark.parametrize("value", ["properties.a__b", f"properties.{'x' * 60}", "item_id"])
def test_names_of_slots_may_be_long(value: str) -> None:
    """Neither a column's name, nor a label, nor a category is too long or too odd to tell slots
    apart."""
    label = "at_the_weekend_and_on_the_days_between_two_public_holidays"
    share = Aggregation(
        "share", value, (7 * DAY,), (equals("event", "Order Completed"),), label, top=2
    )
    view = FeatureView("mix", USER, EventStream(("Order Completed",)), (share,))
    key = f"mix__{label}_share_{value.replace('.', '_')}_top2"
    bound = categories.bind(FeatureService("taste", (view,)), {key: ("t" * 300, "ale")})
    events = bought(("ale", 0), ("t" * 300, 0), ("ale", 1), ("ink", 1))
    if value != "item_id":
        said = [
            json.dumps({value.partition(".")[2]: item}) for item in events["item_id"].to_pylist()
        ]
        at = events.column_names.index("properties")
        events = events.set_column(at, "properties", pa.array(said, pa.string()))
    spine = Spine.at({"user_id": ["ann"]}, START + 3 * DAY)
    for engine in (in_memory, vectorized):
        table = engine.compute(bound, spine, events, ATTRIBUTES.empty_table(), "UTC")
        assert [table[name].to_pylist() for name in bound.columns] == [[0.25], [0.5], [0.25], [0.0]]


def test_two_shares_that_could_not_be_told_apart_are_refused() -> None:
    """Alike in name and `top`, and of other events or another column; a label tells them apart."""
    dear, cheap = at_least("amount", 50), below("amount", 50)
    stream = EventStream(("Order Completed",))

    def view(*shares: Aggregation) -> FeatureView:
        return FeatureView("v", USER, stream, shares)

    def share(window: int, label: str, *where: Condition, value: str = "item_id") -> Aggregation:
        return Aggregation("share", value, (window * DAY,), where, label, top=1)

    with pytest.raises(ConfigError, match="two different shares called 'line_share_item_id_top1'"):
        view(share(7, "line", cheap), share(30, "line", dear))
    with pytest.raises(
        ConfigError, match="two different shares called 'share_properties_kind_top1'"
    ):
        view(
            share(7, "", value="properties.Kind"),
            share(30, "", value="properties.kind"),
        )
    service = FeatureService("s", (view(share(7, "cheap", cheap), share(30, "dear", dear)),))
    facts, events = ATTRIBUTES.empty_table(), bought(("tea", 0), ("ale", 1))
    prices = pa.array([10.0, 90.0], EVENTS.field("amount").type)
    events = events.set_column(events.column_names.index("amount"), "amount", prices)
    found = categories.learn(service, events, facts, "UTC", start=None, end=START + 9 * DAY)
    assert found == {
        "v__cheap_share_item_id_top1": ("tea",),
        "v__dear_share_item_id_top1": ("ale",),
    }


def test_categories_that_are_given_are_not_learnt() -> None:
    """Only a share without any has a place in what is learnt."""
    given = Aggregation("share", "item_id", (7 * DAY,), top=2, categories=("ink",))
    view = FeatureView("mix", USER, EventStream(("Order Completed",)), (given,))
    service, facts = FeatureService("taste", (view,)), ATTRIBUTES.empty_table()
    events = bought(("tea", 0))
    assert categories.learn(service, events, facts, "UTC", start=None, end=START + DAY) == {}
    assert categories.bind(service, {}) == service


def test_unknown_categories_are_an_error() -> None:
    """A share that was not learnt is refused, by name, when bound and when computed."""
    with pytest.raises(ConfigError, match="mix__share_item_id_top2"):
        categories.bind(SERVICE, {})
    with pytest.raises(ConfigError, match="learn"):
        dict(SERVICE.views[0].outputs)
