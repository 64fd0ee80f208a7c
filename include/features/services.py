"""The feature services that ship: which views the models of a use case read."""

from __future__ import annotations

from typing import Final

from include.features.library.demand import (
    ITEM_DEMAND,
    ITEM_OFFER,
    ITEM_SEASON,
    TENANT_HOURS,
    TENANT_ORDERS,
    TENANT_SEASON,
)
from include.features.library.engagement import TENANT_USAGE, USER_ACTIVITY
from include.features.library.items import (
    ITEM_FACTS,
    ITEM_POPULARITY,
    ITEM_PRICE,
    USER_ITEM_HISTORY,
)
from include.features.library.leads import (
    LEAD_ACTIVITY,
    LEAD_CONVERSIONS,
    LEAD_ENGAGEMENT,
    LEAD_INTENT,
    RESPONSE_HOURS,
    TENANT_RESPONSE_HOURS,
)
from include.features.library.listening import CONTENT, LISTENING, USER_CONTENT
from include.features.library.matching import JOB_POSTING, JOB_SEEKER, USER_JOB
from include.features.library.payments import (
    PAYMENT_DISPUTES,
    PAYMENT_HABITS,
    PAYMENT_VELOCITY,
)
from include.features.library.tenants import TENANT_ACTIVITY
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

#: Spine: user_id and item_id, the items a user has put on.
PLAYLIST_FEATURES: Final = FeatureService("weekly_playlist", (LISTENING, CONTENT, USER_CONTENT))

#: Spine: user_id (the profile) and item_id (the job).
MATCHING_FEATURES: Final = FeatureService("matching", (JOB_SEEKER, JOB_POSTING, USER_JOB))

#: Spine: item_id.
ASSORTMENT_FEATURES: Final = FeatureService("bought_together", (ITEM_POPULARITY, ITEM_FACTS))

#: Spine: user_id (the lead).
LEAD_FEATURES: Final = FeatureService(
    "lead_scoring",
    (
        LEAD_ACTIVITY,
        LEAD_INTENT,
        LEAD_ENGAGEMENT,
        LEAD_CONVERSIONS,
        RECENCY,
        FREQUENCY,
        SPEND,
        RESPONSE_HOURS,
        TENANT_RESPONSE_HOURS,
    ),
)

#: Spine: user_id and group_id, a payment at its own instant.
FRAUD_FEATURES: Final = FeatureService(
    "fraud", (PAYMENT_VELOCITY, PAYMENT_HABITS, PAYMENT_DISPUTES)
)

#: Spine: item_id.
DEMAND_FEATURES: Final = FeatureService(
    "demand",
    (
        ITEM_DEMAND,
        ITEM_OFFER,
        ITEM_SEASON,
        TENANT_ACTIVITY,
        TENANT_ORDERS,
        TENANT_SEASON,
        TENANT_HOURS,
    ),
)

#: Spine: user_id.
ENGAGEMENT_FEATURES: Final = FeatureService("engagement", (USER_ACTIVITY, TENANT_USAGE))
