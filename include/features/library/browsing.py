"""Views of a user over product pages and baskets, before anything is ordered."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from include.features.conditions import equals
from include.features.declarations import USER, Aggregation, Derived, EventStream
from include.features.expressions import Feature, Ratio
from include.features.library.streams import DAYS_7, OWNER, WEEKLY
from include.features.views import FeatureView

BROWSING: Final = FeatureView(
    "browsing",
    USER,
    EventStream(("Product Viewed", "Product Added")),
    (
        Aggregation("count", windows=(timedelta(minutes=30), timedelta(hours=24), DAYS_7)),
        Aggregation("distinct_count", "item_id", (DAYS_7,)),
        Aggregation("count", None, (DAYS_7,), (equals("event", "Product Added"),), "added"),
        Aggregation("time_since_last"),
    ),
    derived=(Derived("added_share_7d", Ratio(Feature("added_count_7d"), Feature("count_7d"))),),
    ttl=WEEKLY,
    owner=OWNER,
    description="What the user looks at and puts into the basket.",
    tags=("browsing", "activity"),
)
