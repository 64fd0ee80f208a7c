"""Churn: will a customer who is active now stay away for the next 30 days?

Censoring: whose 30 days are not over, or not wholly loaded, is no row, neither in training nor in
the holdout nor when a live metric is measured. `training.windows.plan` takes no snapshot that the
data does not outlast by the horizon, `training.dataset.build` asks the same of every tenant's own
data, and `use_cases.spines.labels` refuses what reaches beyond it. Who was inactive already, or
came later, is no row either: a label is about customers who were there to be lost.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from include.features.services import CHURN_FEATURES
from include.use_cases.declaration import (
    Baseline,
    Gates,
    Label,
    Snapshots,
    UseCase,
)

USE_CASE: Final = UseCase(
    name="churn",
    title="Customers who will not order in the next 30 days",
    task="classification",
    events=("Order Completed",),
    active_window=timedelta(days=60),
    label=Label("absent", timedelta(days=30)),
    features=CHURN_FEATURES,
    estimators=("logistic", "lightgbm"),
    metrics=("auc", "average_precision", "brier_skill", "lift@10%"),
    baselines=(
        Baseline("recency", "recency__time_since_last_all"),
        Baseline("frequency_90d", "frequency__distinct_count_group_id_90d", descending=True),
    ),
    segments_by="frequency__days_active_90d",
    snapshots=Snapshots(
        every=timedelta(days=14),
        training=12,
        holdout=2,
        minimum_history=timedelta(days=60),
        entities=5_000,
    ),
    gates=Gates(minimum_rows=300, minimum_positives=50, minimum_entities=20),
    retrain_every=timedelta(days=28),
    reasons=3,
)
