"""Views over the events of every tenant that consented to pooling.

They help where tenants name items alike (an EAN, a chain's article number), and are null elsewhere.
User and basket ids mean somebody else at every tenant, so nothing here counts them.
"""

from __future__ import annotations

from typing import Final

from include.features.declarations import ITEM, Aggregation, Derived
from include.features.expressions import Feature, Ratio
from include.features.library.streams import DAYS_7, DAYS_28, DAYS_90, ORDER_LINES, OWNER
from include.features.views import FeatureView

SHARED_ITEM_POPULARITY: Final = FeatureView(
    "shared_item_popularity",
    ITEM,
    ORDER_LINES,
    (
        Aggregation("count", windows=(DAYS_7, DAYS_28, DAYS_90)),
        Aggregation("sum", "quantity", (DAYS_28,)),
        Aggregation("days_active", windows=(DAYS_28,)),
        Aggregation("trend", windows=(DAYS_28,)),
    ),
    derived=(Derived("price_90d", Ratio(Feature("sum_amount_90d"), Feature("sum_quantity_90d"))),),
    inputs=(
        Aggregation("sum", "amount", (DAYS_90,)),
        Aggregation("sum", "quantity", (DAYS_90,)),
    ),
    scope="shared",
    owner=OWNER,
    description="How much the item sells at all tenants that share their data, and at what price.",
    tags=("orders", "activity", "shared"),
)
