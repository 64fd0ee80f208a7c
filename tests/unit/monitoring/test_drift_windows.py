from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from include.monitoring.windows import align, bounded

FIRST, SECOND = datetime(2024, 5, 1, tzinfo=UTC), datetime(2024, 5, 8, tzinfo=UTC)


def test_a_users_feature_is_read_once_per_user_in_a_ranking() -> None:
    """Of a (user, item) table a user's feature has a value per user, an item's one per item."""
    table = pa.table(
        {
            "user_id": ["ann", "ann", "ann", "bob", "bob", "bob"],
            "item_id": ["tea", "rye", "oil"] * 2,
            "as_of": [FIRST] * 6,
            "visits": [5, 5, 5, 2, 2, 2],
            "price": [1.0, 2.0, 3.0] * 2,
            "bought": [1, 0, 4, 0, 2, 3],
        }
    )
    found = align(table, table, ("user_id", "item_id")).current
    assert found["visits"].values.tolist() == [5, 2]
    assert found["visits"].entities == 2
    assert found["price"].values.tolist() == [1, 2, 3]
    assert found["price"].entities == 2
    assert found["bought"].values.tolist() == [1, 0, 4, 0, 2, 3]
    assert found["bought"].entities == 2


def test_an_entity_with_many_rows_does_not_speak_for_many() -> None:
    """One user with 98 candidate items and two with one weigh as little more than one user."""
    users = ["ann"] * 98 + ["bob", "cat"]
    items = [f"i{n}" for n in range(98)] + ["i0", "i1"]
    table = pa.table({"user_id": users, "item_id": items, "bought": list(range(100))})
    windows = align(table, table, ("user_id", "item_id"))
    assert windows.current["bought"].entities == 1
    assert windows.current_entities == 3


def test_snapshots_of_one_user_are_one_entity() -> None:
    """A reference of two snapshots keeps both values of a user and counts the user once."""
    reference = pa.table(
        {"user_id": ["ann", "bob", "ann"], "as_of": [FIRST, FIRST, SECOND], "visits": [1, 2, 3]}
    )
    current = pa.table({"user_id": ["ann", "bob"], "as_of": [SECOND] * 2, "visits": [3, 4]})
    windows = align(reference, current, ("user_id",))
    assert windows.reference["visits"].values.tolist() == [1, 2, 3]
    assert windows.reference["visits"].entities == windows.reference_entities == 2


def test_codes_may_stand_for_identities_in_the_reference() -> None:
    """The reference's keys only tell rows apart, so integers do where the window has names."""
    reference = pa.table(
        {"user_id": [0, 1, 0], "as_of": [FIRST, FIRST, SECOND], "visits": [1, 2, 3]}
    )
    current = pa.table({"user_id": ["ann", "bob"], "as_of": [SECOND] * 2, "visits": [3, 4]})
    assert align(reference, current, ("user_id",)).reference_entities == 2


def test_a_reference_without_keys_weighs_no_more_than_the_window() -> None:
    """Rows of nobody in particular may all be snapshots of the same few entities."""
    reference = pa.table({"visits": list(range(500))})
    current = pa.table({"user_id": ["ann", "bob"], "as_of": [SECOND] * 2, "visits": [3, 4]})
    windows = align(reference, current, ("user_id",))
    assert windows.reference["visits"].entities == windows.reference_entities == 2


def test_columns_that_cannot_be_compared_are_listed() -> None:
    """Missing, all-null and ill-matched columns are skipped with a reason, the others are not."""
    reference = pa.table(
        {
            "void": pa.nulls(2, pa.float64()),
            "mixed": ["a", "b"],
            "fine": [1.0, 2.0],
            "kind": ["a", None],
        }
    )
    current = pa.table(
        {
            "user_id": ["ann", "bob"],
            "as_of": [FIRST] * 2,
            "new": [1, 2],
            "void": [1.0, 2.0],
            "mixed": [1.0, 2.0],
            "fine": [float("inf"), None],
            "kind": ["b", "b"],
        }
    )
    windows = align(reference, current, ("user_id",))
    assert windows.skipped == {
        "new": "not in the reference",
        "void": "all null in the reference",
        "mixed": "numbers in one window, texts in the other",
    }
    assert list(windows.current) == ["fine", "kind"]
    assert np.isnan(windows.current["fine"].values).all()


def test_an_empty_window_skips_every_column() -> None:
    """No rows is no error: there is nothing to compare, and nobody in the window."""
    reference = pa.table({"user_id": ["ann"], "as_of": [FIRST], "visits": [1]})
    windows = align(reference, reference.slice(0, 0), ("user_id",))
    assert windows.skipped == {"visits": "empty"}
    assert windows.current_entities == 0


def test_the_sample_is_bounded_seeded_and_in_order() -> None:
    """Of a large table always the same rows are looked at, a small one is taken whole."""
    table = pa.table({"x": list(range(1_000))})
    chosen = bounded(table, 100, seed=5)["x"].to_pylist()
    assert chosen == bounded(table, 100, seed=5)["x"].to_pylist() == sorted(set(chosen))
    assert len(chosen) == 100
    assert chosen != bounded(table, 100, seed=6)["x"].to_pylist()
    assert bounded(table, 1_000, seed=5) is table
