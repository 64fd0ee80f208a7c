"""Declarations refuse parts of the wrong kind where they are made, not where they are computed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.errors import ConfigError
from include.features.conditions import Condition, at_least, equals
from include.features.declarations import (
    USER,
    Aggregation,
    AttributeLookup,
    Derived,
    Entity,
    EventStream,
)
from include.features.expressions import Constant, Feature, Log1p, Ratio
from include.features.spine import Spine
from include.features.views import FeatureService, FeatureView

DAY = timedelta(days=1)
NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
ORDERS = EventStream(("Order Completed",))
COUNT = Aggregation("count", windows=(DAY,))
GRADE = AttributeLookup("user", "grade")
LARGE = at_least("amount", 10)


def view(**parts: Any) -> FeatureView:
    declared: dict[str, Any] = {"stream": ORDERS, "aggregations": (COUNT,)} | parts
    return FeatureView("spend", USER, **declared)


anything: Any = lambda value: value  # noqa: E731 - what a reader may write by mistake

MISTAKES: dict[str, Callable[[], object]] = {
    "aggregations is a tuple of Aggregation": lambda: view(aggregations=COUNT),
    "inputs is a tuple of Aggregation": lambda: view(inputs=[COUNT]),
    "derived is a tuple of Derived": lambda: view(derived=Derived("d", Log1p(Feature("count_1d")))),
    "attributes is a tuple of AttributeLookup": lambda: view(attributes=GRADE),
    "tags is a tuple of str": lambda: view(tags="orders"),
    "stream is of type EventStream": lambda: view(stream="Order Completed"),
    "entity is of type Entity": lambda: FeatureView("v", anything("user"), attributes=(GRADE,)),
    "ttl is a timedelta longer than zero": lambda: view(ttl=5),
    "views is a tuple of FeatureView": lambda: FeatureService("s", anything(view())),
    "join_keys is a tuple of str": lambda: Entity("user", anything(["user_id"])),
    "events is a tuple of event names": lambda: EventStream(anything(["Order Completed"])),
    "EventStream.where is a tuple": lambda: EventStream(("Order Completed",), anything(LARGE)),
    "lookups is a tuple": lambda: EventStream(("Order Completed",), (), anything(GRADE)),
    "retention is a timedelta": lambda: EventStream(("Order Completed",), retention=anything(5)),
    "'count'.where is a tuple": lambda: Aggregation("count", None, (DAY,), anything(LARGE), "big"),
    "unknown function": lambda: Aggregation(anything(["count"])),
    "finite numbers, got 1000": lambda: at_least("amount", 10**400),
    "a finite number, got 1000": lambda: Constant(10**400),
    "ttl is a whole number of seconds": lambda: view(ttl=timedelta(seconds=1.5)),
    "ttl is a timedelta longer than zero and at most": lambda: view(ttl=timedelta(days=40_000)),
    "retention is a timedelta longer than zero": lambda: EventStream(
        ("Order Completed",), retention=timedelta(0)
    ),
    "owner is of type str": lambda: view(owner=5),
    "description is of type str": lambda: view(description=None),
    "no name of an attribute": lambda: AttributeLookup("user", anything(None)),
    "unknown entity kind": lambda: AttributeLookup(anything(["user"]), "grade"),
    "takes a tuple of values": lambda: Condition("item_id", "one_of", anything("ab")),
    "unknown operator": lambda: Condition("item_id", anything(["one_of"]), ("a",)),
    "reads features by their names": lambda: Derived("d", Feature(anything([]))),
    "unknown feature 'later'": lambda: view(
        derived=(Derived("now", Feature("later")), Derived("later", Feature("count_1d")))
    ),
    "takes no `read_as`": lambda: Aggregation("sum", "properties.x", read_as="number"),
    "and 'amount' is a number column": lambda: Aggregation("last", "amount", read_as="text"),
    "unknown reading 'words'": lambda: Aggregation(
        "last", "properties.x", read_as=anything("words")
    ),
    "is too large": lambda: view(
        derived=(
            Derived("d0", Feature("count_1d")),
            *(Derived(f"d{n}", Ratio(*[Feature(f"d{n - 1}")] * 2)) for n in range(1, 12)),
        )
    ),
    "one value per row, got {'user_id': 2, 'item_id': 1}": lambda: Spine.at(
        {"user_id": ["a", "b"], "item_id": ["c"]}, NOON
    ),
    "takes a list of ids, got the text '1198'": lambda: Spine.at({"user_id": "1198"}, NOON),
    "texts of Unicode characters": lambda: equals("item_id", "\ud800"),
}


@pytest.mark.parametrize("message", MISTAKES)
def test_part_of_the_wrong_kind_is_refused(message: str) -> None:
    """What is no tuple, no number or no text is refused, and the message says what it should be."""
    with pytest.raises(ConfigError) as refused:
        MISTAKES[message]()
    assert message in str(refused.value)


def test_attribute_called_like_what_a_feature_is_made_of_is_refused() -> None:
    """A trend is made of counts, and an attribute of such a name would be taken for one of them."""
    trend = Aggregation("trend", windows=(DAY,))
    counted = AttributeLookup("user", "count_2d", "number")
    with pytest.raises(ConfigError, match="attribute called 'count_2d'"):
        view(aggregations=(trend,), attributes=(counted,))
    assert view(attributes=(counted,)).columns == {
        "spend__count_1d": "integer",
        "spend__count_2d": "number",
    }
