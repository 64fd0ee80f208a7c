"""Weekly playlist: ten things that a listener has not put on yet, and will play in a week."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from include.features.services import PLAYLIST_FEATURES
from include.use_cases.declaration import (
    Baseline,
    Gates,
    ItemHistory,
    Label,
    Snapshots,
    UseCase,
)

USE_CASE: Final = UseCase(
    name="weekly_playlist",
    title="Ten things new to the user, of which some will be played in the next 7 days",
    task="ranking",
    events=("Content Played", "Content Skipped"),
    active_window=timedelta(days=60),
    label=Label("present", timedelta(days=7), events=("Content Played",)),
    features=PLAYLIST_FEATURES,
    estimators=("ease",),
    metrics=("ndcg@10", "hit@10"),
    baselines=(Baseline("popularity"),),
    segments_by="listening__days_active_28d",
    snapshots=Snapshots(
        every=timedelta(days=7),
        training=3,
        holdout=2,
        minimum_history=timedelta(days=28),
        entities=20_000,
    ),
    gates=Gates(minimum_rows=1_000, minimum_positives=0, minimum_entities=20),
    retrain_every=timedelta(days=7),
    reasons=3,
    history=ItemHistory(
        items=500,
        weight="user_content__liking_all",
        recency="user_content__time_since_first_all",
        seen="drop",
        category="content__category",
        relevance=0.8,
        novelty=0.1,
        chance=0.3,
    ),
)
