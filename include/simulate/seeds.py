"""Random numbers by name and by index: none depends on which others are drawn, or in what order.

So a tenant's data do not change when another one is added, a user's not when others are, and what
a fault changes from a day on is all that it changes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Name = str | int
Array = NDArray[np.float64]
Index = NDArray[np.uint64]

_SHIFTS: Final = tuple(np.uint64(bits) for bits in (30, 27, 31, 11))
_FACTORS: Final = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def stream(seed: int, *names: Name) -> np.random.Generator:
    """The generator that belongs to these names under this seed, always the same one.

    The names are hashed into the entropy of a `SeedSequence`, so that a stream does not change
    when others are added before or after it.
    """
    sequence = np.random.SeedSequence([seed, *(int(word) for word in _words(names, np.uint32))])
    return np.random.Generator(np.random.PCG64(sequence))


@dataclass(frozen=True)
class Draws:
    """Independent random numbers, one per index, under a seed and names.

    The number at an index is that of the SplitMix64 sequence at this position, with a start and an
    odd increment of the names' own (Steele, Lea and Flood, Fast Splittable Pseudorandom Number
    Generators, OOPSLA 2014). Every method gives one number per index.
    """

    seed: int
    names: tuple[Name, ...] = ()

    def named(self, *names: Name) -> Draws:
        """Numbers for another purpose."""
        return Draws(self.seed, (*self.names, *names))

    def uniform(self, index: Index) -> Array:
        """Evenly within (0, 1), the ends excluded."""
        start, increment = _words((self.seed, *self.names), np.uint64)[:2]
        with np.errstate(over="ignore"):
            state = scrambled(index * (increment | np.uint64(1)) + start)
        answer: Array = ((state >> _SHIFTS[3]).astype(np.float64) + 0.5) * 2.0**-53
        return answer

    def normal(self, index: Index) -> Array:
        """Of mean 0 and deviation 1."""
        answer: Array = ndtri(self.uniform(index))
        return answer

    def exponential(self, index: Index) -> Array:
        """Of mean 1."""
        answer: Array = -np.log(self.uniform(index))
        return answer

    def poisson(self, mean: Array | float, index: Index, most: int = 200) -> NDArray[np.int64]:
        """Counts of that mean, at most `most`, by inversion: meant for means below some dozens."""
        target = self.uniform(index)
        means = np.broadcast_to(np.asarray(mean, dtype=np.float64), target.shape)
        counts = np.zeros(target.shape, dtype=np.int64)
        term = np.exp(-means)
        reached = term.copy()
        for count in range(1, most + 1):
            open_ = target > reached
            if not open_.any():
                break
            counts[open_] = count
            term = term * means / count
            reached += term
        return counts

    def one_of(self, cumulative: Array, index: Index) -> NDArray[np.int64]:
        """Positions in a list whose chances add up as `cumulative` says."""
        found = np.searchsorted(cumulative, self.uniform(index) * cumulative[-1], side="right")
        answer: NDArray[np.int64] = np.minimum(found, len(cumulative) - 1)
        return answer


def scrambled(index: Index) -> Index:
    """Other numbers, as different as these are: SplitMix64's bijection, which hides an order."""
    with np.errstate(over="ignore"):
        state = (index ^ (index >> _SHIFTS[0])) * _FACTORS[0]
        state = (state ^ (state >> _SHIFTS[1])) * _FACTORS[1]
    answer: Index = state ^ (state >> _SHIFTS[2])
    return answer


def numbered(values: NDArray[np.integer]) -> Index:
    """Whole numbers as an index."""
    return values.astype(np.uint64)


def within(index: Index, inner: NDArray[np.integer] | int, size: int) -> Index:
    """The index of the `inner`-th of at most `size` things that belong to each index."""
    answer: Index = index * np.uint64(size) + np.asarray(inner).astype(np.uint64)
    return answer


def _words(names: tuple[Name, ...], kind: type[np.unsignedinteger]) -> NDArray[np.unsignedinteger]:
    text = "\x1f".join(f"{type(name).__name__}:{name}" for name in names)
    return np.frombuffer(hashlib.sha256(text.encode()).digest(), dtype=kind)
