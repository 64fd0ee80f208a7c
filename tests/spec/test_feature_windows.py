"""What a window sees: edges, late events, order, entities without history."""

from __future__ import annotations

from datetime import timedelta

from feature_tables import Check

from include.features.declarations import ALL_HISTORY, ITEM, TENANT, USER_ITEM, Aggregation

DAY = timedelta(days=1)
COUNT = Aggregation("count", windows=(DAY,))


def test_window_is_half_open(check: Check) -> None:
    """A window holds the event at its start and not the one at `as_of`."""
    check(
        COUNT,
        events="""
            user | at
            ann  | 2024-03-01 23:59:59.999999
            ann  | 2024-03-02
            ann  | 2024-03-02 23:59:59.999999
            ann  | 2024-03-03
        """,
        expect="""
            user | as_of      | count_1d
            ann  | 2024-03-03 | 2
            ann  | 2024-03-02 | 1
        """,
    )


def test_all_history_has_no_lower_bound(check: Check) -> None:
    """`ALL_HISTORY` reaches back to the first event, also beside shorter windows."""
    check(
        Aggregation("count", windows=(DAY, ALL_HISTORY)),
        events="""
            user | at
            ann  | 1970-01-01
            ann  | 2024-03-02
        """,
        expect="""
            user | as_of      | count_1d | count_all
            ann  | 2024-03-03 | 1        | 2
            ann  | 1970-01-01 | 0        | 0
        """,
    )


def test_late_event_never_leaks_into_the_past(check: Check) -> None:
    """An event counts from its `created_timestamp` on, that instant included."""
    check(
        Aggregation("count"),
        Aggregation("last", "amount"),
        events="""
            user | at         | known            | amount
            ann  | 2024-03-01 | 2024-03-01       | 1
            ann  | 2024-03-02 | 2024-03-05 12:00 | 2
        """,
        expect="""
            user | as_of                      | count_all | last_amount_all
            ann  | 2024-03-03                 | 1         | 1
            ann  | 2024-03-05 11:59:59.999999 | 1         | 1
            ann  | 2024-03-05 12:00           | 2         | 2
        """,
    )


def test_a_corrected_event_counts_in_one_version_at_any_instant(check: Check) -> None:
    """A version counts from when it became known until it is replaced, that instant excluded."""
    check(
        Aggregation("count", windows=(2 * DAY, ALL_HISTORY)),
        Aggregation("sum", "amount"),
        Aggregation("max", "amount"),
        Aggregation("last", "amount"),
        Aggregation("distinct_count", "item_id"),
        events="""
            id | user | item | at         | known      | replaced   | amount
            a  | ann  | i    | 2024-03-01 | 2024-03-01 | -          | 1
            b  | ann  | j    | 2024-03-02 | 2024-03-02 | 2024-03-05 | 9
            b  | ann  | i    | 2024-03-02 | 2024-03-05 | 2024-03-07 | 2
            b  | ann  | j    | 2024-03-02 | 2024-03-07 | -          | 9
            c  | bob  | i    | 2024-03-02 | 2024-03-02 | -          | 4
        """,
        expect="""
            user | as_of                      | count_2d | count_all | sum_amount_all | max_amount_all | last_amount_all | distinct_count_item_id_all
            ann  | 2024-03-03                 | 2        | 2         | 10             | 9              | 9               | 2
            ann  | 2024-03-04 23:59:59.999999 | 0        | 2         | 10             | 9              | 9               | 2
            ann  | 2024-03-05                 | 0        | 2         | 3              | 2              | 2               | 1
            ann  | 2024-03-06 23:59:59.999999 | 0        | 2         | 3              | 2              | 2               | 1
            ann  | 2024-03-07                 | 0        | 2         | 10             | 9              | 9               | 2
            bob  | 2024-03-06                 | 0        | 1         | 4              | 4              | 4               | 1
        """,
    )


def test_a_correction_may_move_an_event_to_another_entity_and_time(check: Check) -> None:
    """It leaves whom it was about, and a window that it was in, at the instant it is replaced."""
    check(
        Aggregation("count", windows=(2 * DAY, ALL_HISTORY)),
        Aggregation("time_since_last"),
        events="""
            id | user | at         | known      | replaced
            a  | ann  | 2024-03-01 | 2024-03-01 | 2024-03-03
            a  | bob  | 2024-03-02 | 2024-03-03 | 2024-03-05
            a  | bob  | 2024-03-04 | 2024-03-05 | -
        """,
        expect="""
            user | as_of            | count_2d | count_all | time_since_last_all
            ann  | 2024-03-02       | 1        | 1         | 1
            ann  | 2024-03-03       | 0        | 0         | -
            bob  | 2024-03-02 23:00 | 0        | 0         | -
            bob  | 2024-03-03       | 1        | 1         | 1
            bob  | 2024-03-04 12:00 | 0        | 1         | 2.5
            bob  | 2024-03-05       | 1        | 1         | 1
        """,
    )


def test_a_correction_known_before_it_happens_never_shows_the_old_value(check: Check) -> None:
    """An event that is replaced before it has happened counts as it was corrected alone."""
    check(
        Aggregation("sum", "amount"),
        events="""
            id | user | at         | known            | replaced         | amount
            a  | ann  | 2024-03-02 | 2024-03-01       | 2024-03-01 12:00 | 1
            a  | ann  | 2024-03-02 | 2024-03-01 12:00 | -                | 2
        """,
        expect="""
            user | as_of            | sum_amount_all
            ann  | 2024-03-01 13:00 | 0
            ann  | 2024-03-02       | 0
            ann  | 2024-03-03       | 2
        """,
    )


def test_every_spine_row_comes_back_once_in_order(check: Check) -> None:
    """Unknown entities, repeated rows and null join keys each give their row, in spine order."""
    check(
        COUNT,
        events="""
            user | at
            ann  | 2024-03-02
            -    | 2024-03-02
            bob  | 2024-03-02
        """,
        expect="""
            user | as_of      | count_1d
            zoe  | 2024-03-03 | 0
            bob  | 2024-03-03 | 1
            -    | 2024-03-03 | 0
            ann  | 2024-03-03 | 1
            bob  | 2024-03-03 | 1
            ann  | 2024-01-01 | 0
        """,
    )


def test_nothing_gives_zero_or_null(check: Check) -> None:
    """Counts and sums of nothing are 0; every other function of nothing is null."""
    check(
        *(Aggregation(f, windows=(DAY,)) for f in ("count", "days_active")),
        Aggregation("distinct_count", "item_id", (DAY,)),
        *(Aggregation(f, "amount", (DAY,)) for f in ("sum", "mean", "min", "max", "std", "last")),
        Aggregation("first", "item_id", (DAY,)),
        Aggregation("entropy", "item_id", (DAY,)),
        Aggregation("time_since_last", windows=(DAY,)),
        events="",
        expect="""
            user|as_of|count_1d|days_active_1d|distinct_count_item_id_1d|sum_amount_1d|mean_amount_1d|min_amount_1d|max_amount_1d|std_amount_1d|last_amount_1d|first_item_id_1d|entropy_item_id_1d|time_since_last_1d
            ann|2024-03-03|0|0|0|0|-|-|-|-|-|-|-|-
        """,
    )


def test_empty_spine_gives_the_columns_and_no_row(check: Check) -> None:
    """A spine without rows is answered with no row."""
    check(
        COUNT,
        Aggregation("last", "item_id"),
        events="""
            user | at
            ann  | 2024-03-02
        """,
        expect="user | as_of | count_1d | last_item_id_all",
    )


def test_first_and_last_follow_time_then_event_id(check: Check) -> None:
    """Events of one instant are ordered by `event_id`, then by `source`."""
    check(
        Aggregation("first", "item_id"),
        Aggregation("last", "item_id"),
        Aggregation("last", "amount"),
        events="""
            id | source | user | at         | item  | amount
            b  | shop   | ann  | 2024-03-01 | tea   | 2
            a  | shop   | ann  | 2024-03-01 | milk  | 1
            b  | web    | ann  | 2024-03-01 | cocoa | 3
        """,
        expect="""
            user | as_of      | first_item_id_all | last_item_id_all | last_amount_all
            ann  | 2024-03-03 | milk              | cocoa            | 3
        """,
    )


def test_only_named_events_are_in_the_stream(check: Check) -> None:
    """A stream holds the events with one of its names and no other."""
    check(
        COUNT,
        names=("Order Completed", "Order Refunded"),
        events="""
            user | at         | event
            ann  | 2024-03-02 | Order Completed
            ann  | 2024-03-02 | Order Refunded
            ann  | 2024-03-02 | Product Viewed
        """,
        expect="""
            user | as_of      | count_1d
            ann  | 2024-03-03 | 2
        """,
    )


def test_entity_of_two_keys_needs_both(check: Check) -> None:
    """A user-item row sees the events with both its keys, none with a null in either."""
    check(
        COUNT,
        entity=USER_ITEM,
        events="""
            user | item | at
            ann  | tea  | 2024-03-02
            ann  | milk | 2024-03-02
            bob  | tea  | 2024-03-02
            ann  | -    | 2024-03-02
            -    | tea  | 2024-03-02
        """,
        expect="""
            user | item | as_of      | count_1d
            ann  | tea  | 2024-03-03 | 1
            bob  | milk | 2024-03-03 | 0
            ann  | -    | 2024-03-03 | 0
        """,
    )


def test_view_of_fewer_keys_joins_by_itself(check: Check) -> None:
    """An item view on a user-item spine repeats the item's value for each user."""
    check(
        COUNT,
        entity=ITEM,
        events="""
            user | item | at
            ann  | tea  | 2024-03-02
            bob  | tea  | 2024-03-02
        """,
        expect="""
            user | item | as_of      | count_1d
            ann  | tea  | 2024-03-03 | 2
            zoe  | tea  | 2024-03-03 | 2
            zoe  | milk | 2024-03-03 | 0
        """,
    )


def test_tenant_entity_sees_every_event(check: Check) -> None:
    """Without join keys every event of the tenant matches, even one that names nobody."""
    check(
        COUNT,
        entity=TENANT,
        events="""
            user | at
            ann  | 2024-03-02
            -    | 2024-03-02
        """,
        expect="""
            as_of      | count_1d
            2024-03-03 | 2
            2024-03-02 | 0
        """,
    )
