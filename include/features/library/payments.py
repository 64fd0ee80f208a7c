"""Views of a user over payments, each looked at just before the next one.

One event is one payment: `user_id` (who pays), `group_id` (the payment), `account_id` (who is
paid), `amount`, `properties.device` and `properties.country`. A `Payment Disputed` names the same
`group_id`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from include.features.conditions import below
from include.features.declarations import ALL_HISTORY, USER, Aggregation, Derived, EventStream
from include.features.expressions import Feature, Ratio
from include.features.library.streams import DAYS_7, DAYS_30, DAYS_90, OWNER, WEEKLY
from include.features.returns import NO_RETURN
from include.features.views import FeatureView

PAYMENTS: Final = EventStream(("Payment Made",), NO_RETURN)
MINUTES_10: Final = timedelta(minutes=10)
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(hours=24)

PAYMENT_VELOCITY: Final = FeatureView(
    "payment_velocity",
    USER,
    PAYMENTS,
    (
        Aggregation("count", windows=(MINUTES_10, HOUR, DAY, DAYS_7)),
        Aggregation("sum", "amount", (HOUR, DAY, DAYS_7)),
        Aggregation("distinct_count", "account_id", (DAY,)),
        Aggregation("time_since_last"),
    ),
    ttl=WEEKLY,
    owner=OWNER,
    description="How fast the user pays: counts and sums of minutes, hours and days.",
    tags=("fraud", "payments", "activity"),
)

PAYMENT_HABITS: Final = FeatureView(
    "payment_habits",
    USER,
    PAYMENTS,
    (
        Aggregation("count", windows=(DAYS_90,)),
        Aggregation("mean", "amount", (DAYS_90,)),
        Aggregation("std", "amount", (DAYS_90,)),
        Aggregation("max", "amount", (DAYS_90,)),
        Aggregation("distinct_count", "properties.device", (DAYS_30,)),
        Aggregation("distinct_count", "properties.country", (DAYS_90,)),
        Aggregation("time_since_first", windows=(ALL_HISTORY,)),
    ),
    derived=(Derived("night_share_90d", Ratio(Feature("night_count_90d"), Feature("count_90d"))),),
    inputs=(Aggregation("count", None, (DAYS_90,), (below("local_hour", 6),), "night"),),
    ttl=WEEKLY,
    owner=OWNER,
    description="What the user usually pays, when, and from how many devices and countries.",
    tags=("fraud", "payments", "money"),
)

PAYMENT_DISPUTES: Final = FeatureView(
    "payment_disputes",
    USER,
    EventStream(("Payment Disputed",)),
    (
        Aggregation("count", windows=(DAYS_90, ALL_HISTORY)),
        Aggregation("time_since_last"),
    ),
    ttl=WEEKLY,
    owner=OWNER,
    description="Payments of the user that were disputed before.",
    tags=("fraud", "payments"),
)
