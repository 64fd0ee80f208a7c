from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from include.errors import ConfigError
from include.use_cases.drift_policy import DriftPolicy


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
