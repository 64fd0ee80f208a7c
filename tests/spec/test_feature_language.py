"""Trends, attributes and support: what each gives."""

from __future__ import annotations

from datetime import timedelta

from feature_tables import Check

from include.features.conditions import missing, none_of, present
from include.features.declarations import (
    ITEM,
    USER_ITEM,
    Aggregation,
    AttributeLookup,
    Derived,
)
from include.features.expressions import Feature, Log1p, OnlyIf

DAY = timedelta(days=1)
CATEGORY = AttributeLookup("item", "category")
BASKETS = """
    user | at         | item
    ann  | 2024-03-01 | tea
    ann  | 2024-03-02 | ale
    ann  | 2024-03-03 | tea
    ann  | 2024-03-04 | ink
    ann  | 2024-03-05 | -
    bob  | 2024-03-05 | -
"""


def test_trend_of_events_and_of_amounts(check: Check) -> None:
    """A trend is the window less the one before it, over both: 1 is all new, -1 is all gone."""
    check(
        Aggregation("trend", windows=(2 * DAY,)),
        Aggregation("trend", "amount", (2 * DAY,)),
        events="""
            user | at               | amount
            ann  | 2024-03-01       | 100
            ann  | 2024-03-02       | 1
            ann  | 2024-03-04       | 2
            ann  | 2024-03-05 23:59 | 5
            ann  | 2024-03-06       | 9
            new  | 2024-03-05       | -
            old  | 2024-03-02       | 4
        """,
        expect="""
            user | as_of      | trend_2d | trend_amount_2d
            ann  | 2024-03-06 | 0.333333333333333333 | 0.75
            new  | 2024-03-06 | 1        | -
            old  | 2024-03-06 | -1       | -1
            eve  | 2024-03-06 | -        | -
        """,
    )


def test_late_events_count_in_no_earlier_trend(check: Check) -> None:
    """Both windows of a trend hold only what was known at `as_of`."""
    check(
        Aggregation("trend", windows=(2 * DAY,)),
        events="""
            user | at         | known
            ann  | 2024-03-02 | 2024-03-10
            ann  | 2024-03-05 | 2024-03-05
        """,
        expect="""
            user | as_of            | trend_2d
            ann  | 2024-03-06       | 1
            ann  | 2024-03-06 12:00 | 1
        """,
    )


FACTS = """
    entity | id  | name | value | from             | known
    user   | ann | plan | free  | 2024-01-01       | 2024-01-01
    user   | ann | plan | gold  | 2024-03-01       | 2024-03-05
    user   | ann | plan | -     | 2024-03-08       | 2024-03-08
    user   | ann | age  | 41    | 2024-01-01       | 2024-01-01
    user   | bob | age  | old   | 2024-01-01       | 2024-01-01
    item   | ann | plan | wrong | 2024-01-01       | 2024-01-01
"""


def test_attribute_as_a_feature(check: Check) -> None:
    """An attribute reads as the value valid and known at `as_of`, from its very instant on."""
    check(
        features=(AttributeLookup("user", "plan"), AttributeLookup("user", "age", "number")),
        derived=(Derived("log_age", Log1p(Feature("age"))),),
        events="",
        attributes=FACTS,
        expect="""
            user | as_of            | plan | age | log_age
            ann  | 2023-12-31       | -    | -   | -
            ann  | 2024-01-01       | free | 41  | 3.7376696182833684
            ann  | 2024-03-04 23:59 | free | 41  | 3.7376696182833684
            ann  | 2024-03-05       | gold | 41  | 3.7376696182833684
            ann  | 2024-03-08       | -    | 41  | 3.7376696182833684
            bob  | 2024-03-08       | -    | -   | -
            -    | 2024-03-08       | -    | -   | -
        """,
    )


def test_attribute_beside_aggregations_of_a_pair(check: Check) -> None:
    """A view of user and item can read attributes of either, and aggregate the pair's events."""
    check(
        Aggregation("count"),
        features=(CATEGORY,),
        entity=USER_ITEM,
        events=BASKETS,
        attributes="""
            entity | id  | name     | value  | from
            item   | tea | category | drinks | 2024-01-01
        """,
        expect="""
            user | item | as_of      | count_all | category
            ann  | tea  | 2024-03-06 | 2         | drinks
            bob  | tea  | 2024-03-06 | 0         | drinks
            bob  | ale  | 2024-03-06 | 0         | -
        """,
    )


def test_first_known_correction_wins(check: Check) -> None:
    """Of two values valid since the same instant, the one that became known last counts."""
    check(
        features=(AttributeLookup("item", "price", "number"),),
        entity=ITEM,
        events="",
        attributes="""
            entity | id  | name  | value | from       | known
            item   | tea | price | 9     | 2024-03-01 | 2024-03-04
            item   | tea | price | 7     | 2024-03-01 | 2024-03-01
        """,
        expect="""
            item | as_of            | price
            tea  | 2024-03-03 23:59 | 7
            tea  | 2024-03-04       | 9
        """,
    )


def test_present_is_true_of_values_alone(check: Check) -> None:
    """`present` is true of whatever can be read, and of no null and no NaN."""
    check(
        *(
            Aggregation("count", None, (7 * DAY,), (present(column),), label)
            for column, label in [
                ("amount", "priced"),
                ("item_id", "named"),
                ("properties.d", "told"),
            ]
        ),
        events="""
            user | at         | item | amount | properties
            ann  | 2024-03-01 | tea  | 0      | {"d": "x"}
            ann  | 2024-03-02 | -    | nan    | {"d": 1}
            ann  | 2024-03-03 | -    | -      | {"d": null}
        """,
        expect="""
            user | as_of      | priced_count_7d | named_count_7d | told_count_7d
            ann  | 2024-03-04 | 1               | 1              | 2
        """,
    )


def test_support_hides_what_rests_on_little(check: Check) -> None:
    """`OnlyIf` is null below its minimum and the operand's value from there on."""
    check(
        Aggregation("count"),
        Aggregation("mean", "amount"),
        derived=(Derived("usual", OnlyIf(Feature("mean_amount_all"), Feature("count_all"), 2)),),
        events="""
            user | at         | amount
            ann  | 2024-03-01 | 2
            ann  | 2024-03-02 | 4
        """,
        expect="""
            user | as_of      | count_all | mean_amount_all | usual
            ann  | 2024-03-02 | 1         | 2               | -
            ann  | 2024-03-03 | 2         | 3               | 3
        """,
    )


def test_none_of_and_missing(check: Check) -> None:
    """`none_of` needs a value that is none of those, `missing` needs none."""
    check(
        Aggregation("count", None, where=(none_of("item_id", "tea", "ink"),), label="other"),
        Aggregation("count", None, where=(missing("item_id"),), label="nameless"),
        Aggregation("count", None, where=(missing("amount"),), label="free"),
        Aggregation("count", None, where=(none_of("amount", 3),), label="odd"),
        events="""
            user | at         | item | amount
            ann  | 2024-03-01 | tea  | 1
            ann  | 2024-03-02 | ale  | nan
            ann  | 2024-03-03 | -    | 3
            ann  | 2024-03-04 | ink  | -
        """,
        expect="""
            user | as_of      | other_count_all | nameless_count_all | free_count_all | odd_count_all
            ann  | 2024-03-06 | 1               | 1                  | 2              | 1
        """,
    )
