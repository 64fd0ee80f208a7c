"""The feature services that ship: which views the models of a use case read."""

from __future__ import annotations

from typing import Final

from include.features.library.items import ITEM_POPULARITY, ITEM_PRICE, USER_ITEM_HISTORY
from include.features.library.users import (
    BASKET_SIZE,
    CATEGORY_MIX,
    DISCOUNT_SHARE,
    FREQUENCY,
    RECENCY,
    REGULARITY,
    SPEND,
    TENURE,
    TIME_OF_DAY,
)
from include.features.views import FeatureService

#: Spine: user_id.
CHURN_FEATURES: Final = FeatureService(
    "churn",
    (
        RECENCY,
        FREQUENCY,
        SPEND,
        BASKET_SIZE,
        CATEGORY_MIX,
        TIME_OF_DAY,
        DISCOUNT_SHARE,
        TENURE,
        REGULARITY,
    ),
)

#: Spine: user_id and item_id.
RECOMMENDATION_FEATURES: Final = FeatureService(
    "recommendation",
    (RECENCY, FREQUENCY, REGULARITY, ITEM_POPULARITY, ITEM_PRICE, USER_ITEM_HISTORY),
)
