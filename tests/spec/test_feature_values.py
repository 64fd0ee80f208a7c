"""What each function, condition, lookup and expression gives."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest
from feature_tables import Check

from include.features.conditions import (
    Condition,
    at_least,
    below,
    between,
    equals,
    not_below,
    one_of,
)
from include.features.declarations import (
    ACCOUNT,
    ALL_HISTORY,
    Aggregation,
    AttributeLookup,
    Derived,
    Function,
)
from include.features.expressions import Constant, Difference, Feature, Log1p, Ratio

CATEGORY = (AttributeLookup("item", "category"),)
AMOUNTS = """
    user | at         | amount | item | basket
    ann  | 2024-03-01 | 4      | tea  | b1
    ann  | 2024-03-01 | -1     | milk | b1
    ann  | 2024-03-02 | -      | tea  | b2
    ann  | 2024-03-03 | nan    | -    | b3
    ann  | 2024-03-04 | inf    | tea  | -
    ann  | 2024-03-05 | 3      | ale  | b4
    bob  | 2024-03-05 | 7      | tea  | b5
    cat  | 2024-03-05 | nan    | -    | -
"""


@pytest.mark.parametrize(
    ("function", "value", "ann", "bob", "cat"),
    [
        ("count", None, 6, 1, 1),
        ("sum", "amount", 6, 7, 0),
        ("mean", "amount", 2, 7, "-"),
        ("min", "amount", -1, 7, "-"),
        ("max", "amount", 4, 7, "-"),
        ("std", "amount", math.sqrt(7), "-", "-"),
        ("first", "amount", 4, 7, "-"),
        ("last", "amount", 3, 7, "-"),
        ("first", "item_id", "tea", "tea", "-"),
        ("last", "item_id", "ale", "tea", "-"),
        ("distinct_count", "item_id", 3, 1, 0),
        ("entropy", "item_id", 0.6 * math.log(5 / 3) + 0.4 * math.log(5), 0, "-"),
        ("time_since_last", None, 1.5, 1.5, 1.5),
        ("time_since_first", None, 5.5, 1.5, 1.5),
        ("days_active", None, 5, 1, 1),
    ],
)
def test_function(
    check: Check, function: Function, value: str | None, ann: object, bob: object, cat: object
) -> None:
    """Every function skips null, NaN and infinite values; `std` is the sample's."""
    aggregation = Aggregation(function, value)
    check(
        aggregation,
        events=AMOUNTS,
        expect=f"""
            user | as_of            | {aggregation.feature(aggregation.windows[0])}
            ann  | 2024-03-06 12:00 | {ann}
            bob  | 2024-03-06 12:00 | {bob}
            cat  | 2024-03-06 12:00 | {cat}
        """,
    )


def test_sum_too_large_for_a_float_is_null(check: Check) -> None:
    """An overflow gives null, never an infinity."""
    check(
        Aggregation("sum", "amount"),
        Aggregation("mean", "amount"),
        Aggregation("std", "amount"),
        events="""
            user | at         | amount
            ann  | 2024-03-01 | 1.7e308
            ann  | 2024-03-02 | 1.7e308
        """,
        expect="""
            user | as_of      | sum_amount_all | mean_amount_all | std_amount_all
            ann  | 2024-03-06 | -              | -               | -
        """,
    )


def test_sum_may_be_too_large_on_the_way(check: Check) -> None:
    """What counts is the sum, not the order in which it is added up."""
    rows = [f"ann | 2024-03-0{n} | {amount}" for n, amount in enumerate(["9e307", "-9e307"] * 3, 1)]
    check(
        Aggregation("sum", "amount"),
        Aggregation("mean", "amount"),
        events="user | at | amount\n" + "\n".join([*rows[::2], *rows[1::2]]),
        expect="""
            user | as_of      | sum_amount_all | mean_amount_all
            ann  | 2024-03-10 | 0              | 0
            ann  | 2024-03-06 | 9e307          | 1.8e307
        """,
    )


PROPERTIES = """
    user | at               | amount | properties
    ann  | 2024-03-01 10:00 | 1      | {"discount": 2, "channel": "web"}
    ann  | 2024-03-01 11:00 | 2      | {"discount": "0.5", "channel": "shop"}
    ann  | 2024-03-01 12:00 | 3      | {"discount": true, "channel": true}
    ann  | 2024-03-01 13:00 | 4      | {"discount": NaN, "channel": ["web"]}
    ann  | 2024-03-01 14:00 | 5      | {"discount": 1e999, "channel": null}
    ann  | 2024-03-01 15:00 | 6      | ["discount"]
    ann  | 2024-03-01 16:00 | 7      | {"discount": 1
    ann  | 2024-03-01 17:00 | 8      | -
    ann  | 2024-03-01 18:00 | 9      | {"channel": "\\ud800", "discount": "two"}
"""


def test_property_reads_as_number_or_text(check: Check) -> None:
    """A property counts where it can be read as the use needs; broken JSON has no properties."""
    check(
        Aggregation("sum", "properties.discount"),
        Aggregation("last", "properties.discount"),
        Aggregation("distinct_count", "properties.channel"),
        events=PROPERTIES,
        expect="""
            user|as_of|sum_properties_discount_all|last_properties_discount_all|distinct_count_properties_channel_all
            ann|2024-03-06|2.5|0.5|3
        """,
    )


@pytest.mark.parametrize(
    ("condition", "amounts"),
    [
        (equals("amount", 3), 3),
        (equals("properties.channel", "web"), 1),
        (one_of("properties.channel", "web", "true", "none"), 4),
        (at_least("amount", 7), 24),
        (below("amount", 3), 3),
        (between("amount", 2, 4), 5),
        (at_least("properties.discount", 0.5), 3),
        (below("properties.discount", 100), 3),
        (between("local_hour", 10, 12), 3),
        (equals("local_weekday", 4), 45),
        (equals("local_weekday", 5), 0),
        (equals("item.category", "drinks"), 0),
        (equals("event", "Order Completed"), 45),
    ],
)
def test_condition(check: Check, condition: Condition, amounts: float) -> None:
    """A condition keeps the events for which it holds; a null satisfies none."""
    check(
        Aggregation("sum", "amount"),
        where=(condition,),
        lookups=CATEGORY,
        events=PROPERTIES,
        expect=f"""
            user | as_of      | sum_amount_all
            ann  | 2024-03-06 | {amounts}
        """,
    )


def test_not_below_holds_where_nothing_is_said(check: Check) -> None:
    """What has no value is not below anything; what is 0 is not below 0."""
    check(
        Aggregation("count"),
        where=(not_below("amount", 0),),
        events="""
            user | at         | amount
            ann  | 2024-03-01 | -
            ann  | 2024-03-01 | nan
            ann  | 2024-03-01 | 0
            ann  | 2024-03-01 | -0.0
            ann  | 2024-03-01 | 2
            bob  | 2024-03-01 | -0.01
        """,
        expect="""
            user | as_of      | count_all
            ann  | 2024-03-06 | 5
            bob  | 2024-03-06 | 0
        """,
    )


def test_net_count_subtracts_returns(check: Check) -> None:
    """Events of negative quantity or amount count against the others, and so do their values."""
    check(
        Aggregation("net_count"),
        Aggregation("net_count", "item_id", (ALL_HISTORY, timedelta(days=2))),
        Aggregation("net_count", None, (ALL_HISTORY,), (equals("item_id", "tea"),), "tea"),
        events="""
            user | at         | item | quantity | amount
            ann  | 2024-03-01 | tea  | 1        | 4
            ann  | 2024-03-02 | tea  | 2        | 8
            ann  | 2024-03-03 | ale  | -        | -
            ann  | 2024-03-04 | tea  | -3       | -12
            bob  | 2024-03-01 | tea  | -1       | -
            cat  | 2024-03-01 | ink  | 1        | -5
            cat  | 2024-03-02 | ink  | 0        | 0
            eve  | 2024-03-01 | tea  | -1       | -5
            eve  | 2024-03-01 | -    | 1        | 5
        """,
        expect="""
            user|as_of     |net_count_all|net_count_item_id_all|net_count_item_id_2d|tea_net_count_all
            ann |2024-03-05|2            |1                    |0                   |1
            bob |2024-03-05|-1           |-1                   |0                   |-1
            cat |2024-03-05|0            |0                    |0                   |0
            dan |2024-03-05|0            |0                    |0                   |0
            eve |2024-03-05|0            |-1                   |0                   |-1
        """,
    )


def test_conditions_of_stream_and_aggregation_both_hold(check: Check) -> None:
    """An aggregation's own conditions narrow its stream and no other aggregation."""
    check(
        Aggregation("count"),
        Aggregation("count", where=(below("amount", 8),), label="small"),
        where=(at_least("amount", 5),),
        events=PROPERTIES,
        expect="""
            user | as_of      | count_all | small_count_all
            ann  | 2024-03-06 | 5         | 3
        """,
    )


def test_lookup_gives_the_value_valid_then_and_known_then(check: Check) -> None:
    """An event carries the value valid at its timestamp, as it was known when it arrived."""
    check(
        Aggregation("first", "item.category"),
        Aggregation("last", "item.category"),
        Aggregation("distinct_count", "item.category"),
        lookups=CATEGORY,
        attributes="""
            entity | id  | name     | value  | from       | known
            item   | tea | category | drinks | 2024-01-01 | 2024-01-01
            item   | tea | category | herbs  | 2024-03-01 | 2024-03-04
            item   | tea | category | later  | 2024-04-01 | 2024-01-01
            item   | tea | colour   | green  | 2024-03-01 | 2024-01-01
            user   | tea | category | wrong  | 2024-03-01 | 2024-01-01
            item   | ale | category | -      | 2024-03-02 | 2024-01-01
            item   | ale | category | beer   | 2024-03-01 | 2024-01-01
        """,
        events="""
            user | item | at                         | known
            ann  | tea  | 2024-02-29 23:59:59.999999 | 2024-03-05
            bob  | tea  | 2024-03-01                 | 2024-03-03
            cat  | tea  | 2024-03-01                 | 2024-03-04
            dan  | tea  | 2023-12-31                 | 2024-03-04
            eve  | ale  | 2024-03-01                 | 2024-03-01
            eve  | ale  | 2024-03-02                 | 2024-03-02
            fay  | ink  | 2024-03-02                 | 2024-03-02
        """,
        expect="""
            user|as_of|first_item_category_all|last_item_category_all|distinct_count_item_category_all
            ann|2024-03-06|drinks|drinks|1
            bob|2024-03-06|drinks|drinks|1
            cat|2024-03-06|herbs|herbs|1
            dan|2024-03-06|-|-|0
            eve|2024-03-06|beer|beer|1
            fay|2024-03-06|-|-|0
        """,
    )


def test_lookup_follows_the_entity_of_its_kind(check: Check) -> None:
    """`account.plan` belongs to the event's account and reads as a number where it is one."""
    check(
        Aggregation("sum", "account.seats"),
        entity=ACCOUNT,
        lookups=(AttributeLookup("account", "seats"),),
        attributes="""
            entity  | id   | name  | value | from
            account | acme | seats | 5     | 2024-01-01
            account | zeta | seats | many  | 2024-01-01
        """,
        events="""
            account | at
            acme    | 2024-03-01
            acme    | 2024-03-02
            zeta    | 2024-03-02
        """,
        expect="""
            account | as_of      | sum_account_seats_all
            acme    | 2024-03-06 | 10
            zeta    | 2024-03-06 | 0
        """,
    )


def test_local_time_follows_the_tenants_clock(check: Check) -> None:
    """Hours and dates are the tenant's, on both sides of a change of the clocks."""
    check(
        Aggregation("count", where=(equals("local_hour", 1),), label="one"),
        Aggregation("count", where=(equals("local_weekday", 6),), label="sunday"),
        Aggregation("days_active"),
        timezone="America/New_York",
        events="""
            user | at
            ann  | 2024-11-03 05:30
            ann  | 2024-11-03 06:30
            ann  | 2024-11-03 07:30
            ann  | 2024-11-04 04:59
            bob  | 2024-03-10 06:59
            bob  | 2024-03-10 07:00
            bob  | 2024-03-11 03:59
            bob  | 2024-03-11 04:00
        """,
        expect="""
            user | as_of      | one_count_all | sunday_count_all | days_active_all
            ann  | 2024-12-01 | 2             | 4                | 1
            bob  | 2024-12-01 | 1             | 3                | 2
        """,
    )


def test_local_time_where_the_offset_changes_within_an_hour(check: Check) -> None:
    """Offsets of half an hour and changes at odd instants are followed to the microsecond."""
    check(
        Aggregation("days_active"),
        Aggregation("count", where=(equals("local_hour", 23),), label="late"),
        timezone="America/St_Johns",  # changed its clocks at 00:01 local time in 2010
        events="""
            user | at
            ann  | 2010-11-07 02:29
            ann  | 2010-11-07 02:30:59
            ann  | 2010-11-07 02:31
            ann  | 2010-11-07 03:29
        """,
        expect="""
            user | as_of      | days_active_all | late_count_all
            ann  | 2010-12-01 | 2               | 3
        """,
    )


def test_events_from_before_1970_are_like_others(check: Check) -> None:
    """An archive's days and hours are those of its clocks, and windows hold them."""
    check(
        Aggregation("count", windows=(timedelta(days=1), ALL_HISTORY)),
        Aggregation("days_active"),
        Aggregation("time_since_first"),
        Aggregation("sum", "amount"),
        Aggregation("count", where=(equals("local_hour", 23),), label="late"),
        timezone="America/New_York",
        events="""
            user | at               | amount
            ann  | 1965-07-01 03:30 | 1
            ann  | 1965-07-01 04:00 | 2
            ann  | 1965-12-31 23:30 | 4
        """,
        expect="""
            user|as_of           |count_1d|count_all|days_active_all|time_since_first_all|{}
            ann |1965-07-01 04:30|2       |2        |2              |0.041666666666666664|3|1
            ann |1970-01-01      |0       |3        |3              |1644.8541666666667  |7|1
        """.format("sum_amount_all|late_count_all"),
    )


def test_first_and_last_read_as_they_are_told(check: Check) -> None:
    """Unasked a property as a number and an attribute as a text; what cannot be read is skipped."""
    check(
        Aggregation("last", "properties.device"),
        Aggregation("first", "properties.device", read_as="text"),
        Aggregation("last", "properties.device", (timedelta(days=2),), read_as="text"),
        Aggregation("last", "item.grade", read_as="number"),
        Aggregation("first", "item.grade"),
        lookups=(AttributeLookup("item", "grade"),),
        attributes="""
            entity | id  | name  | value | from       | known
            item   | tea | grade | 3     | 2024-01-01 | 2024-01-01
            item   | ale | grade | good  | 2024-01-01 | 2024-01-01
        """,
        events="""
            user | at               | item | properties
            ann  | 2024-03-01 10:00 | ale  | {"device": "web"}
            ann  | 2024-03-01 11:00 | tea  | {"device": 7}
            ann  | 2024-03-02 10:00 | ale  | {"device": "phone"}
            ann  | 2024-03-02 11:00 | -    | {"device": ["tv"]}
            bob  | 2024-03-02 11:00 | ale  | {"device": "tv"}
        """,
        expect="""
            user|as_of     |last_properties_device_all|first_properties_device_all|{}
            ann |2024-03-03|7                         |web                        |phone|3|good
            ann |2024-03-05|7                         |web                        |-    |3|good
            bob |2024-03-03|-                         |tv                         |tv   |-|good
        """.format("last_properties_device_2d|last_item_grade_all|first_item_grade_all"),
    )


def test_derived_of_null_or_zero_is_null(check: Check) -> None:
    """A null operand, a zero denominator and a logarithm of nothing positive give null."""
    total, count = Feature("sum_amount_all"), Feature("count_all")
    check(
        Aggregation("sum", "amount"),
        Aggregation("count"),
        Aggregation("mean", "amount"),
        derived=(
            Derived("each", Ratio(total, count)),
            Derived("log", Log1p(total)),
            Derived("gap", Difference(total, Feature("mean_amount_all"))),
            Derived("less", Ratio(Constant(1), Difference(count, Constant(1)))),
        ),
        events="""
            user | at         | amount
            ann  | 2024-03-01 | 1
            ann  | 2024-03-02 | 5
            bob  | 2024-03-02 | -1
            cat  | 2024-03-02 | -
        """,
        expect=f"""
            user | as_of      | sum_amount_all | count_all | mean_amount_all | each | log | gap|less
            ann  | 2024-03-06 | 6              | 2         | 3       | 3  | {math.log(7)} | 3  | 1
            bob  | 2024-03-06 | -1             | 1         | -1      | -1 | -             | 0  | -
            cat  | 2024-03-06 | 0              | 1         | -       | 0  | 0             | -  | -
            dan  | 2024-03-06 | 0              | 0         | -       | -  | 0             | -  | -1
        """,
    )


def test_derived_features_read_those_before_them(check: Check) -> None:
    """A ratio of a difference, each with a name of its own."""
    total, count = Feature("sum_amount_all"), Feature("count_all")
    check(
        inputs=(Aggregation("sum", "amount"), Aggregation("count")),
        derived=(
            Derived("more", Difference(count, Constant(1))),
            Derived("each", Ratio(total, Feature("more"))),
            Derived("log", Log1p(Feature("each"))),
        ),
        events="""
            user | at         | amount
            ann  | 2024-03-01 | 1
            ann  | 2024-03-02 | 5
            bob  | 2024-03-02 | 2
        """,
        expect=f"""
            user | as_of      | more | each | log
            ann  | 2024-03-06 | 1    | 6    | {math.log(7)}
            bob  | 2024-03-06 | 0    | -    | -
        """,
    )


def test_windows_of_hours_and_seconds(check: Check) -> None:
    """A window may be any whole number of seconds and is named by its largest unit."""
    check(
        Aggregation("count", windows=(timedelta(hours=36), timedelta(seconds=90))),
        events="""
            user | at
            ann  | 2024-03-01 12:00
            ann  | 2024-03-02 23:58:29
            ann  | 2024-03-02 23:58:30
        """,
        expect="""
            user | as_of      | count_36h | count_90s
            ann  | 2024-03-03 | 3         | 1
        """,
    )
