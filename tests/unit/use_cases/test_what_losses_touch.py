"""Which labels and features reach into days of which rows are lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from include import use_cases
from include.handoffs import LostDays
from include.storage.canonical import EVENTS, TIMESTAMP
from include.tenants.config import TenantConfig
from include.use_cases.losses import (
    absent_is_unknown,
    features_that_reach,
    label_reaches,
    of_labels,
    of_use_case,
)
from include.use_cases.spines import labels

AS_OF = datetime(2024, 6, 1, tzinfo=UTC)
CHURN, DEMAND, FRAUD = (use_cases.get(name) for name in ("churn", "demand", "fraud"))
DAY = timedelta(days=1)


def tenant(**sources: dict[str, Any]) -> TenantConfig:
    """A tenant with sources of events; of each what is not as usual."""
    mapping = {"event_id": ["id"], "event_timestamp": "at", "user_id": "u", "item_id": "i"}
    made = []
    for name, given in sources.items():
        event = {k: given.pop(k) for k in ("event", "event_column") if k in given}
        file = {"type": "file", "path": "x.csv", "format": "csv"}
        events = {**mapping, **(event or {"event": "Order Completed"})}
        made.append({"name": name, "connector": file, "events": events, **given})
    return TenantConfig.model_validate(
        {
            "id": "acme",
            "name": "Acme",
            "region": "eu",
            "schedule": "0 0 * * 1",
            "history_from": "2023-01-01",
            "sources": made,
            "use_cases": {"churn": {}},
        }
    )


def lost(first: float, last: float, source: str = "pos") -> LostDays:
    """Days before `AS_OF`."""
    return LostDays(source, AS_OF - first * DAY, AS_OF - last * DAY)


def test_only_sources_that_deliver_what_is_read_matter() -> None:
    """Orders that are lost do not touch who reads payments; a source of any event may matter."""
    shop = tenant(pos={}, web={"event": "Product Viewed"}, app={"event_column": "what"})
    losses = [lost(3, 1, name) for name in ("pos", "web", "app")]
    assert [one.source for one in of_labels(CHURN, shop, losses)] == ["pos", "app"]
    assert [one.source for one in of_use_case(FRAUD, shop, losses)] == ["app"]


@pytest.mark.parametrize(
    ("first", "last", "reaches"),
    [(40, 30, False), (40, 29.9, True), (10, 5, True), (0.1, -5, True), (0, -5, False)],
)
def test_a_label_reaches_as_far_as_its_horizon(first: float, last: float, reaches: bool) -> None:
    """The thirty days after a snapshot, and not a moment more."""
    assert label_reaches(CHURN, AS_OF - 30 * DAY, [lost(first, last)]) == reaches


def test_features_reach_as_far_as_their_windows() -> None:
    """A loss of a week, three weeks ago: windows of seven days are clean, longer ones are not."""
    found = features_that_reach(CHURN, tenant(pos={}), [AS_OF], [lost(28, 21)])
    assert "frequency__count_7d" not in found
    assert {"frequency__count_30d", "frequency__count_90d", "spend__trend"} <= found.keys()
    assert {"recency__time_since_last_all", "regularity__rate_all"} <= found.keys()
    assert found["frequency__count_30d"] == lost(28, 21)


def test_a_fiftieth_of_a_sum_may_be_lost_and_nothing_of_a_last_time() -> None:
    """A day of ninety hardly changes a count, and may be the day on which somebody came last."""
    found = features_that_reach(CHURN, tenant(pos={}), [AS_OF], [lost(41, 40)])
    assert "frequency__count_90d" not in found
    assert {"spend__bought_max_amount_90d", "recency__time_since_last_all"} <= found.keys()


def test_all_history_reaches_as_far_as_anybody_is_active() -> None:
    """Whoever is scored was there since, so that a loss before the active window is past."""
    before = CHURN.active_window / DAY
    old, shop = lost(before + 9, before), tenant(pos={})
    assert "recency__time_since_last_all" not in features_that_reach(CHURN, shop, [AS_OF], [old])
    earlier = AS_OF - DAY
    assert "recency__time_since_last_all" in features_that_reach(CHURN, shop, [earlier], [old])


def test_losses_of_what_a_feature_does_not_read_leave_it_alone() -> None:
    """Views that read orders do not care for a lost log of page views."""
    shop = tenant(pos={}, web={"event": "Product Viewed"})
    assert features_that_reach(CHURN, shop, [AS_OF], [lost(3, 1, "web")]) == {}


@pytest.mark.parametrize(
    ("rules", "unknown"), [(("zero",), False), (("unknown",), True), (("zero", "unknown"), True)]
)
def test_nothing_is_none_only_where_every_source_says_so(
    rules: tuple[str, ...], unknown: bool
) -> None:
    """Of a total; whether somebody churned has nothing to do with it."""
    shop = tenant(**{f"s{n}": {"absent_means": rule} for n, rule in enumerate(rules)})
    assert absent_is_unknown(DEMAND, shop) == unknown
    assert not absent_is_unknown(CHURN, shop)


def test_an_item_without_rows_has_no_label_where_nothing_means_nothing() -> None:
    """Where the source says zero it sold none; otherwise nobody knows."""
    rows = [
        {"event": "Order Completed", "item_id": "tea", "quantity": 3.0},
        {"event": "Order Completed", "item_id": "tea", "quantity": 2.0},
    ]
    at = {"event_timestamp": AS_OF + DAY, "created_timestamp": AS_OF + DAY}
    events = pa.Table.from_pylist([{**row, **at} for row in rows], EVENTS)
    spine = pa.table({"item_id": ["tea", "milk"], "as_of": pa.array([AS_OF] * 2, TIMESTAMP)})
    until = AS_OF + 7 * DAY
    assert labels(DEMAND, events, spine, until).to_pylist() == [5.0, 0.0]
    unknown = DEMAND.with_absent(unknown=True)
    assert labels(unknown, events, spine, until).to_pylist() == [5.0, None]
