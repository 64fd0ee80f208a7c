"""Sums and standard deviations of runs of float64 values, exact until the last rounding.

Every float64 is a whole number of units of a small power of two. Its bits are cut into places of
equal width, each place is summed as int64 over prefixes, and a run's sum is the difference of two
prefixes: it may have wrapped around on the way, but the difference itself fits. What is returned is
the float64 nearest to the exact sum, so it depends on nothing but the run's own values, neither on
their order nor on what stands before them, and a sum of large values that cancel keeps all digits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from include.features.outputs import Floats
from include.features.time_order import Integers

_MANTISSA: Final = 53
_WIDEST: Final = 48
#: Digits and what is computed from them for this many runs at a time, to stay in the cache.
_RUNS_AT_ONCE: Final = 1 << 15
#: Digits kept at once, some 250 MB.
_DIGITS_AT_ONCE: Final = 1 << 25
_OVERFLOW: Final = 1024
_NO_EXPONENT: Final = 1 << 20
_SPLIT: Final = 134_217_729.0  # 2**27 + 1: Veltkamp's constant for halving a float64


@dataclass(frozen=True)
class Runs:
    """Runs of an array: from `low` up to `behind`, arrays of one length.

    With `reordered`, `behind` counts in the array `values[reordered]` instead: the run is what is
    among the first `behind` there and not among the first `low` here.
    """

    low: Integers
    behind: Integers
    reordered: Integers | None = None

    @property
    def sizes(self) -> Integers:
        """How many values each run has."""
        return self.behind - self.low

    def part(self, start: int, stop: int) -> Runs:
        """Some of the runs."""
        return Runs(self.low[start:stop], self.behind[start:stop], self.reordered)


def sums(values: Floats, runs: Runs) -> Floats:
    """Correctly rounded sum of each run, infinite where it is too large, 0.0 of none."""
    numbers = _Numbers.of(values)
    result = np.empty(len(runs.low))
    for start, stop in _parts(len(runs.low), _DIGITS_AT_ONCE // numbers.places):
        digits = _summed([numbers], runs.part(start, stop))
        for first, last in _parts(stop - start, _RUNS_AT_ONCE):
            rounded, exponent = _rounded([d[first:last] for d in digits], numbers.width)
            with np.errstate(over="ignore"):
                total = np.ldexp(rounded, exponent + numbers.unit)
            result[start + first : start + last] = total
    return result


def standard_deviations(values: Floats, runs: Runs) -> Floats:
    """Sample standard deviation (n - 1) of each run; NaN of fewer than two, or of too large a sum.

    The square root of `(n Σv² - (Σv)²) / (n (n - 1))`, whose numerator is calculated in whole
    numbers and then rounded once: nothing is lost where the values hardly differ.
    """
    numbers = _Numbers.of(values)
    squares = numbers.squares()
    result = np.empty(len(runs.low))
    for start, stop in _parts(len(runs.low), _DIGITS_AT_ONCE // (3 * numbers.places)):
        part = runs.part(start, stop)
        linear, square, sizes = _summed([numbers], part), _summed(squares, part), part.sizes
        for first, last in _parts(stop - start, _RUNS_AT_ONCE):
            result[start + first : start + last] = _deviation(
                _halved([d[first:last] for d in linear], numbers.width),
                _halved([d[first:last] for d in square], numbers.width),
                sizes[first:last],
                numbers,
            )
    if numbers.highest + len(values).bit_length() > _OVERFLOW:
        result[np.isinf(sums(values, runs))] = np.nan
    return result


@dataclass(frozen=True)
class _Numbers:
    """Values as `mantissa * 2**exponent`, |mantissa| < 1, all of them multiples of `2**unit`."""

    mantissa: Floats
    exponent: Integers
    unit: int
    highest: int  #: every value is below `2**highest`
    width: int  #: bits in a place: even, and so few that sums of a place fit int64 twice over

    @classmethod
    def of(cls, values: Floats) -> _Numbers:
        mantissa, exponent = np.frexp(values)
        present = exponent if bool(mantissa.all()) else exponent[mantissa != 0]
        highest = int(present.max(initial=-_NO_EXPONENT))
        unit = int(present.min(initial=_NO_EXPONENT)) - _MANTISSA
        if highest < unit:
            highest, unit = 1, 0
        if unit < 0 < highest <= _MANTISSA and bool((np.trunc(values) == values).all()):
            unit = 0
        width = min(_WIDEST, 60 - len(values).bit_length()) // 2 * 2
        return cls(mantissa, exponent, unit, highest, width)

    @property
    def places(self) -> int:
        """How many places the values have."""
        return -(-(self.highest - self.unit) // self.width)

    def squares(self) -> list[_Numbers]:
        """The squares as two addends: the rounded product and its rounding error (Dekker)."""
        m = self.mantissa
        large = m * _SPLIT
        large -= large - m
        small = m - large
        product = m * m
        error = large * large
        error -= product
        error += 2 * large * small
        error += small * small
        exponent, unit, highest = 2 * self.exponent, 2 * self.unit, 2 * self.highest
        return [_Numbers(part, exponent, unit, highest, self.width) for part in (product, error)]


def _parts(runs: int, at_once: int) -> Iterator[tuple[int, int]]:
    for start in range(0, runs, at_once):
        yield start, min(start + at_once, runs)


def _summed(addends: list[_Numbers], runs: Runs) -> list[Integers]:
    """Sums of each place over the runs, lowest place first."""
    rest = [numbers.mantissa for numbers in addends]
    digits = []
    for place in range(addends[0].places - 1, -1, -1):
        total = np.zeros(len(rest[0]), dtype=np.int64)
        for number, numbers in enumerate(addends):
            shift = numbers.exponent - np.int32(numbers.unit + place * numbers.width)
            whole = np.ldexp(rest[number], shift)
            np.trunc(whole, out=whole)
            total += whole.astype(np.int64)
            if place:
                np.negative(shift, out=shift)
                rest[number] = rest[number] - np.ldexp(whole, shift)
        digits.append(_differences(total, runs))
    return digits[::-1]


def _differences(values: Integers, runs: Runs) -> Integers:
    prefix = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(values, out=prefix[1:])
    low = prefix[runs.low]
    if runs.reordered is not None:
        np.cumsum(values[runs.reordered], out=prefix[1:])
    difference: Integers = prefix[runs.behind] - low
    return difference


def _carried(digits: list[Integers], width: int) -> list[Integers]:
    """The same number with digits of at most half a place either way, and one more on top."""
    half, mask = np.int64(1 << (width - 1)), np.int64((1 << width) - 1)
    carried = []
    carry: Integers = np.zeros_like(digits[0])
    for digit in digits:
        raised = digit + carry
        low = ((raised + half) & mask) - half
        carry = (raised - low) >> width
        carried.append(low)
    return [*carried, carry]


def _rounded(digits: list[Integers], width: int) -> tuple[Floats, Integers]:
    """The nearest float64 as a number and a power of two to multiply it by."""
    places = _carried(digits, width)
    if len(places) <= 3:
        places += [np.zeros_like(places[0])] * (3 - len(places))
        return _nearest(places, width), np.zeros(len(places[0]), dtype=np.int32)
    stacked = np.stack(places)
    top = len(places) - 1 - np.argmax(stacked[::-1] != 0, axis=0)
    top = np.maximum(np.where(stacked.any(axis=0), top, 0), 2)
    remainder = np.zeros_like(stacked)  # one row down: the sign of all that is below
    for place in range(len(places) - 1):
        sign = np.sign(stacked[place])
        remainder[place + 1] = np.where(sign != 0, sign, remainder[place])
    columns = np.arange(len(top))
    leading = [stacked[top - 2 + place, columns] for place in range(3)]
    below = remainder[top - 2, columns]
    return _nearest(leading, width, below), ((top - 2) * width).astype(np.int32)


def _nearest(places: list[Integers], width: int, below: Integers | None = None) -> Floats:
    """The float64 nearest to three places and something of the sign `below` beneath them.

    Rounds the lower part to odd, so that the last addition is the only one to round (Boldo and
    Melquiond, "Emulation of FMA and correctly rounded sums", 2008).
    """
    low, middle, high = (place.astype(np.float64) for place in places)
    if below is not None:
        low += 0.5 * below
    high, middle = _two_sum(high * 4.0**width, middle * 2.0**width)
    middle, low = _two_sum(middle, low)
    bits = middle.view(np.int64)
    inexact = (low != 0) & (bits & 1 == 0)
    if inexact.any():
        outwards = np.where((low > 0) == (middle > 0), 1, -1)
        middle = np.where(inexact, bits + outwards, bits).view(np.float64)
    nearest: Floats = high + middle
    return nearest


def _two_sum(a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """The rounded sum and its rounding error (Knuth)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _halved(digits: list[Integers], width: int) -> list[Integers]:
    """Digits of half the width, small enough to be multiplied."""
    half = width // 2
    return [part for digit in _carried(digits, width) for part in _carried([digit], half)]


def _deviation(
    linear: list[Integers], square: list[Integers], sizes: Integers, numbers: _Numbers
) -> Floats:
    """The standard deviation from the half digits of sum and sum of squares."""
    half = numbers.width // 2
    length = max(len(square), 2 * len(linear) - 1)
    sizes = sizes.astype(np.int64)  # positions may be int32
    spread = [np.zeros_like(sizes) for _ in range(length)]
    for place, digit in enumerate(square):
        spread[place] += sizes * digit
    for place, digit in enumerate(linear):
        for other, factor in enumerate(linear):
            spread[place + other] -= digit * factor
    spread = _carried(spread, half)
    if len(spread) % 2:
        spread.append(np.zeros_like(sizes))
    pairs = [low + (high << half) for low, high in zip(spread[::2], spread[1::2], strict=True)]
    rounded, exponent = _rounded(pairs, numbers.width)
    exponent = exponent + 2 * numbers.unit
    odd = exponent & 1
    with np.errstate(all="ignore"):
        variance = np.ldexp(rounded, odd) / (sizes * (sizes - 1.0))
        deviation = np.ldexp(np.sqrt(variance), (exponent - odd) >> 1)
    return np.where(sizes > 1, deviation, np.nan)
