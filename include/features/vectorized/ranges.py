"""Extremes and distinct counts of runs of an array, in n log n for any number of long runs."""

from __future__ import annotations

import numpy as np

from include.features.outputs import Floats
from include.features.time_order import Integers, stable_order


def extremes(values: Floats, low: Integers, behind: Integers, largest: bool) -> Floats:
    """The largest or smallest of `values[low:behind]`, NaN of none.

    The extremes of all runs of a length of 1, 2, 4, … are computed in turn; two of them that
    overlap cover any run.
    """
    choose = np.maximum if largest else np.minimum
    result = np.full(len(low), np.nan)
    level = np.frexp(behind - low)[1] - 1  # of the largest power of two in the length
    for number in range(int(level.max(initial=-1)) + 1):
        if number:
            half = 1 << (number - 1)
            values = choose(values[:-half], values[half:])
        runs = np.flatnonzero(level == number)
        result[runs] = choose(values[low[runs]], values[behind[runs] - (1 << number)])
    return result


def distinct_counts(codes: Integers, groups: Integers, low: Integers, behind: Integers) -> Integers:
    """How many distinct codes `codes[low:behind]` has; a run is within a group, groups are sorted.

    A run has as many distinct codes as elements whose predecessor of equal code is before it.
    """
    order = stable_order(codes)
    again = (codes[order[1:]] == codes[order[:-1]]) & (groups[order[1:]] == groups[order[:-1]])
    edge = np.append(True, groups[1:] != groups[:-1])[: len(groups)]
    start = np.maximum.accumulate(np.where(edge, np.arange(len(groups), dtype=np.int32), 0))
    #: Place of the predecessor within the group, from 1 on; 0 where there is none.
    previous = np.zeros(len(codes), dtype=np.int32)
    previous[order[1:][again]] = order[:-1][again] + 1
    previous[previous > 0] -= start[previous > 0]
    some = np.flatnonzero(behind > low)
    low, behind_some = low[some], behind[some]
    result = np.zeros(len(behind), dtype=np.int64)
    result[some] = counts_below(previous, low, behind_some, low - start[low] + 1)
    return result


def counts_below(values: Integers, low: Integers, behind: Integers, limits: Integers) -> Integers:
    """How many of `values[low:behind]` are below the run's limit; no value is negative.

    A wavelet matrix, level by level: values are partitioned by their bits from the highest on, and
    each run is followed to the part where its limit's bit sends it (Claude, Navarro and Ordóñez,
    "The wavelet matrix", 2015).
    """
    count = np.zeros(len(low), dtype=np.int64)
    highest = max(int(values.max(initial=0)), int(limits.max(initial=0)))
    for bit in reversed(range(highest.bit_length())):
        bits = (values >> bit & 1).astype(bool)
        zeros = np.zeros(len(values) + 1, dtype=np.int32)
        np.cumsum(~bits, out=zeros[1:])
        low_zeros, behind_zeros = zeros[low], zeros[behind]
        up = (limits >> bit & 1).astype(bool)
        count += np.where(up, behind_zeros - low_zeros, 0)
        low = np.where(up, zeros[-1] + low - low_zeros, low_zeros)
        behind = np.where(up, zeros[-1] + behind - behind_zeros, behind_zeros)
        values = np.concatenate((values[~bits], values[bits]))
    return count
