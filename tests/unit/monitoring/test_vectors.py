"""Comparing two makings of the same vectors."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from include.monitoring.skew_findings import Mismatch
from include.monitoring.vectors import compare


def found(before: pa.Array, after: pa.Array) -> list[Mismatch]:
    return compare(pa.table({"x": before}), pa.table({"x": after}), ["x"])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([1, 2, None], [1, 2, None]),
        ([1.0, None, 0.0], [1.0 + 5e-10, None, -0.0]),
        ([float("inf"), 1e300], [float("inf"), 1e300]),
        (["a", None, ""], ["a", None, ""]),
        ([2**53 + 1], [2**53 + 1]),
        ([3], [3.0]),
        ([], []),
    ],
)
def test_equal_vectors_do_not_differ(before: list[Any], after: list[Any]) -> None:
    """Null equals null, floats are equal to one part in 10⁹, and a whole number is its float."""
    assert found(pa.array(before), pa.array(after)) == []


@pytest.mark.parametrize(
    ("before", "after", "first", "difference"),
    [
        ([1, 2], [1, 3], 1, 1 / 3),
        ([2**53, 0], [2**53 + 1, 0], 0, 0.0),
        ([1.0, 100.0], [1.0, 100.0001], 1, pytest.approx(1e-6, rel=1e-3)),
        ([0.0, 5.0], [1e-300, 5.0], 0, 1.0),
        ([0, 1], [None, 1], 0, None),
        ([None, 1.5], [0.0, 1.5], 0, None),
        (["a", "b"], ["a", "B"], 1, None),
        ([None, "b"], ["", "b"], 0, None),
        (["1", "2"], [1, 2], 0, None),
    ],
)
def test_what_differs_is_counted_placed_and_measured(
    before: list[Any], after: list[Any], first: int, difference: Any
) -> None:
    """Large integers keep every bit, a zero is no null, and an empty text is none."""
    (mismatch,) = found(pa.array(before), pa.array(after))
    assert (mismatch.feature, mismatch.compared, mismatch.first) == ("x", 2, first)
    assert mismatch.mismatched == sum(a != b for a, b in zip(before, after, strict=True))
    assert mismatch.difference == difference


def test_a_feature_that_is_gone_or_new_differs_everywhere() -> None:
    """A declaration that lost or gained a feature makes other vectors."""
    logged, again = pa.table({"old": [1, 2]}), pa.table({"new": [1.0, 2.0]})
    assert compare(logged, again, ["old", "new"]) == [
        Mismatch("old", 2, 2, 0, None),
        Mismatch("new", 2, 2, 0, None),
    ]
