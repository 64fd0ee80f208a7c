"""What is lost holds back what reaches into it, in later weeks too, until it is sent again."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from include.handoffs import Interval
from include.monitoring.windows import PREDICTION
from include.pipeline import live_evidence, losses
from include.quality.incidents import data_losses, incident_of
from include.quality.volume import DataLoss, Outage
from include.storage.lake import Lake
from include.use_cases.drift_policy import DriftPolicy
from tests.trials import MONDAY, Shop, monday

pytestmark = pytest.mark.integration

DAY = timedelta(days=1)


@pytest.fixture
def shop(database: None, tmp_path: Path) -> Shop:
    """One whose first version serves from the first week on."""
    made = Shop(Lake(tmp_path))
    made.promote(made.add("fair"), MONDAY)
    return made


def lose(shop: Shop, start: datetime, until: datetime | None, recovered: datetime | None) -> None:
    """Put an outage of the tenant's one source on record."""
    outage = Outage("orders", start, until, 3, 200.0, recovered)
    incidents = shop.platform.stores.incidents
    loss = DataLoss(monday(2), "lost", (outage,), until)
    incidents.put(shop.ref, incident_of(loss))
    assert data_losses(incidents, shop.ref) == [loss]


def measured(shop: Shop, week: int) -> list[int]:
    """Weeks whose predictions have a live metric once that one was monitored."""
    run = shop.run(monday(week))
    live_evidence.measure_matured(run, shop.score(week), losses.of_run(run))
    return sorted({(row["as_of"] - MONDAY).days // 7 for row in shop.rows("live_metrics")})


def test_labels_of_lost_days_wait_until_they_are_sent_again(shop: Shop) -> None:
    """Neither what was predicted about a lost day is measured, nor what was scored after one."""
    shop.score(0)
    assert measured(shop, 1) == [0]
    lose(shop, monday(2) + DAY, monday(2) + 3 * DAY, None)
    for week in (2, 3, 4, 5):
        found = measured(shop, week)
    assert found == [0, 1, 4]
    lose(shop, monday(2) + DAY, monday(2) + 3 * DAY, monday(5))
    assert measured(shop, 5) == [0, 1, 2, 3, 4]


def test_features_and_predictions_that_reach_into_a_loss_are_not_judged(shop: Shop) -> None:
    """By the current window or by the reference; what is lost counts up to the run's instant."""
    lose(shop, monday(3), None, None)
    run = replace(shop.run(monday(5)), interval=Interval(monday(4) + DAY, monday(5)))
    found = losses.of_run(run)
    assert [(one.start, one.end) for one in found] == [(monday(3), monday(5))]
    assert losses.in_interval(run, found)
    assert not losses.in_interval(shop.run(monday(2)), losses.of_run(shop.run(monday(2))))
    read = ("frequency__count_90d",)
    policy = losses.holding_back(DriftPolicy(), run, found, {monday(0): found}, read)
    assert policy.reason_to_skip("frequency__count_7d").startswith("it reaches into lost days")
    assert "frequency__count_90d" in policy.withheld
    assert policy.reason_to_skip(PREDICTION).startswith("a feature it is made of is not judged")
    later = replace(run, interval=Interval(monday(60), monday(61)))
    behind = losses.holding_back(DriftPolicy(), later, found, {monday(5): found}, ())
    assert behind.reason_to_skip("frequency__count_7d").startswith("the reference reaches into")
    assert PREDICTION not in behind.withheld
