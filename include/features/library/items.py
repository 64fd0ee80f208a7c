"""Views of an item, and of a user with an item, over order lines and item attributes."""

from __future__ import annotations

from typing import Final

from include.features.declarations import (
    ALL_HISTORY,
    ITEM,
    USER_ITEM,
    Aggregation,
    AttributeLookup,
    Derived,
)
from include.features.expressions import Feature, Ratio
from include.features.library.streams import (
    BOUGHT,
    DAYS_7,
    DAYS_28,
    DAYS_90,
    ORDER_LINES,
    OWNER,
    PURCHASES,
    WEEKLY,
    bought,
    mean_gap,
)
from include.features.views import FeatureView

ITEM_POPULARITY: Final = FeatureView(
    "item_popularity",
    ITEM,
    ORDER_LINES,
    (
        Aggregation("net_count", windows=(DAYS_7, DAYS_28, DAYS_90)),
        Aggregation("net_count", "user_id", (DAYS_7, DAYS_28, DAYS_90)),
        bought("time_since_last"),
    ),
    derived=(
        Derived("trend", Ratio(Feature("net_count_7d"), Feature("net_count_28d"))),
        Derived(
            "lines_per_user_90d",
            Ratio(Feature("net_count_90d"), Feature("net_count_user_id_90d")),
        ),
    ),
    ttl=WEEKLY,
    owner=OWNER,
    description="How much the item sells less what came back, to how many, how often to each.",
    tags=("recommendation", "orders", "activity"),
)

ITEM_PRICE: Final = FeatureView(
    "item_price",
    ITEM,
    PURCHASES,
    derived=(Derived("mean_90d", Ratio(Feature("sum_amount_90d"), Feature("sum_quantity_90d"))),),
    inputs=(
        Aggregation("sum", "amount", (DAYS_90,)),
        Aggregation("sum", "quantity", (DAYS_90,)),
    ),
    ttl=WEEKLY,
    owner=OWNER,
    description="What one piece of the item costs.",
    tags=("recommendation", "orders", "money"),
)

#: Offline only: a user and item pair is scored in batches, and there are many of them.
USER_ITEM_HISTORY: Final = FeatureView(
    "user_item",
    USER_ITEM,
    ORDER_LINES,
    (
        Aggregation("net_count", windows=(DAYS_28, DAYS_90, ALL_HISTORY)),
        bought("days_active", windows=(DAYS_90, ALL_HISTORY)),
        Aggregation("sum", "quantity"),
        bought("time_since_last"),
        bought("time_since_first"),
    ),
    derived=(
        Derived("mean_gap_all", mean_gap("all", BOUGHT)),
        Derived(
            "overdue_all", Ratio(Feature("bought_time_since_last_all"), mean_gap("all", BOUGHT))
        ),
    ),
    owner=OWNER,
    description="The user's own history with the item, and whether it is due again.",
    tags=("recommendation", "orders", "activity", "timing"),
)

ITEM_FACTS: Final = FeatureView(
    "item_facts",
    ITEM,
    attributes=(AttributeLookup("item", "category"),),
    ttl=WEEKLY,
    owner=OWNER,
    description="What the tenant says about the item.",
    tags=("assortment",),
)
