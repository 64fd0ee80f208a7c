from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from include.errors import ConfigError
from include.features.catalogue import CHURN_FEATURES, RECOMMENDATION_FEATURES
from include.monitoring.policy import DriftPolicy


def test_exactly_the_features_that_grow_with_time_are_left_out() -> None:
    """Of the shipped features, all-history counts, sums and ages are not judged, ratios are."""
    columns = [*CHURN_FEATURES.columns, *RECOMMENDATION_FEATURES.columns]
    skipped = {name for name in columns if DriftPolicy().reason_to_skip(name)}
    assert skipped == {
        "frequency__days_active_all",
        "tenure__time_since_first_all",
        "user_item__count_all",
        "user_item__days_active_all",
        "user_item__sum_quantity_all",
        "user_item__time_since_first_all",
    }


@pytest.mark.parametrize(
    ("column", "grows"),
    [
        ("spend__sum_amount_all", True),
        ("time__evening_count_all", True),
        ("frequency__distinct_count_group_id_all", True),
        ("frequency__count_90d", False),
        ("recency__time_since_last_all", False),
        ("regularity__mean_gap_all", False),
        ("discount__account_all", False),
        ("summary__mean_amount_all", False),
    ],
)
def test_growth_is_told_by_function_and_window(column: str, grows: bool) -> None:
    """A column grows by construction when it counts, sums or dates all of history."""
    assert bool(DriftPolicy().reason_to_skip(column)) is grows


def test_ignored_columns_are_patterns() -> None:
    """A policy can leave out a whole feature view by its prefix, and says which rule it was."""
    policy = DriftPolicy(ignored=("spend__*",))
    assert "spend__*" in policy.reason_to_skip("spend__sum_amount_30d")
    assert policy.reason_to_skip("frequency__count_30d") == ""


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 0},
        {"prediction_threshold": -1},
        {"share": 1.5},
        {"error_rate": 0.0},
        {"minimum_rows": 1},
        {"minimum_rows": 6_000},
        {"cooldown": timedelta(days=-1)},
        {"performance_drop": -0.1},
    ],
)
def test_impossible_policies_are_refused(wrong: dict[str, Any]) -> None:
    """A value that no policy can mean is an error at once."""
    with pytest.raises(ConfigError):
        DriftPolicy(**wrong)
