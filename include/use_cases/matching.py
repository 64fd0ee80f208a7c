"""Matching: which ten jobs (people, content) suit a profile, by behaviour and by skills?"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from include.features.services import MATCHING_FEATURES
from include.use_cases.declaration import (
    Baseline,
    Exposure,
    Gates,
    Items,
    Label,
    Snapshots,
    UseCase,
)

USE_CASE: Final = UseCase(
    name="matching",
    title="Ten jobs that the profile will apply for in the next 14 days",
    task="ranking",
    events=("Job Viewed", "Job Applied"),
    active_window=timedelta(days=28),
    label=Label("present", timedelta(days=14), events=("Job Applied",)),
    features=MATCHING_FEATURES,
    estimators=("text_match",),
    metrics=("hit@10", "ndcg@10"),
    baselines=(
        Baseline("popularity", "job_posting__applied_count_28d"),
        Baseline("own_interest", "user_job__count_all", then="job_posting__applied_count_28d"),
    ),
    segments_by="job_seeker__days_active_28d",
    snapshots=Snapshots(
        every=timedelta(days=14),
        training=6,
        holdout=2,
        minimum_history=timedelta(days=28),
        entities=1_000,
        negatives=10,
    ),
    gates=Gates(minimum_rows=2_000, minimum_positives=100, minimum_entities=20),
    retrain_every=timedelta(days=28),
    items=Items(own=20, popular=200, popular_window=timedelta(days=28)),
    texts=("job_seeker__skills", "job_posting__skills"),
    exposure=Exposure("job_posting__group"),
    reasons=3,
)
