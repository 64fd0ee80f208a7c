"""Which windows are replayed: some of everybody's, and the same ones whenever one asks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from include.monitoring.skew import ONE_IN, is_drawn

START = datetime(2024, 1, 1, tzinfo=UTC)


def test_one_window_in_some_is_replayed_of_every_tenant() -> None:
    """Over a fleet the share is as told, and in two years of weeks nobody is left out."""
    weeks = [START + week * timedelta(days=7) for week in range(104)]
    drawn = {
        f"shop-{number}": sum(is_drawn(f"shop-{number}", "churn", week) for week in weeks)
        for number in range(100)
    }
    assert 0.9 < ONE_IN * sum(drawn.values()) / (100 * len(weeks)) < 1.1
    assert min(drawn.values()) >= 2


def test_a_window_is_replayed_or_not_whatever_clock_it_is_told_by() -> None:
    """An instant is the same one in another zone, so that a rerun does as the first run did."""
    for hour in range(200):
        at = START + timedelta(hours=hour)
        there = at.astimezone(timezone(timedelta(hours=5, minutes=30)))
        assert is_drawn("shop", "churn", at) == is_drawn("shop", "churn", there)
