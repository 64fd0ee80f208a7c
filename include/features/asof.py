"""The last fact known at an instant: of facts with a time of validity and a time of knowledge."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from include.features.time_order import Integers, Timeline, search, settle_ties, sorting


class Facts:
    """Facts of groups, in the order (group, valid, known, whatever settles a tie)."""

    def __init__(
        self, groups: Integers, valid: Integers, known: Integers, ties: pa.Table | None = None
    ) -> None:
        """Arrays of one element per fact: its group, below 0 for none; instants in microseconds.

        `ties` settles which of several facts that became valid and known at the same instants is
        the later one, first column first; then, and without it, the later row is.
        """
        rows = np.flatnonzero(groups >= 0)
        if len(rows) < len(groups):
            groups, valid = groups[rows], valid[rows]
        self._timeline = Timeline(valid, int(groups.max(initial=-1)) + 1)
        keys = self._timeline.keys(groups, valid)
        order = sorting(keys)
        self._keys = keys[order]
        columns = {"known": pa.array(known)}
        if ties is not None:
            columns |= {name: ties[name] for name in ties.column_names}
        columns["row"] = pa.array(np.arange(len(known)))
        order = settle_ties(order, self._keys, rows, pa.table(columns))
        self._rows, self._groups = rows[order], groups[order]
        self._known = known[self._rows]

    def latest(self, groups: Integers, at: Integers, known_at: Integers) -> Integers:
        """Per question the latest fact valid at `at` and known at `known_at`, or -1."""
        behind = search(self._keys, self._timeline.places(groups, at + 1))
        latest = np.where(self._of(behind - 1, groups), behind - 1, -1)
        early = np.flatnonzero(latest >= 0)
        early = early[self._known[latest[early]] > known_at[early]]
        if early.size:
            latest[early] = last_at_most(self._known, behind[early], known_at[early])
            latest = np.where(self._of(latest, groups), latest, -1)
        return np.append(self._rows, -1)[latest]

    def _of(self, positions: Integers, groups: Integers) -> Integers:
        """True where the fact at a position is about the group; no group is -2."""
        about: Integers = np.append(self._groups, -2)[positions] == groups
        return about


def microseconds(column: pa.ChunkedArray) -> Integers:
    """A timestamp column without nulls as microseconds since 1970."""
    values: Integers = column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64()).to_numpy()
    return values


def last_at_most(values: Integers, behind: Integers, limits: Integers) -> Integers:
    """Per question the last position before `behind` whose value is at most its limit, or -1.

    Climbs a tree of minima until a subtree to the left holds one, then descends into it: at most
    `2 log2(len(values))` steps, whatever lies between.
    """
    levels = [values]
    while len(levels[-1]) > 1:
        level = levels[-1]
        if len(level) % 2:
            level = np.append(level, np.iinfo(np.int64).max)
        levels.append(np.minimum(level[::2], level[1::2]))
    end, height = behind.copy(), np.full(len(behind), -1)
    for number, level in enumerate(levels):
        odd = np.flatnonzero((height < 0) & (end % 2 == 1))
        height[odd[level[end[odd] - 1] <= limits[odd]]] = number
        end[height < 0] //= 2
    node = np.where(height < 0, -1, end - 1)
    for number in range(len(levels) - 2, -1, -1):
        below = np.flatnonzero(height > number)
        right = 2 * node[below] + 1
        fits = right < len(levels[number])
        fits[fits] = levels[number][right[fits]] <= limits[below[fits]]
        node[below] = np.where(fits, right, right - 1)
    return node
