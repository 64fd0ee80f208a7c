"""Stationary tenants of every age under the platform's own gate, small; the figures are large."""

from __future__ import annotations

import pytest

from benchmarks.quality.drift_young import AGES, changed, stationary

SEED = 11


@pytest.mark.parametrize(
    ("name", "ages"),
    [
        ("churn", (1, 17, 60, 365)),
        ("everything", (10, 45)),
        ("recommendation", (8, 30)),
        ("fraud", (3, 8, 30)),
    ],
)
def test_tenants_in_which_nothing_changes_raise_no_alarm(name: str, ages: tuple[int, ...]) -> None:
    """Whatever their age; as long as maturity is not looked at, most of the young ones do."""
    found = [stationary(name, age, 2, SEED) for age in ages]
    assert sum(one["alarms"] for one in found) == 0
    assert sum(one["blind"] for one in found) >= len(ages)


@pytest.mark.parametrize("age", [20, 120])
def test_customers_who_change_are_found_at_any_age(age: int) -> None:
    """Twice as many orders, and less than half: both are drift, in a young tenant too."""
    assert changed("churn", age, 2, SEED)["found"] == 2


@pytest.mark.soak
@pytest.mark.parametrize("name", ["churn", "everything", "recommendation", "demand", "fraud"])
def test_alarms_keep_the_promised_rate_at_every_age(name: str) -> None:
    """Of 100 tenant-months, two alarms at most; 0.6 % are promised for features and prediction."""
    found = [stationary(name, age, 10, SEED) for age in AGES]
    assert sum(one["months"] for one in found) == 10 * len(AGES)
    assert sum(one["alarms"] for one in found) <= 2
