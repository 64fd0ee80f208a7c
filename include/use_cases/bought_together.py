"""Bought together: which ten items go with an item, in the baskets to come?"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from include.features.services import ASSORTMENT_FEATURES
from include.use_cases.declaration import (
    Baseline,
    Gates,
    ItemHistory,
    Label,
    Snapshots,
    UseCase,
)
from include.use_cases.drift_policy import DriftPolicy

USE_CASE: Final = UseCase(
    name="bought_together",
    title="Ten items that lie in the same baskets as an item",
    task="association",
    entity="item_id",
    events=("Order Completed",),
    active_window=timedelta(days=90),
    label=Label("present", timedelta(days=28)),
    features=ASSORTMENT_FEATURES,
    estimators=("bought_together",),
    metrics=("hit@10", "ndcg@10"),
    baselines=(Baseline("popularity"), Baseline("co_count")),
    segments_by="item_popularity__net_count_90d",
    snapshots=Snapshots(
        every=timedelta(days=28),  # the label's horizon, so that every basket stands there once
        training=12,
        holdout=1,
        minimum_history=timedelta(days=0),
        entities=20_000,
    ),
    gates=Gates(minimum_rows=2_000, minimum_positives=0, minimum_entities=100),
    retrain_every=timedelta(days=28),
    drift=DriftPolicy(cooldown=timedelta(days=28)),
    reasons=1,
    history=ItemHistory(items=1, seen="keep", category="item_facts__category"),
)
