"""Views of a user over canonical `Order Completed` line items, for any tenant.

One event is one line of a basket: `user_id`, `item_id`, `group_id` (the basket), `quantity`,
`amount` (what the line cost), `properties.discount` (what was taken off it) and the attribute
`item.category`. A tenant that lacks one of them gets nulls and zeros, never an error.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from include.features.conditions import at_least, between
from include.features.declarations import (
    ALL_HISTORY,
    USER,
    Aggregation,
    AttributeLookup,
    Derived,
    EventStream,
)
from include.features.expressions import Constant, Difference, Expression, Feature, Log1p, Ratio
from include.features.views import FeatureView

DAYS_7: Final = timedelta(days=7)
DAYS_30: Final = timedelta(days=30)
DAYS_90: Final = timedelta(days=90)
OWNER: Final = "platform"

ORDER_LINES: Final = EventStream(
    ("Order Completed",), lookups=(AttributeLookup("item", "category"),)
)


def mean_gap(window: str) -> Expression:
    """Days between one visit and the next."""
    span = Difference(Feature(f"time_since_first_{window}"), Feature(f"time_since_last_{window}"))
    return Ratio(span, Difference(Feature(f"days_active_{window}"), Constant(1)))


RECENCY: Final = FeatureView(
    "recency",
    USER,
    ORDER_LINES,
    (Aggregation("time_since_last"),),
    owner=OWNER,
    description="Days since the user last ordered.",
    tags=("churn", "recommendation"),
)

FREQUENCY: Final = FeatureView(
    "frequency",
    USER,
    ORDER_LINES,
    (
        Aggregation("count", windows=(DAYS_7, DAYS_30, DAYS_90)),
        Aggregation("distinct_count", "group_id", (DAYS_7, DAYS_30, DAYS_90)),
        Aggregation("days_active", windows=(DAYS_7, DAYS_30, DAYS_90, ALL_HISTORY)),
    ),
    owner=OWNER,
    description="How often the user orders: lines, baskets and days.",
    tags=("churn", "recommendation"),
)

SPEND: Final = FeatureView(
    "spend",
    USER,
    ORDER_LINES,
    (
        Aggregation("sum", "amount", (DAYS_30, DAYS_90)),
        Aggregation("mean", "amount", (DAYS_90,)),
        Aggregation("std", "amount", (DAYS_90,)),
        Aggregation("max", "amount", (DAYS_90,)),
    ),
    derived=(
        Derived("log_amount_90d", Log1p(Feature("sum_amount_90d"))),
        Derived("trend", Ratio(Feature("sum_amount_30d"), Feature("sum_amount_90d"))),
    ),
    owner=OWNER,
    description="What the user pays, and which part of it lately.",
    tags=("churn",),
)

BASKET_SIZE: Final = FeatureView(
    "basket_size",
    USER,
    ORDER_LINES,
    derived=tuple(
        Derived(name, Ratio(Feature(feature), Feature("distinct_count_group_id_90d")))
        for name, feature in (
            ("lines_90d", "count_90d"),
            ("amount_90d", "sum_amount_90d"),
            ("quantity_90d", "sum_quantity_90d"),
        )
    ),
    inputs=(
        Aggregation("count", windows=(DAYS_90,)),
        Aggregation("sum", "amount", (DAYS_90,)),
        Aggregation("sum", "quantity", (DAYS_90,)),
        Aggregation("distinct_count", "group_id", (DAYS_90,)),
    ),
    owner=OWNER,
    description="Lines, amount and pieces of the user's average basket.",
    tags=("churn",),
)

CATEGORY_MIX: Final = FeatureView(
    "category_mix",
    USER,
    ORDER_LINES,
    (
        Aggregation("distinct_count", "item.category", (DAYS_30, DAYS_90)),
        Aggregation("entropy", "item.category", (DAYS_90,)),
        Aggregation("distinct_count", "item_id", (DAYS_90,)),
    ),
    owner=OWNER,
    description="How widely the user shops.",
    tags=("churn",),
)

TIME_OF_DAY: Final = FeatureView(
    "time_of_day",
    USER,
    ORDER_LINES,
    derived=tuple(
        Derived(f"{label}_share_90d", Ratio(Feature(f"{label}_count_90d"), Feature("count_90d")))
        for label in ("morning", "evening", "weekend")
    ),
    inputs=(
        Aggregation("count", windows=(DAYS_90,)),
        Aggregation("count", None, (DAYS_90,), (between("local_hour", 5, 12),), "morning"),
        Aggregation("count", None, (DAYS_90,), (at_least("local_hour", 18),), "evening"),
        Aggregation("count", None, (DAYS_90,), (at_least("local_weekday", 5),), "weekend"),
    ),
    owner=OWNER,
    description="Which part of the user's lines falls on mornings, evenings and weekends.",
    tags=("churn",),
)

DISCOUNT_SHARE: Final = FeatureView(
    "discount_share",
    USER,
    ORDER_LINES,
    derived=(
        Derived(
            "amount_90d", Ratio(Feature("sum_properties_discount_90d"), Feature("sum_amount_90d"))
        ),
        Derived("lines_90d", Ratio(Feature("discounted_count_90d"), Feature("count_90d"))),
    ),
    inputs=(
        Aggregation("sum", "properties.discount", (DAYS_90,)),
        Aggregation("sum", "amount", (DAYS_90,)),
        Aggregation("count", windows=(DAYS_90,)),
        Aggregation(
            "count", None, (DAYS_90,), (at_least("properties.discount", 0.005),), "discounted"
        ),
    ),
    owner=OWNER,
    description="How much the user buys at a discount, by amount and by lines.",
    tags=("churn",),
)

TENURE: Final = FeatureView(
    "tenure",
    USER,
    ORDER_LINES,
    (Aggregation("time_since_first"),),
    owner=OWNER,
    description="Days since the user's first order.",
    tags=("churn",),
)

REGULARITY: Final = FeatureView(
    "regularity",
    USER,
    ORDER_LINES,
    derived=(
        Derived("mean_gap_90d", mean_gap("90d")),
        Derived("mean_gap_all", mean_gap("all")),
        Derived("overdue_90d", Ratio(Feature("time_since_last_90d"), mean_gap("90d"))),
        Derived("overdue_all", Ratio(Feature("time_since_last_all"), mean_gap("all"))),
        Derived("trend", Ratio(Feature("days_active_30d"), Feature("days_active_90d"))),
        Derived("rate_all", Ratio(Feature("days_active_all"), Feature("time_since_first_all"))),
    ),
    inputs=(
        Aggregation("time_since_first", windows=(DAYS_90, ALL_HISTORY)),
        Aggregation("time_since_last", windows=(DAYS_90, ALL_HISTORY)),
        Aggregation("days_active", windows=(DAYS_30, DAYS_90, ALL_HISTORY)),
    ),
    owner=OWNER,
    description="The user's rhythm: days between visits, how overdue the next one is, the trend.",
    tags=("churn", "recommendation"),
)
