from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from include import use_cases
from include.features.conditions import equals
from include.features.declarations import (
    ALL_HISTORY,
    FUNCTIONS,
    USER,
    Aggregation,
    AttributeLookup,
    Derived,
    EventStream,
)
from include.features.expressions import Constant, Difference, Feature, Log1p, OnlyIf, Ratio
from include.features.reach import NOTHING, Reach, of_view, reaches
from include.features.views import FeatureView
from include.use_cases.declaration import Label
from include.use_cases.reach import column_reaches, furthest_of

DAYS_7, DAYS_90 = timedelta(days=7), timedelta(days=90)
ORDERS = EventStream(("Ordered",), lookups=(AttributeLookup("item", "category"),))


def view(*aggregations: Aggregation, **also: object) -> FeatureView:
    return FeatureView("v", USER, ORDERS, aggregations, **also)  # type: ignore[arg-type]


def aggregation(function: str, window: timedelta) -> Aggregation:
    value = {"number": "amount", "text": "item_id", "any": "amount", None: None}[
        FUNCTIONS[function]
    ]
    share = {"top": 1, "categories": ("a",)} if function == "share" else {}
    return Aggregation(function, value, (window,), **share)  # type: ignore[arg-type]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_window_reaches_as_far_as_it_is_long(function: str) -> None:
    """Every function over a window looks back by it, a trend by twice as much; none grows."""
    for found in of_view(view(aggregation(function, DAYS_7))).values():
        assert found.window == (2 * DAYS_7 if function == "trend" else DAYS_7)
        assert (found.degree, found.events) == (0, ("Ordered",))


@pytest.mark.parametrize("function", [name for name in FUNCTIONS if name != "trend"])
def test_all_of_history_is_reached_and_counts_of_it_grow(function: str) -> None:
    """Over all history, what counts, sums or dates grows with it; what averages does not."""
    sums = ("count", "sum", "distinct_count", "net_count", "days_active", "time_since_first")
    grows = function in sums
    for found in of_view(view(aggregation(function, ALL_HISTORY))).values():
        assert (found.window, found.degree) == (ALL_HISTORY, int(grows))


@pytest.mark.parametrize(
    ("expression", "window", "degree"),
    [
        (Ratio(Feature("count_all"), Feature("time_since_first_all")), ALL_HISTORY, 0),
        (Ratio(Feature("count_7d"), Feature("count_90d")), DAYS_90, 0),
        (Ratio(Feature("count_7d"), Feature("count_all")), ALL_HISTORY, -1),
        (Difference(Feature("count_90d"), Feature("count_7d")), DAYS_90, 0),
        (Difference(Feature("count_all"), Feature("count_7d")), ALL_HISTORY, 1),
        (Log1p(Feature("count_all")), ALL_HISTORY, 1),
        (OnlyIf(Feature("count_7d"), Feature("time_since_first_all"), 90), ALL_HISTORY, 0),
        (Ratio(Feature("count_7d"), Constant(4)), DAYS_7, 0),
    ],
)
def test_a_derived_feature_reaches_as_far_as_what_it_reads(
    expression: Ratio, window: timedelta, degree: int
) -> None:
    """Whatever it is called, it grows as its parts do: ratios of two that grow do not."""
    declared = view(
        Aggregation("count", windows=(DAYS_7, DAYS_90, ALL_HISTORY)),
        Aggregation("time_since_first"),
        derived=(Derived("innocent", expression),),
    )
    found = of_view(declared)["v__innocent"]
    assert (found.window, found.degree) == (window, degree)


def test_lookups_and_attributes_say_so() -> None:
    """What an event looks up is named; an attribute of the entity reads nothing of the past."""
    looked_up = of_view(
        view(
            Aggregation("entropy", "item.category", (DAYS_7,)),
            Aggregation("count", None, (DAYS_7,), (equals("item.category", "x"),), "some"),
        )
    )
    assert {one.attributes for one in looked_up.values()} == {("item.category",)}
    fact = FeatureView("v", USER, attributes=(AttributeLookup("user", "plan"),))
    assert of_view(fact) == {"v__plan": Reach(NOTHING)}


@pytest.mark.parametrize("name", sorted(use_cases.names()))
def test_every_scored_column_of_every_template_has_a_reach(name: str) -> None:
    """None is forgotten, those of a request included."""
    use_case = use_cases.get(name)
    found = column_reaches(use_case)
    assert set(found) >= {*use_case.feature_columns, *use_case.features.columns}
    assert furthest_of(found, use_case.columns).window == ALL_HISTORY


def test_who_is_scored_is_part_of_it() -> None:
    """A week's window needs as much history as decides who is active, and what is a candidate."""
    churn, ranking = (column_reaches(use_cases.get(n)) for n in ("churn", "recommendation"))
    assert churn["frequency__count_7d"].window == timedelta(days=60)
    assert churn["regularity__trend"].window == timedelta(days=90)
    assert ranking["frequency__count_7d"].window == timedelta(days=60)
    assert ranking["item_popularity__net_count_7d"].window == ALL_HISTORY  # items had at any time
    final = replace(
        use_cases.get("churn"), label=Label("present", DAYS_7, final=("Order Completed",))
    )
    assert column_reaches(final)["frequency__count_7d"].window == ALL_HISTORY


def test_what_an_event_brings_along_has_no_history_but_news() -> None:
    """An amount is what it is, but for the weekdays of those who pay; whether a device is new
    depends on all that came before."""
    found = column_reaches(use_cases.get("fraud"))
    assert found["request__amount"].window == DAYS_7
    assert found["request__local_weekday"].window == DAYS_7
    assert found["payment_velocity__count_1h"].window == DAYS_7
    assert found["request__new_account_id"].window == ALL_HISTORY
    assert found["request__amount_to_mean_90d"].window == DAYS_90


def test_the_shipped_features_that_grow() -> None:
    """Of churn and recommendation: counts, sums and ages of all history, and no ratio of them."""
    growing = {
        name
        for case in ("churn", "recommendation")
        for name, one in reaches(use_cases.get(case).features).items()
        if one.degree
    }
    assert growing == {
        "frequency__days_active_all",
        "tenure__time_since_first_all",
        "user_item__net_count_all",
        "user_item__bought_days_active_all",
        "user_item__sum_quantity_all",
        "user_item__bought_time_since_first_all",
    }
