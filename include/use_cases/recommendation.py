"""Recommendation: which ten items will a customer buy in the next 28 days?"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from include.features.services import RECOMMENDATION_FEATURES
from include.use_cases.declaration import (
    Baseline,
    Gates,
    Items,
    Label,
    Snapshots,
    UseCase,
)

USE_CASE: Final = UseCase(
    name="recommendation",
    title="Ten items that the customer will buy in the next 28 days",
    task="ranking",
    events=("Order Completed",),
    active_window=timedelta(days=60),
    label=Label("present", timedelta(days=28)),
    features=RECOMMENDATION_FEATURES,
    estimators=("lightgbm",),
    metrics=("hit@10", "ndcg@10"),
    baselines=(
        Baseline("popularity", "item_popularity__net_count_user_id_28d"),
        Baseline(
            "own_history",
            "user_item__net_count_all",
            then="item_popularity__net_count_user_id_28d",
        ),
    ),
    segments_by="frequency__days_active_90d",
    snapshots=Snapshots(
        every=timedelta(days=14),
        training=6,
        holdout=2,
        minimum_history=timedelta(days=60),
        entities=1_000,
        negatives=5,
    ),
    gates=Gates(minimum_rows=3_000, minimum_positives=300, minimum_entities=20),
    retrain_every=timedelta(days=28),
    items=Items(own=150, popular=50, popular_window=timedelta(days=28), newcomers=True),
)
