"""Views of what an item sells week by week, and of the trade around it."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from include.features.conditions import between
from include.features.declarations import ITEM, TENANT, Aggregation, Derived, Entity
from include.features.expressions import Constant, Difference, Expression, Feature, OnlyIf, Ratio
from include.features.library.streams import (
    DAYS_7,
    DAYS_28,
    ORDER_LINES,
    OWNER,
    PURCHASES,
    WEEKLY,
    bought,
)
from include.features.views import FeatureView

DAYS_14: Final = timedelta(days=14)
DAYS_21: Final = timedelta(days=21)
DAYS_91: Final = timedelta(days=91)
#: Whole weeks, so that a weekday meets itself: what starts 364 days ago is last year's same week.
DAYS_357: Final = timedelta(days=357)
DAYS_364: Final = timedelta(days=364)
DAYS_392: Final = timedelta(days=392)

AGE: Final = Feature("bought_time_since_first_all")


def _sold(days: int) -> Feature:
    return Feature(f"sum_quantity_{days}d")


def _last_year() -> tuple[Derived, ...]:
    """The week that starts a year (52 weeks) ago; null for what is not that old."""
    week = Difference(_sold(364), _sold(357))
    before = Ratio(Difference(_sold(392), _sold(364)), Constant(4))
    return (
        Derived("last_year", OnlyIf(week, AGE, 364)),
        Derived("last_year_ratio", OnlyIf(Ratio(week, before), AGE, 392)),
    )


def _season(entity: Entity, name: str, description: str) -> FeatureView:
    return FeatureView(
        name,
        entity,
        ORDER_LINES,
        derived=_last_year(),
        inputs=(
            Aggregation("sum", "quantity", (DAYS_357, DAYS_364, DAYS_392)),
            bought("time_since_first"),
        ),
        ttl=WEEKLY,
        owner=OWNER,
        description=description,
        tags=("demand", "orders", "timing"),
    )


def _week(newest: int, oldest: int) -> Expression:
    return Difference(_sold(oldest), _sold(newest))


ITEM_DEMAND: Final = FeatureView(
    "item_demand",
    ITEM,
    ORDER_LINES,
    (
        Aggregation("sum", "quantity", (DAYS_7, DAYS_14, DAYS_28, DAYS_91)),
        bought("count", windows=(DAYS_7, DAYS_28)),
        bought("days_active", windows=(DAYS_7, DAYS_28, DAYS_91)),
        bought("distinct_count", "user_id", (DAYS_28,)),
        Aggregation("trend", "quantity", (DAYS_7, DAYS_28)),
        bought("time_since_last"),
        bought("time_since_first"),
    ),
    derived=(
        # Younger items have no mean of so many weeks.
        Derived("mean_week_28d", OnlyIf(Ratio(_sold(28), Constant(4)), AGE, 28)),
        Derived("mean_week_91d", OnlyIf(Ratio(_sold(91), Constant(13)), AGE, 91)),
        Derived("second_week", _week(7, 14)),
        Derived("third_week", _week(14, 21)),
        Derived("fourth_week", _week(21, 28)),
        Derived("last_week_share", Ratio(_sold(7), _sold(28))),
        Derived("last_weeks_share", Ratio(_sold(28), _sold(91))),
        Derived("pieces_per_line_28d", Ratio(_sold(28), Feature("bought_count_28d"))),
    ),
    inputs=(Aggregation("sum", "quantity", (DAYS_21,)),),
    ttl=WEEKLY,
    owner=OWNER,
    description="Pieces of the item that were sold less those that came back, week by week.",
    tags=("demand", "orders", "activity"),
)

ITEM_SEASON: Final = _season(
    ITEM,
    "item_season",
    "What the item sold in the same week of last year, and against the four weeks before it.",
)

TENANT_SEASON: Final = _season(
    TENANT,
    "tenant_season",
    "What the tenant sold in the same week of last year, and against the four weeks before it.",
)

ITEM_OFFER: Final = FeatureView(
    "item_offer",
    ITEM,
    PURCHASES,
    derived=(
        Derived("price_7d", Ratio(Feature("sum_amount_7d"), _sold(7))),
        Derived("price_91d", Ratio(Feature("sum_amount_91d"), _sold(91))),
        Derived(
            "price_change",
            Ratio(
                Ratio(Feature("sum_amount_7d"), _sold(7)),
                Ratio(Feature("sum_amount_91d"), _sold(91)),
            ),
        ),
        Derived(
            "discount_7d", Ratio(Feature("sum_properties_discount_7d"), Feature("sum_amount_7d"))
        ),
        Derived(
            "discount_91d", Ratio(Feature("sum_properties_discount_91d"), Feature("sum_amount_91d"))
        ),
    ),
    inputs=(
        Aggregation("sum", "quantity", (DAYS_7, DAYS_91)),
        Aggregation("sum", "amount", (DAYS_7, DAYS_91)),
        Aggregation("sum", "properties.discount", (DAYS_7, DAYS_91)),
    ),
    ttl=WEEKLY,
    owner=OWNER,
    description="What a piece of the item costs, lately and usually, and what is taken off it.",
    tags=("demand", "orders", "money"),
)

TENANT_ORDERS: Final = FeatureView(
    "tenant_orders",
    TENANT,
    ORDER_LINES,
    (bought("distinct_count", "group_id", (DAYS_28,)),),
    derived=(
        Derived(
            "average_value_28d",
            Ratio(Feature("sum_amount_28d"), Feature("bought_distinct_count_group_id_28d")),
        ),
    ),
    inputs=(Aggregation("sum", "amount", (DAYS_28,)),),
    ttl=WEEKLY,
    owner=OWNER,
    description="Orders, and what one comes to on average.",
    tags=("demand", "orders", "money"),
)

#: Offline only: it says when to staff, and no model reads it.
TENANT_HOURS: Final = FeatureView(
    "tenant_hours",
    TENANT,
    PURCHASES,
    tuple(
        Aggregation(
            "count", None, (DAYS_28,), (between("local_hour", hour, hour + 1),), f"at_{hour:02}"
        )
        for hour in range(24)
    ),
    owner=OWNER,
    description="Lines sold in each local hour of the day.",
    tags=("demand", "orders", "timing"),
)
#: Its columns, midnight first.
HOURS: Final = tuple(TENANT_HOURS.columns)
