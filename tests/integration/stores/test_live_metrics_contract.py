"""What the port to live metrics promises, on its twin in memory and on the real Postgres."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.models.rates import Rates
from include.monitoring.live_metrics import (
    LiveMetric,
    LiveMetrics,
    known_metrics,
    season_metric,
)
from include.stores.memory.live_metrics import InMemoryLiveMetrics
from include.stores.postgres.live_metrics import PostgresLiveMetrics
from include.tenants.namespace import TenantRef
from tests.unused import unused

pytestmark = pytest.mark.integration

JANUARY = datetime(2017, 1, 1, tzinfo=UTC)
WEEK = timedelta(days=7)


@pytest.fixture(params=["memory", "postgres"])
def live_metrics(request: pytest.FixtureRequest) -> LiveMetrics:
    """Each of the two in turn."""
    if request.param == "memory":
        return InMemoryLiveMetrics()
    request.getfixturevalue("database")
    return PostgresLiveMetrics()


@pytest.fixture
def tenant() -> TenantRef:
    """A tenant that no other test has used."""
    return TenantRef(unused("mila"), "eu", "pool")


def metric(week: int, **changes: Any) -> LiveMetric:
    """The area under the curve of a week's predictions, known four weeks later."""
    at = JANUARY + week * WEEK
    return replace(LiveMetric(at, "auc", "1", 0.8, 0.02, 300, at + 4 * WEEK, 120.5), **changes)


#: Labels of one class have no area.
NOTHING = {"value": math.nan, "error": math.nan, "labels": 0, "effective": 0.0}


def test_a_metric_comes_back_as_it_was_recorded(
    live_metrics: LiveMetrics, tenant: TenantRef
) -> None:
    """By instant and name, with rates and baseline where there are any."""
    full = metric(1, rates=Rates(0.2, 0.25, 0.01), baseline=0.6)
    written = [metric(2, metric="average_precision"), full, metric(2)]
    for one in written:
        live_metrics.record(tenant, "churn", one)
    assert live_metrics.history(tenant, "churn") == [full, written[2], written[0]]
    assert live_metrics.history(tenant, "demand") == []


def test_a_metric_is_replaced(live_metrics: LiveMetrics, tenant: TenantRef) -> None:
    """Measured again, the newer measurement is all there is."""
    live_metrics.record(tenant, "churn", metric(1))
    newer = metric(1, value=0.7, version="2", rates=Rates(0.2, 0.25, 0.01))
    live_metrics.record(tenant, "churn", newer)
    assert live_metrics.history(tenant, "churn") == [newer]


@pytest.mark.parametrize("before", [True, False])
def test_that_there_was_nothing_to_measure_is_kept(
    live_metrics: LiveMetrics, tenant: TenantRef, before: bool
) -> None:
    """It is in the history, and known to nobody."""
    if before:
        live_metrics.record(tenant, "churn", metric(1))
    live_metrics.record(tenant, "churn", metric(1, **NOTHING))
    live_metrics.record(tenant, "churn", metric(2, error=math.inf))
    first, second = live_metrics.history(tenant, "churn")
    assert math.isnan(first.value)
    assert (first.labels, first.effective, second.value) == (0, 0.0, 0.8)
    assert not first.known
    assert not second.known


def test_what_is_forgotten_is_measured_again(live_metrics: LiveMetrics, tenant: TenantRef) -> None:
    """All metrics of the instants that are named, and of no other."""
    for one in (metric(1), metric(2), metric(2, metric="average_precision"), metric(3)):
        live_metrics.record(tenant, "churn", one)
    live_metrics.forget(tenant, "churn", [metric(2).as_of, metric(9).as_of])
    assert live_metrics.history(tenant, "churn") == [metric(1), metric(3)]


def test_tenants_have_their_own_metrics(live_metrics: LiveMetrics, tenant: TenantRef) -> None:
    """One tenant's is invisible to another, and not forgotten by it."""
    live_metrics.record(tenant, "churn", metric(1))
    other = TenantRef(f"{tenant.id}-b", "eu", "pool")
    assert live_metrics.history(other, "churn") == []
    live_metrics.forget(other, "churn", [metric(1).as_of])
    assert live_metrics.history(tenant, "churn") == [metric(1)]


def test_a_version_has_the_metrics_that_are_known_by_then(
    live_metrics: LiveMetrics, tenant: TenantRef
) -> None:
    """Not those of other versions or names, nor what later labels said."""
    for one in (
        metric(1),
        metric(2, version="2"),
        metric(3),
        metric(4, **NOTHING),
        metric(5, metric="average_precision"),
        metric(6),
    ):
        live_metrics.record(tenant, "churn", one)
    history = live_metrics.history(tenant, "churn")
    assert known_metrics(history, "1", "auc", JANUARY + 9 * WEEK) == [metric(1), metric(3)]


def test_the_season_is_what_any_version_did_closest_to_an_instant(
    live_metrics: LiveMetrics, tenant: TenantRef
) -> None:
    """The earlier one of two as close; None where nothing is near."""
    for one in (metric(1), metric(3, version="2"), metric(4, **NOTHING)):
        live_metrics.record(tenant, "churn", one)
    history = live_metrics.history(tenant, "churn")
    middle = JANUARY + 2 * WEEK
    assert season_metric(history, "auc", middle, WEEK) == metric(1)
    assert season_metric(history, "auc", middle + timedelta(days=1), WEEK) == history[1]
    assert season_metric(history, "auc", middle, timedelta(days=6)) is None
    assert season_metric(history, "average_precision", middle, WEEK) is None
