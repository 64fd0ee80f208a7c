"""Trends, attributes, shared views and support: what each gives."""

from __future__ import annotations

from datetime import timedelta

from feature_tables import Check

from include.features.conditions import missing, none_of, present
from include.features.declarations import (
    ITEM,
    TENANT,
    USER_ITEM,
    Aggregation,
    AttributeLookup,
    Derived,
)
from include.features.expressions import Feature, Log1p, OnlyIf, Ratio

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


POOLED = """
    tenant | id | at         | known      | item | user | amount
    acme   | 1  | 2024-03-01 | 2024-03-01 | tea  | u1   | 1
    bolt   | 1  | 2024-03-02 | 2024-03-02 | tea  | u1   | 2
    core   | 1  | 2024-03-03 | 2024-03-09 | tea  | u1   | 4
    acme   | 2  | 2024-03-01 | 2024-03-01 | ale  | u2   | 8
    acme   | 3  | 2024-03-02 | 2024-03-02 | ale  | u2   | 8
"""


def test_shared_view_pools_tenants(check: Check) -> None:
    """A shared feature is null until enough tenants are known to have such events."""
    check(
        Aggregation("count"),
        Aggregation("sum", "amount", (8 * DAY,)),
        entity=ITEM,
        minimum_tenants=2,
        events=POOLED,
        expect="""
            item | as_of            | count_all | sum_amount_8d
            tea  | 2024-03-02       | -         | -
            tea  | 2024-03-04       | 2         | 3
            tea  | 2024-03-09 12:00 | 3         | 6
            tea  | 2024-03-11       | 3         | -
            ale  | 2024-03-11       | -         | -
            ink  | 2024-03-11       | -         | -
        """,
    )


OTHERS = """
    tenant | id | at         | item | amount | user | basket
    acme   | 1  | 2024-03-01 | tea  | 1      | u1   | b1
    acme   | 2  | 2024-03-01 | tea  | 1      | u2   | b2
    bolt   | 1  | 2024-03-02 | tea  | 2      | u1   | b1
    core   | 1  | 2024-03-03 | tea  | 4      | u1   | b1
    acme   | 3  | 2024-03-01 | ale  | 8      | u1   | b1
    bolt   | 2  | 2024-03-01 | ale  | 8      | u1   | b1
    acme   | 4  | 2024-03-01 | rye  | 8      | u1   | b3
"""


def test_whoever_reads_a_shared_value_faces_two_others(check: Check) -> None:
    """A value of one tenant or of two is null, in every window and of every function; that of three
    is told to whoever asks, one of them or not."""
    check(
        Aggregation("count", windows=(timedelta(hours=36), 8 * DAY)),
        Aggregation("sum", "amount", (8 * DAY,)),
        Aggregation("mean", "amount", (8 * DAY,)),
        Aggregation("distinct_count", "group_id", (8 * DAY,)),
        entity=ITEM,
        minimum_tenants=3,
        events=OTHERS,
        expect="""
            item|as_of           |count_36h|count_8d|sum_amount_8d|mean_amount_8d|distinct_count_group_id_8d
            tea |2024-03-02 12:00|-        |-       |-            |-             |-
            tea |2024-03-03 12:00|-        |4       |8            |2             |2
            tea |2024-03-09 12:00|-        |-       |-            |-             |-
            ale |2024-03-03 12:00|-        |-       |-            |-             |-
            rye |2024-03-03 12:00|-        |-       |-            |-             |-
        """,
    )


def test_shared_derived_feature_tells_no_more(check: Check) -> None:
    """What is derived from a value of too few tenants is null as well."""
    check(
        entity=ITEM,
        minimum_tenants=2,
        inputs=(Aggregation("sum", "amount"), Aggregation("count")),
        derived=(Derived("price", Ratio(Feature("sum_amount_all"), Feature("count_all"))),),
        events=POOLED,
        expect="""
            item | as_of      | price
            tea  | 2024-03-04 | 1.5
            ale  | 2024-03-04 | -
        """,
    )


def test_shared_view_counts_only_tenants_that_have_the_value(check: Check) -> None:
    """One tenant's amounts stay hidden among the events of others that tell no amount."""
    check(
        Aggregation("count"),
        Aggregation("sum", "amount"),
        Aggregation("sum", "quantity"),
        Aggregation("entropy", "group_id"),
        inputs=(Aggregation("mean", "amount"), Aggregation("trend", "amount", (8 * DAY,))),
        derived=(
            Derived("price", Log1p(Feature("mean_amount_all"))),
            Derived("growth", Log1p(Feature("trend_amount_8d"))),
        ),
        entity=ITEM,
        minimum_tenants=2,
        events="""
            tenant | id | at         | item | amount | quantity | basket
            acme   | 1  | 2024-03-01 | tea  | 7      | 1        | b1
            bolt   | 1  | 2024-03-02 | tea  | -      | 2        | -
            core   | 1  | 2024-03-02 | tea  | nan    | -        | -
        """,
        expect="""
            item|as_of     |count_all|sum_amount_all|sum_quantity_all|entropy_group_id_all|price|growth
            tea |2024-03-04|3        |-             |3               |-                   |-    |-
        """,
    )


def test_equal_users_of_two_tenants_are_two_events(check: Check) -> None:
    """Events of different tenants are never taken for one another, whatever their ids."""
    check(
        Aggregation("count"),
        Aggregation("trend", windows=(2 * DAY,)),
        entity=TENANT,
        minimum_tenants=2,
        events=POOLED,
        expect="""
            as_of      | count_all | trend_2d
            2024-03-04 | 4         | 0
            2024-03-09 | 5         | -
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
