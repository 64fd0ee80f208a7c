"""Demand: how many pieces of each product will be sold in the next seven days?"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from include.features.library.demand import HOURS
from include.features.services import DEMAND_FEATURES
from include.use_cases.declaration import (
    Baseline,
    Gates,
    Label,
    Snapshots,
    UseCase,
)
from include.use_cases.details import KeptFeature, PeakHours

USE_CASE: Final = UseCase(
    name="demand",
    title="Pieces of each product that will be sold in the next 7 days",
    task="regression",
    events=("Order Completed",),
    active_window=timedelta(days=28),
    label=Label("total", timedelta(days=7), value="quantity"),
    features=DEMAND_FEATURES,
    estimators=("forecast",),
    metrics=("forecast_accuracy",),
    baselines=(
        Baseline("seasonal_naive", "item_season__last_year", then="item_demand__sum_quantity_7d"),
        Baseline(
            "mean_13_weeks", "item_demand__mean_week_91d", then="item_demand__sum_quantity_7d"
        ),
        Baseline("mean_4_weeks", "item_demand__mean_week_28d", then="item_demand__sum_quantity_7d"),
    ),
    segments_by="item_demand__sum_quantity_28d",
    snapshots=Snapshots(
        every=timedelta(days=7),
        training=16,
        holdout=4,
        minimum_history=timedelta(days=28),
        entities=5_000,
    ),
    gates=Gates(minimum_rows=300, minimum_positives=0, minimum_entities=20),
    retrain_every=timedelta(days=28),
    entity="item_id",
    details=(
        KeptFeature("average_order_value", "tenant_orders__average_value_28d", digits=2),
        PeakHours(HOURS),
    ),
)
