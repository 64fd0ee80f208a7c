"""Engagement: on how many of the next 30 days will a user be active, and is that more or less?"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from include.features.library.engagement import ACTIVITY
from include.features.services import ENGAGEMENT_FEATURES
from include.use_cases.declaration import (
    Baseline,
    Gates,
    Label,
    Snapshots,
    UseCase,
)
from include.use_cases.details import ForecastChange, ScoreLevel

#: Days from which a user counts as active next month.
ACTIVE: Final = 1.0

USE_CASE: Final = UseCase(
    name="engagement",
    title="Days on which each user will be active in the next 30",
    task="regression",
    events=ACTIVITY,
    active_window=timedelta(days=60),
    label=Label("total", timedelta(days=30), value="days"),
    features=ENGAGEMENT_FEATURES,
    estimators=("forecast",),
    metrics=("forecast_accuracy",),
    baselines=(
        Baseline("last_month", "user_activity__days_active_30d"),
        Baseline(
            "mean_3_months",
            "user_activity__mean_month_90d",
            then="user_activity__days_active_30d",
        ),
    ),
    segments_by="user_activity__days_active_30d",
    snapshots=Snapshots(
        every=timedelta(days=14),
        training=12,
        holdout=2,
        minimum_history=timedelta(days=60),
        entities=5_000,
    ),
    gates=Gates(minimum_rows=300, minimum_positives=0, minimum_entities=20),
    retrain_every=timedelta(days=28),
    details=(
        ForecastChange("trend", "user_activity__days_active_30d"),
        ScoreLevel("state", (("inactive", 0.0), ("active", ACTIVE))),
    ),
)
