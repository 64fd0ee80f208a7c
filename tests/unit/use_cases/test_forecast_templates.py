"""Demand and engagement: what their baselines mean, and what they keep beside a forecast."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from include import use_cases
from include.errors import ConfigError
from include.features import vectorized
from include.features.library.demand import ITEM_DEMAND, ITEM_SEASON, TENANT_HOURS
from include.features.library.engagement import USER_ACTIVITY
from include.features.spine import Spine
from include.features.views import FeatureService, FeatureView
from include.storage.canonical import ATTRIBUTES, EVENTS, TIMESTAMP
from include.use_cases.declaration import Baseline
from include.use_cases.details import ForecastChange, PeakHours, ScoreLevel

DEMAND, ENGAGEMENT = use_cases.get("demand"), use_cases.get("engagement")
AS_OF = datetime(2024, 12, 2, tzinfo=UTC)
HOURS = tuple(f"h{hour}" for hour in range(24))


def at(days: float, entity: str, quantity: float, event: str = "Order Completed") -> dict:
    """An event so many days before."""
    stamp = AS_OF - timedelta(days=days)
    return {
        "tenant_id": "acme",
        "source": "shop",
        "event_id": f"{entity}{days}",
        "event": event,
        "user_id": entity,
        "item_id": entity,
        "quantity": quantity,
        "event_timestamp": stamp,
        "created_timestamp": stamp,
    }


def values(view: FeatureView, rows: list[dict], entity: str) -> dict[str, object]:
    """The view's features of one entity."""
    key = view.entity.join_keys[0]
    table = pa.table({key: [entity], "as_of": pa.array([AS_OF], TIMESTAMP)})
    found = vectorized.compute(
        FeatureService("one", (view,)),
        Spine(table),
        pa.Table.from_pylist(rows, EVENTS),
        ATTRIBUTES.empty_table(),
        "UTC",
    )
    return {name.partition("__")[2]: found[name][0].as_py() for name in view.columns}


def test_last_years_week_is_the_one_that_starts_52_weeks_ago() -> None:
    """Its first instant counts and the instant after it does not; weekdays meet themselves."""
    rows = [at(364, "a", 1), at(357.5, "a", 2), at(357, "a", 64), at(364.5, "a", 16), at(1, "a", 7)]
    found = values(ITEM_SEASON, rows, "a")
    assert found["last_year"] == 3.0
    assert found["last_year_ratio"] is None  # the four weeks before are not all known


def test_who_is_younger_than_a_year_has_no_last_year() -> None:
    """It is unknown and not nothing, so that last week stands in."""
    assert values(ITEM_SEASON, [at(363, "a", 5)], "a")["last_year"] is None
    assert values(ITEM_SEASON, [at(500, "a", 5)], "a")["last_year"] == 0.0


def test_a_mean_of_weeks_or_months_takes_as_many_of_them() -> None:
    """A young item's or user's mean is unknown instead of too small."""
    rows = [at(27, "a", 4), at(28, "b", 4), at(91, "c", 26)]
    assert values(ITEM_DEMAND, rows, "a")["mean_week_28d"] is None
    assert values(ITEM_DEMAND, rows, "b")["mean_week_28d"] == 1.0
    assert values(ITEM_DEMAND, rows, "b")["mean_week_91d"] is None
    assert values(ITEM_DEMAND, rows, "c")["mean_week_91d"] == 2.0
    lessons = [at(89, "a", 1, "Lesson Completed"), at(90, "b", 1, "Lesson Completed")]
    assert values(USER_ACTIVITY, lessons, "a")["mean_month_90d"] is None
    assert values(USER_ACTIVITY, lessons, "b")["mean_month_90d"] == pytest.approx(1 / 3)


def test_weeks_are_told_apart() -> None:
    """Each of the last four weeks by itself, whatever was returned in it."""
    rows = [at(1, "a", 1), at(8, "a", 2), at(15, "a", -4), at(22, "a", 8), at(28, "a", 16)]
    found = values(ITEM_DEMAND, rows, "a")
    weeks = ("sum_quantity_7d", "second_week", "third_week", "fourth_week")
    assert [found[name] for name in weeks] == [1.0, 2.0, -4.0, 24.0]


def test_no_model_reads_the_hours_of_the_day() -> None:
    """They are for whoever plans a shift; the order value models may read."""
    assert not set(TENANT_HOURS.columns) & set(DEMAND.columns)
    assert "tenant_orders__average_value_28d" in DEMAND.columns


def test_peak_hours_are_the_busiest_first_and_never_empty_ones() -> None:
    """Of equal hours the earliest comes first."""
    table = pa.table({name: [0, 0] for name in HOURS})
    for hour, count in ((9, 4), (17, 9), (11, 4), (22, 1)):
        table = table.set_column(hour, f"h{hour}", pa.array([count, None]))
    assert PeakHours(HOURS).values(table, np.zeros(2)) == [[17, 9, 11], []]
    with pytest.raises(ConfigError, match="24 hours"):
        PeakHours(HOURS[:3])


def test_a_trend_is_what_is_forecast_less_what_was() -> None:
    """Unknown where nothing is known of before."""
    table = pa.table({"before": [3, 8, None]})
    scores = np.array([5.25, 8.0, 1.0])
    assert ForecastChange("trend", "before").values(table, scores) == [2.2, 0.0, None]


def test_a_state_is_the_last_word_whose_bound_is_reached() -> None:
    """The bound itself belongs to the word."""
    state = ScoreLevel("state", (("inactive", 0.0), ("active", 0.5)))
    found = state.values(pa.table({}), np.array([0.0, 0.49, 0.5, 31.0]))
    assert found == ["inactive", "inactive", "active", "active"]
    with pytest.raises(ConfigError, match="rising"):
        ScoreLevel("state", (("active", 0.5), ("inactive", 0.0)))
    with pytest.raises(ConfigError, match="rising"):
        ScoreLevel("state", ())


def test_a_baseline_of_a_total_cannot_fall() -> None:
    """A forecast is in pieces or days, not in ranks."""
    falling = Baseline("recency", "user_activity__time_since_last_all", descending=True)
    with pytest.raises(ConfigError, match="never descending"):
        replace(ENGAGEMENT, baselines=(falling,))
