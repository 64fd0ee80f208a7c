"""A tenant whose customers do the same every week, for a year: nothing has drifted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from include import use_cases
from include.monitoring.gate import compare_equally, compare_windows
from include.monitoring.maturity import Lengths, Maturity, as_old
from include.monitoring.profiles import profile_window
from include.use_cases.drift_policy import DriftPolicy
from include.use_cases.reach import column_reaches

START, DAY = datetime(2024, 1, 1, tzinfo=UTC), timedelta(days=1)
RATE = "regularity__rate_all"
KEYS = ("user_id",)


def customers(history: int, seen_on: int) -> pa.Table:
    """How often everybody came so far, each every one, two or three weeks on a day of their own.

    Args:
        history: days of it that count.
        seen_on: day of the instant.
    """
    number = np.arange(420)
    every = 7 * (1 + number % 3)
    first = (number // 3) % every
    visits = (history - first - 1) // every + 1
    instant = pa.scalar(START + seen_on * DAY, pa.timestamp("us", tz="UTC"))
    return pa.table(
        {
            "user_id": [f"user-{n}" for n in number],
            "as_of": pa.array([instant.as_py()] * len(number), instant.type),
            RATE: visits / (history - first),
        }
    )


@pytest.mark.parametrize("trained", [60, 120, 200, 364])
def test_customers_who_never_change_have_not_drifted_in_any_week_of_a_year(trained: int) -> None:
    """The rate over all of history moves by construction; at equal length of history it stands."""
    case = use_cases.get("churn")
    maturity, policy = Maturity(column_reaches(case)), DriftPolicy()
    assert maturity.reason_to_skip(RATE) == ""
    reference = pa.concat_tables([customers(day, day) for day in (trained - 7, trained)])
    old = as_old(reference, START + trained * DAY, trained * DAY)
    moved = 0
    for day in range(trained + 7, trained + 365, 7):
        before, now = (profile_window(table, KEYS) for table in (reference, customers(day, day)))
        plainly = compare_windows(before, now, policy)
        moved += any(one.drifted for one in plainly.judged)
        equal = (profile_window(old, KEYS), profile_window(customers(trained, day), KEYS))
        lengths = {RATE: Lengths(trained * DAY, day * DAY)}
        found = compare_equally(plainly, before, now, equal, lengths, maturity, policy)
        assert not any(one.drifted for one in found.judged), day
    assert moved  # without equal histories there would have been alarms
