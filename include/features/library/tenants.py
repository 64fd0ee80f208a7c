"""Views of the whole tenant, which join any spine: the season and the trade behind every row."""

from __future__ import annotations

from typing import Final

from include.features.declarations import TENANT, Aggregation
from include.features.library.streams import DAYS_7, DAYS_28, OWNER, PURCHASES, WEEKLY
from include.features.views import FeatureView

TENANT_ACTIVITY: Final = FeatureView(
    "tenant_activity",
    TENANT,
    PURCHASES,
    (
        Aggregation("count", windows=(DAYS_7, DAYS_28)),
        Aggregation("distinct_count", "user_id", (DAYS_7, DAYS_28)),
        Aggregation("mean", "amount", (DAYS_28,)),
        Aggregation("trend", windows=(DAYS_7, DAYS_28)),
    ),
    ttl=WEEKLY,
    owner=OWNER,
    description="How busy the whole tenant is.",
    tags=("orders", "activity"),
)
