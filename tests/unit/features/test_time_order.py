"""Rows in time order: keys keep the order of groups and instants, also of far apart ones."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from include.features.time_order import (
    Timeline,
    in_days,
    search,
    settle_ties,
    sorting,
    stable_order,
)

#: Microseconds of 0001-01-03 and 9999-12-29.
FIRST, LAST = -62_135_424_000_000_000, 253_402_041_600_000_000


@pytest.mark.parametrize("instants", [[5, 3, 9, 3, 7], [FIRST, 0, LAST, 0, LAST]])
@pytest.mark.parametrize("groups", [3, 1_000_000])
def test_places_are_found_by_binary_search(instants: list[int], groups: int) -> None:
    """Any instant finds its place among a group's rows, before, between and behind them."""
    at, of = np.array(instants), np.array([1, 0, 1, 1, 2])
    timeline = Timeline(at, groups)
    keys = np.sort(timeline.keys(of, at))
    rows = sorted(zip(of.tolist(), instants, strict=True))
    asked = [
        (g, t + d) for g in (-1, 0, 1, 2) for t in (*instants, FIRST, LAST) for d in (-1, 0, 1)
    ]
    places = np.searchsorted(keys, timeline.places(*np.array(asked).T))
    wanted = [0 if g < 0 else sum(row < (g, t) for row in rows) for g, t in asked]
    assert places.tolist() == wanted


@pytest.mark.parametrize("highest", [1, 2**16, 2**20, 2**40, 2**62])
def test_sorting_sorts(highest: int) -> None:
    """Keys of any size come out in order, among them many that differ in their last bits only."""
    rng = np.random.default_rng(1)
    keys = rng.integers(0, highest, 5000)
    keys[::3] = highest - keys[::3] % 7
    order = sorting(keys)
    assert np.array_equal(keys[order], np.sort(keys))
    assert np.array_equal(np.sort(order), np.arange(5000))


@pytest.mark.parametrize("size", [0, 10, 20_000])
def test_search_counts_smaller_keys(size: int) -> None:
    """Few and many places, in any order and of any sign, are found as one by one."""
    rng = np.random.default_rng(3)
    keys, places = np.sort(rng.integers(-9, 999, 500)), rng.integers(-99, 1_099, size)
    wanted = [int((keys < place).sum()) for place in places]
    assert search(keys, places).tolist() == wanted


def test_stable_order_keeps_equal_codes_in_order() -> None:
    """Codes of more than sixteen bits are sorted, equal ones stay in order."""
    rng = np.random.default_rng(2)
    codes = rng.integers(0, 100_000, 50_000).astype(np.int32)
    assert np.array_equal(stable_order(codes), np.argsort(codes, kind="stable"))


def test_ties_are_settled_by_columns_in_turn() -> None:
    """Only elements of equal key change places, by the first column that tells them apart."""
    table = pa.table({"id": ["b", "a", "c", "a", "z"], "source": ["s", "t", "s", "s", "a"]})
    rows = np.array([4, 0, 1, 2, 3])
    order, keys = np.array([0, 1, 2, 3, 4]), np.array([1, 2, 2, 2, 2])
    settled = settle_ties(order, keys, rows, table)
    assert rows[settled].tolist() == [4, 3, 1, 0, 2]
    assert settle_ties(order, np.arange(5), rows, table) is order


def test_days_are_those_that_python_divides() -> None:
    """To the last bit, also where microseconds are more than a float64 counts one by one."""
    draw = np.random.default_rng(0)
    ages = np.append(draw.integers(0, LAST - FIRST, 2_000), [0, 1, 2**53, 2**53 + 1, LAST - FIRST])
    assert in_days(ages).tolist() == [age / 86_400_000_000 for age in ages.tolist()]
    assert in_days(ages[:0]).tolist() == []
