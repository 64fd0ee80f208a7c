"""Rows of groups in time order, as one sorted integer per row."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

#: Whole numbers, mostly int64; positions may be int32.
Integers: TypeAlias = npt.NDArray[Any]

_DAY: Final = 86_400_000_000
_WHOLE: Final = 1 << 53  #: up to here every integer is a float64
_LARGEST_KEY: Final = 1 << 62
_DIGIT: Final = 16
_MANY: Final = 10_000


def in_days(microseconds: Integers) -> npt.NDArray[np.float64]:
    """The nearest float64 to so many microseconds in days."""
    days: npt.NDArray[np.float64] = microseconds / _DAY
    far = microseconds > _WHOLE  # than 285 years, where an integer is rounded before the division
    if far.any():
        days[far] = [value / _DAY for value in microseconds[far].tolist()]
    return days


class Timeline:
    """Turns (group, instant) into an integer whose order is that of groups, then of instants.

    Instants that no row has fall between those that rows have, so that a binary search over the
    rows' keys finds the place of any instant. Negative groups come before all others.
    """

    def __init__(self, instants: Integers, groups: int) -> None:
        """`instants` of all rows, in microseconds; rows' groups are below `groups`."""
        self._low = int(instants.min()) if len(instants) else 0
        self._high = int(instants.max()) if len(instants) else 0
        self._width = self._high - self._low + 2
        self._ticks: Integers | None = None
        if self._width * (groups + 1) > _LARGEST_KEY:
            self._ticks = np.unique(instants)
            self._width = len(self._ticks) + 1

    def keys(self, groups: Integers, instants: Integers) -> Integers:
        """One int64 for each pair of a row."""
        if self._ticks is not None:
            return self.places(groups, instants)
        keys: Integers = groups.astype(np.int64)
        keys *= self._width
        keys += instants
        keys -= self._low
        return keys

    def places(self, groups: Integers, instants: Integers) -> Integers:
        """One int64 for any pair; the rows at or after it are those whose keys are not less."""
        if self._ticks is None:
            offsets = np.clip(instants, self._low, self._high + 1)
            offsets -= self._low
        else:
            offsets = np.searchsorted(self._ticks, instants)
        offsets += groups * np.int64(self._width)
        return offsets


def sorting(keys: Integers) -> Integers:
    """An order that sorts non-negative integers.

    A radix sort by their highest 32 bits, which leaves little to the merge sort that ends it.
    """
    bits = int(keys.max(initial=0)).bit_length()
    highest = np.empty(len(keys), dtype=np.uint32)
    np.right_shift(keys, max(bits - 2 * _DIGIT, 0), out=highest, casting="unsafe")
    order = stable_order(highest)
    nearly = keys[order]
    if bool((nearly[1:] < nearly[:-1]).any()):
        order = order[np.argsort(nearly, kind="stable")]
    return order


def search(keys: Integers, places: Integers) -> Integers:
    """How many of the sorted keys are less than each place.

    Many places are sorted first, which leaves neighbouring searches in the same part of the keys.
    """
    if len(places) < _MANY:
        return np.searchsorted(keys, places)
    order = sorting(places - places.min())
    ranks = np.empty(len(places), dtype=np.int64)
    ranks[order] = np.searchsorted(keys, places[order])
    return ranks


def stable_order(codes: Integers) -> Integers:
    """The stable order of small non-negative integers: radix sort, 16 bits at a time."""
    bits = int(codes.max(initial=0)).bit_length()
    order = np.argsort(codes.astype(np.uint16), kind="stable")
    for shift in range(_DIGIT, bits, _DIGIT):
        digits = (codes >> shift).astype(np.uint16)[order]
        order = order[np.argsort(digits, kind="stable")]
    return order


def settle_ties(order: Integers, keys: Integers, rows: Integers, table: pa.Table) -> Integers:
    """The order with elements of equal key sorted by the columns of `table`, first column first.

    Args:
        order: of elements, by key.
        keys: of the elements in that order.
        rows: of each element, its row in `table`.
    """
    tied = keys[1:] == keys[:-1]
    places = np.flatnonzero(np.append(tied, False) | np.append(False, tied))
    if not len(places):
        return order
    tied_rows = table.take(pa.array(rows[order[places]]))
    tied_rows = tied_rows.append_column("tie", pa.array(keys[places]))
    by = [(name, "ascending") for name in ("tie", *table.column_names)]
    settled = order.copy()
    settled[places] = order[places][pc.sort_indices(tied_rows, by).to_numpy()]
    return settled
