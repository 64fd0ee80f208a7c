"""Fraud: which payments will be disputed? Each is scored by itself, at the instant it is made.

Where nothing has been disputed yet, ECOD serves: it looks at what the payment says of itself and at
how fast payments follow each other, not at who pays, for an unusual payer makes no unusual payment.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from include.features.declarations import Derived
from include.features.expressions import Difference, Feature, Ratio
from include.features.library.payments import PAYMENT_VELOCITY, PAYMENTS
from include.features.requests import RequestColumns
from include.features.services import FRAUD_FEATURES
from include.use_cases.declaration import (
    Baseline,
    Gates,
    Label,
    Snapshots,
    UseCase,
)
from include.use_cases.details import Alerts
from include.use_cases.drift_policy import DriftPolicy

_AMOUNT: Final = Feature("request__amount")
_MEAN: Final = Feature("payment_habits__mean_amount_90d")

REQUEST: Final = RequestColumns(
    PAYMENTS,
    numbers=("amount", "local_hour", "local_weekday"),
    new=("properties.device", "properties.country", "account_id"),
    derived=(
        Derived("amount_to_mean_90d", Ratio(_AMOUNT, _MEAN)),
        Derived(
            "amount_above_mean_90d",
            Ratio(Difference(_AMOUNT, _MEAN), Feature("payment_habits__std_amount_90d")),
        ),
    ),
)

USE_CASE: Final = UseCase(
    name="fraud",
    title="Payments that will be disputed",
    task="classification",
    events=PAYMENTS.events,
    active_window=timedelta(days=31),
    label=Label("present", timedelta(days=45), events=("Payment Disputed",)),
    features=FRAUD_FEATURES,
    estimators=("lightgbm",),
    metrics=("average_precision", "precision@1%", "auc"),
    baselines=(
        Baseline("ecod", columns=(*REQUEST.columns, *PAYMENT_VELOCITY.columns)),
        Baseline("rapid", "payment_velocity__count_1h"),
        Baseline("large_amount", "request__amount"),
    ),
    segments_by="payment_habits__count_90d",
    snapshots=Snapshots(
        every=timedelta(days=14),
        training=8,
        holdout=2,
        minimum_history=timedelta(days=28),
        entities=2_000,
    ),
    gates=Gates(minimum_rows=2_000, minimum_positives=50, minimum_entities=50),
    retrain_every=timedelta(days=28),
    drift=DriftPolicy(minimum_rows=100),
    request=REQUEST,
    entity="group_id",
    details=(Alerts(0.01),),
    reasons=3,
    latency="online",
)
