"""The last-known join: what was valid and known at an instant, and nothing later."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from include.errors import ConfigError, UnknownNameError
from include.features.asof import Facts, last_at_most, latest_known
from include.storage.canonical import TIMESTAMP

START = datetime(2024, 1, 1, tzinfo=UTC)


def day(number: float) -> datetime:
    return START + timedelta(days=number)


def spine(*rows: tuple[str | None, float]) -> pa.Table:
    users, days = zip(*rows, strict=True) if rows else ((), ())
    return pa.table(
        {
            "user_id": pa.array(users, pa.string()),
            "as_of": pa.array([day(d) for d in days], TIMESTAMP),
        }
    )


def facts(*rows: tuple[str | None, float, float, Any]) -> pa.Table:
    users, valid, known, values = zip(*rows, strict=True) if rows else ((), (), (), ())
    return pa.table(
        {
            "user_id": pa.array(users, pa.string()),
            "valid_from": pa.array([day(d) for d in valid], TIMESTAMP),
            "created_timestamp": pa.array([day(d) for d in known], TIMESTAMP),
            "plan": pa.array(values, pa.string()),
        }
    )


def plans(asked: pa.Table, known: pa.Table) -> list[str | None]:
    found: list[str | None] = latest_known(asked, known, ("user_id",))["plan"].to_pylist()
    return found


def test_every_spine_row_comes_back_in_order() -> None:
    """Also those of nobody, of the unknown and of those of whom only the future is known."""
    asked = spine(("bob", 5), ("ann", 5), (None, 5), ("eve", 5), ("bob", 5))
    known = facts(("ann", 1, 1, "free"), ("eve", 9, 9, "paid"), (None, 1, 1, "lost"))
    result = latest_known(asked, known, ("user_id",))
    assert result.select(["user_id", "as_of"]).equals(asked)
    assert result["plan"].to_pylist() == [None, "free", None, None, None]


def test_the_instant_itself_counts() -> None:
    """A fact counts from the microsecond at which it is both valid and known."""
    known = facts(("ann", 1, 3, "free"), ("ann", 4, 2, "paid"))
    instants = (2.9, 3, 3.9, 4)
    asked = spine(*(("ann", d) for d in instants))
    assert plans(asked, known) == [None, "free", "free", "paid"]


def test_what_became_known_late_does_not_hide_what_was_known() -> None:
    """Of a run of later facts that were not yet known, none counts and none is in the way."""
    late = [("ann", 2 + n / 10, 50 + n, f"late{n}") for n in range(9)]
    known = facts(("bob", 0, 0, "other"), ("ann", 1, 1, "free"), *late)
    assert plans(spine(("ann", 40), ("ann", 53), ("ann", 99)), known) == ["free", "late3", "late8"]


def test_the_later_known_settles_equal_validity() -> None:
    """A correction replaces what was valid from the same instant, once it is known."""
    known = facts(("ann", 1, 5, "corrected"), ("ann", 1, 1, "wrong"), ("ann", 1, 5, "last row"))
    assert plans(spine(("ann", 4), ("ann", 5)), known) == ["wrong", "last row"]


def test_a_null_value_is_a_value() -> None:
    """The latest fact is taken even where it says null."""
    known = facts(("ann", 1, 1, "free"), ("ann", 2, 2, None))
    assert plans(spine(("ann", 3)), known) == [None]


def test_several_keys_and_columns_join_with_their_types() -> None:
    """Keys of any type join together; integers stay integers where a row has none."""
    asked = pa.table(
        {
            "shop": [1, 1, 2, None],
            "item": ["tea", "ale", "tea", "tea"],
            "as_of": pa.array([day(3)] * 4, TIMESTAMP),
        }
    )
    known = pa.table(
        {
            "item": ["tea", "tea", "ale"],
            "shop": [1, 2, 2],
            "stock": pa.array([7, 8, 9], pa.int32()),
            "price": [0.5, 1.5, 2.5],
            "at": pa.array([day(1)] * 3, TIMESTAMP),
            "known": pa.array([day(1)] * 3, TIMESTAMP),
        }
    )
    result = latest_known(asked, known, ("shop", "item"), valid="at", known="known")
    assert result.column_names == ["shop", "item", "as_of", "stock", "price"]
    assert result["stock"].to_pylist() == [7, None, 8, None]
    assert result.schema.field("stock").type == pa.int32()


def test_nothing_joins_with_nothing() -> None:
    """Empty tables give empty or null columns."""
    assert plans(spine(), facts(("ann", 1, 1, "free"))) == []
    assert plans(spine(("ann", 1)), facts()) == [None]


def test_missing_and_repeated_columns_are_named() -> None:
    """A column that is not there, or there twice, is refused by name."""
    asked, known = spine(("ann", 1)), facts(("ann", 1, 1, "free"))
    with pytest.raises(UnknownNameError, match="valid_form"):
        latest_known(asked, known, ("user_id",), valid="valid_form")
    with pytest.raises(UnknownNameError, match="account_id"):
        latest_known(asked, known, ("account_id",))
    with pytest.raises(ConfigError, match="plan"):
        latest_known(asked.append_column("plan", pa.array(["x"])), known, ("user_id",))


def test_agrees_with_a_search_through_everything() -> None:
    """Random facts with ties, late knowledge and several groups are found as by a full search."""
    rng = random.Random(5)
    for _ in range(200):
        size = rng.randrange(40)
        group = [rng.randrange(-1, 3) for _ in range(size)]
        valid = [rng.randrange(8) for _ in range(size)]
        known = [v + rng.choice([-2, 0, 0, 1, 5, 9]) for v in valid]
        asked = [
            (rng.randrange(-1, 4), rng.randrange(-1, 9), rng.randrange(-1, 15)) for _ in range(20)
        ]
        order = Facts(np.array(group, int), np.array(valid, int), np.array(known, int))
        found = order.latest(*(np.array(part) for part in zip(*asked, strict=True)))
        for (of, at, known_at), row in zip(asked, found, strict=True):
            usable = [
                (valid[n], known[n], n)
                for n in range(size)
                if group[n] == of >= 0 and valid[n] <= at and known[n] <= known_at
            ]
            assert row == max(usable, default=(0, 0, -1))[2]


def test_last_at_most_searches_any_length() -> None:
    """The tree of minima finds the last small enough value before any position."""
    rng = np.random.default_rng(3)
    for size in (0, 1, 2, 3, 7, 8, 9, 31, 100):
        values = rng.integers(0, 10, size)
        behind, limits = rng.integers(0, size + 1, 50), rng.integers(-1, 11, 50)
        wanted = [
            max((n for n in range(end) if values[n] <= limit), default=-1)
            for end, limit in zip(behind, limits, strict=True)
        ]
        assert last_at_most(values, behind, limits).tolist() == wanted
