"""Predictions that were made in lost days: which of them wait, in every run the same."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from include import use_cases
from include.handoffs import Interval, LostDays
from include.pipeline.losses import measurable
from include.tenants.config import TenantConfig

TENANT = TenantConfig.model_validate(
    {
        "id": "media",
        "name": "Media",
        "region": "eu",
        "schedule": "0 0 1 * *",
        "history_from": "2023-01-01",
        "use_cases": {"weekly_playlist": {}},
        "sources": [
            {
                "name": "plays",
                "connector": {"type": "file", "path": "plays.csv", "format": "csv"},
                "events": {
                    "event_column": "what",
                    "event_id": ["id"],
                    "event_timestamp": "at",
                    "user_id": "user",
                    "item_id": "track",
                },
            }
        ],
    }
)
MONTHS = [datetime(2024, month, 1, tzinfo=UTC) for month in range(1, 8)]


def run(month: int) -> Any:
    """The run of the month that ends at the first day of another one, 28 to 31 days long."""
    interval = Interval(MONTHS[month - 2], MONTHS[month - 1])
    use_case = use_cases.get("weekly_playlist")
    return SimpleNamespace(tenant=TENANT, interval=interval, the_use_case=lambda: use_case)


@pytest.mark.parametrize("month", range(3, 8))
def test_what_was_made_in_a_month_that_lost_days_waits_in_every_run(month: int) -> None:
    """However long the month of the run is that asks; what was made after it does not wait."""
    lost = [LostDays("plays", datetime(2023, 11, 9, tzinfo=UTC), MONTHS[0].replace(day=2))]
    asked = [at for at in MONTHS[1:] if at < MONTHS[month - 1]]
    assert measurable(run(month), asked, lost) == asked[1:]
    assert measurable(run(month), asked, []) == asked
