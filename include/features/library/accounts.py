"""Views of an account over canonical B2B events."""

from __future__ import annotations

from typing import Final

from include.features.declarations import ACCOUNT, Aggregation, Derived, EventStream
from include.features.expressions import Feature, Ratio
from include.features.library.streams import DAYS_7, DAYS_28, OWNER, WEEKLY
from include.features.views import FeatureView

ACCOUNT_ENGAGEMENT: Final = FeatureView(
    "account_engagement",
    ACCOUNT,
    EventStream(("Signed In",)),
    (
        Aggregation("count", windows=(DAYS_7, DAYS_28)),
        Aggregation("distinct_count", "user_id", (DAYS_7, DAYS_28)),
        Aggregation("days_active", windows=(DAYS_28,)),
        Aggregation("time_since_last"),
        Aggregation("trend", windows=(DAYS_28,)),
    ),
    derived=(
        Derived(
            "signins_per_user_28d",
            Ratio(Feature("count_28d"), Feature("distinct_count_user_id_28d")),
        ),
    ),
    ttl=WEEKLY,
    owner=OWNER,
    description="How many people of the account sign in, how often, and whether it is growing.",
    tags=("b2b", "activity"),
)
