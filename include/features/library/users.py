"""Views of a user over order lines, for any tenant.

A tenant that lacks a column they read gets nulls and zeros, never an error.
"""

from __future__ import annotations

from typing import Final

from include.features.conditions import at_least, between
from include.features.declarations import ALL_HISTORY, USER, Aggregation, Derived
from include.features.expressions import Feature, Log1p, Ratio
from include.features.library.streams import (
    DAYS_7,
    DAYS_30,
    DAYS_90,
    ORDER_LINES,
    OWNER,
    PURCHASES,
    WEEKLY,
    bought,
    mean_gap,
)
from include.features.views import FeatureView

RECENCY: Final = FeatureView(
    "recency",
    USER,
    PURCHASES,
    (Aggregation("time_since_last"),),
    ttl=WEEKLY,
    owner=OWNER,
    description="Days since the user last ordered.",
    tags=("churn", "recommendation", "orders", "timing"),
)

FREQUENCY: Final = FeatureView(
    "frequency",
    USER,
    PURCHASES,
    (
        Aggregation("count", windows=(DAYS_7, DAYS_30, DAYS_90)),
        Aggregation("distinct_count", "group_id", (DAYS_7, DAYS_30, DAYS_90)),
        Aggregation("days_active", windows=(DAYS_7, DAYS_30, DAYS_90, ALL_HISTORY)),
    ),
    ttl=WEEKLY,
    owner=OWNER,
    description="How often the user orders: lines, baskets and days.",
    tags=("churn", "recommendation", "orders", "activity"),
)

SPEND: Final = FeatureView(
    "spend",
    USER,
    ORDER_LINES,
    (
        Aggregation("sum", "amount", (DAYS_30, DAYS_90)),
        bought("mean", "amount", (DAYS_90,)),
        bought("std", "amount", (DAYS_90,)),
        bought("max", "amount", (DAYS_90,)),
    ),
    derived=(
        Derived("log_amount_90d", Log1p(Feature("sum_amount_90d"))),
        Derived("trend", Ratio(Feature("sum_amount_30d"), Feature("sum_amount_90d"))),
    ),
    ttl=WEEKLY,
    owner=OWNER,
    description="What the user pays, less what came back, and which part of it lately.",
    tags=("churn", "orders", "money"),
)

BASKET_SIZE: Final = FeatureView(
    "basket_size",
    USER,
    ORDER_LINES,
    derived=tuple(
        Derived(name, Ratio(Feature(feature), Feature("bought_distinct_count_group_id_90d")))
        for name, feature in (
            ("lines_90d", "bought_count_90d"),
            ("amount_90d", "sum_amount_90d"),
            ("quantity_90d", "sum_quantity_90d"),
        )
    ),
    inputs=(
        bought("count", windows=(DAYS_90,)),
        Aggregation("sum", "amount", (DAYS_90,)),
        Aggregation("sum", "quantity", (DAYS_90,)),
        bought("distinct_count", "group_id", (DAYS_90,)),
    ),
    ttl=WEEKLY,
    owner=OWNER,
    description="Lines, amount and pieces of the user's average basket, less what came back.",
    tags=("churn", "orders", "money"),
)

CATEGORY_MIX: Final = FeatureView(
    "category_mix",
    USER,
    PURCHASES,
    (
        Aggregation("distinct_count", "item.category", (DAYS_30, DAYS_90)),
        Aggregation("entropy", "item.category", (DAYS_90,)),
        Aggregation("distinct_count", "item_id", (DAYS_90,)),
    ),
    ttl=WEEKLY,
    owner=OWNER,
    description="How widely the user shops.",
    tags=("churn", "orders", "assortment"),
)

TIME_OF_DAY: Final = FeatureView(
    "time_of_day",
    USER,
    PURCHASES,
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
    ttl=WEEKLY,
    owner=OWNER,
    description="Which part of the user's lines falls on mornings, evenings and weekends.",
    tags=("churn", "orders", "timing"),
)

DISCOUNT_SHARE: Final = FeatureView(
    "discount_share",
    USER,
    PURCHASES,
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
    ttl=WEEKLY,
    owner=OWNER,
    description="How much the user buys at a discount, by amount and by lines.",
    tags=("churn", "orders", "money"),
)

TENURE: Final = FeatureView(
    "tenure",
    USER,
    PURCHASES,
    (Aggregation("time_since_first"),),
    ttl=WEEKLY,
    owner=OWNER,
    description="Days since the user's first order.",
    tags=("churn", "orders", "timing"),
)

REGULARITY: Final = FeatureView(
    "regularity",
    USER,
    PURCHASES,
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
    ttl=WEEKLY,
    owner=OWNER,
    description="The user's rhythm: days between visits, how overdue the next one is, the trend.",
    tags=("churn", "recommendation", "orders", "timing"),
)
