"""What features are made of, by the declarations of every use case."""

from __future__ import annotations

import pytest

from include import use_cases
from include.features.origins import TIMING, by_origin, origins


@pytest.mark.parametrize("name", sorted(use_cases.names()))
def test_every_feature_has_an_origin(name: str) -> None:
    """Each column of every use case, those of a request included, is made of something."""
    case = use_cases.get(name)
    found = origins(case.features, case.request)
    assert set(case.feature_columns) <= set(found)
    assert all(found.values())


def test_all_that_is_made_of_a_column_has_it_as_origin() -> None:
    """Sums, means, ratios and logarithms of an amount are its; counts and recency are of timing."""
    sides = by_origin(origins(use_cases.get("churn").features))
    assert {"spend__log_amount_90d", "basket_size__amount_90d", "discount_share__amount_90d"} <= (
        set(sides["amount"])
    )
    assert "discount_share__lines_90d" in sides["properties.discount"]
    assert "category_mix__entropy_item_category_90d" in sides["item.category"]
    assert "recency__time_since_last_all" in sides[TIMING]
    assert not set(sides[TIMING]) & set(sides["amount"])


def test_a_condition_on_the_event_is_an_origin() -> None:
    """Counts of one event are made of that event, and a score of several is of all of them."""
    sides = by_origin(origins(use_cases.get("lead_scoring").features))
    assert "lead_intent__trial_started_count_all" in sides["event Trial Started"]
    assert "lead_engagement__score" in sides["event Trial Started"]
    assert "lead_engagement__score" in sides["event Page Viewed"]


def test_what_an_event_says_of_itself_is_the_columns() -> None:
    """A request's amount, and what is derived of it, is the amount; its hour is timing."""
    case = use_cases.get("fraud")
    found = origins(case.features, case.request)
    assert found["request__amount"] == {"amount"}
    assert found["request__amount_to_mean_90d"] == {"amount"}
    assert found["request__new_properties_device"] == {"properties.device"}
    assert found["request__local_hour"] == {TIMING}
