"""Views of how much a user of a learning or productivity product does there."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from include.features.conditions import at_least
from include.features.declarations import (
    ALL_HISTORY,
    TENANT,
    USER,
    Aggregation,
    Derived,
    EventStream,
)
from include.features.expressions import Constant, Difference, Feature, OnlyIf, Ratio
from include.features.library.streams import (
    DAYS_7,
    DAYS_28,
    DAYS_30,
    DAYS_90,
    OWNER,
    WEEKLY,
    mean_gap,
)
from include.features.returns import NO_RETURN
from include.features.views import FeatureView

#: What counts as a day's work; a tenant maps its own events to these names.
ACTIVITY: Final = ("Lesson Completed", "Lesson Started", "Signed In", "Task Completed")
DAYS_14: Final = timedelta(days=14)
DAYS_60: Final = timedelta(days=60)
#: Younger users have no three whole months, and no mean of them.
WHOLE_MONTHS: Final = 90
_STREAM: Final = EventStream(ACTIVITY, NO_RETURN)

USER_ACTIVITY: Final = FeatureView(
    "user_activity",
    USER,
    _STREAM,
    (
        Aggregation("days_active", windows=(DAYS_7, DAYS_14, DAYS_30, DAYS_60, DAYS_90)),
        Aggregation("count", windows=(DAYS_7, DAYS_30, DAYS_90)),
        Aggregation("distinct_count", "item_id", (DAYS_30,)),
        Aggregation("trend", windows=(DAYS_7, DAYS_30)),
        Aggregation("time_since_last"),
        Aggregation("time_since_first"),
    ),
    derived=(
        Derived(
            "mean_month_90d",
            OnlyIf(
                Ratio(Feature("days_active_90d"), Constant(3)),
                Feature("time_since_first_all"),
                WHOLE_MONTHS,
            ),
        ),
        Derived("month_before", Difference(Feature("days_active_60d"), Feature("days_active_30d"))),
        Derived("events_per_day_30d", Ratio(Feature("count_30d"), Feature("days_active_30d"))),
        Derived("weekend_share_90d", Ratio(Feature("weekend_count_90d"), Feature("count_90d"))),
        Derived("mean_gap_all", mean_gap("all")),
    ),
    inputs=(
        Aggregation("count", None, (DAYS_90,), (at_least("local_weekday", 5),), "weekend"),
        Aggregation("days_active", windows=(ALL_HISTORY,)),
    ),
    ttl=WEEKLY,
    owner=OWNER,
    description="On how many days the user is active, month by month, and in which rhythm.",
    tags=("engagement", "activity", "timing"),
)

TENANT_USAGE: Final = FeatureView(
    "tenant_usage",
    TENANT,
    _STREAM,
    (
        Aggregation("count", windows=(DAYS_7,)),
        Aggregation("distinct_count", "user_id", (DAYS_7, DAYS_28)),
        Aggregation("trend", windows=(DAYS_7, DAYS_28)),
    ),
    ttl=WEEKLY,
    owner=OWNER,
    description="How busy all of the tenant's users together are.",
    tags=("engagement", "activity"),
)
