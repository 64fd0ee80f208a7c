"""Lead scoring: which leads will convert in the next 30 days, and when to write to them?"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from include.features.library.leads import (
    ACTIVITY,
    CONVERSIONS,
    RESPONSE_HOURS,
    TENANT_RESPONSE_HOURS,
    hours,
)
from include.features.services import LEAD_FEATURES
from include.use_cases.declaration import (
    Baseline,
    Gates,
    Label,
    Snapshots,
    UseCase,
)
from include.use_cases.details import BestHour, KeptFeature

USE_CASE: Final = UseCase(
    name="lead_scoring",
    title="Leads that will convert in the next 30 days",
    task="classification",
    events=ACTIVITY,
    active_window=timedelta(days=60),
    label=Label("present", timedelta(days=30), events=CONVERSIONS, final=("Deal Won",)),
    features=LEAD_FEATURES,
    estimators=("logistic", "lightgbm"),
    metrics=("auc", "brier_skill", "average_precision", "lift@10%"),
    baselines=(
        Baseline("recency", "lead_activity__time_since_last_all", descending=True),
        Baseline("frequency_28d", "lead_activity__days_active_28d"),
    ),
    segments_by="lead_activity__days_active_28d",
    snapshots=Snapshots(
        every=timedelta(days=14),
        training=12,
        holdout=2,
        minimum_history=timedelta(days=30),
        entities=5_000,
    ),
    gates=Gates(minimum_rows=300, minimum_positives=50, minimum_entities=20),
    retrain_every=timedelta(days=28),
    details=(
        KeptFeature("engagement", "lead_engagement__score"),
        BestHour(hours(RESPONSE_HOURS.name), hours(TENANT_RESPONSE_HOURS.name), prior=5.0),
    ),
    reasons=3,
)
