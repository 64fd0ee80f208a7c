"""Unusual rows without a label: empirical cumulative distributions, column by column.

ECOD (Li, Zhao, Hu, Botta, Ionescu and Chen, IEEE TKDE 2022): how far out a value lies is minus the
logarithm of the share of known values that lie at least as far out, to the left or to the right. A
row is as unusual as its columns are together. Of each column the smaller tail counts, as in the
authors' own implementation; the paper compares three sums instead.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.errors import IntegrityError
from include.models import arrays
from include.models.estimators import matrix
from include.models.model import Contributions, Model, Scores

Floats = npt.NDArray[np.float64]
KIND: Final = "ecod"
#: Rows below which a distribution says nothing.
FEWEST_ROWS: Final = 200
#: Values kept of a column that has more; dense in both tails, which is where it matters.
_KNOTS: Final = 1_000
_ARRAYS: Final = {
    "ends": ("<i8", 1),
    "values": ("<f8", 1),
    "below": ("<f8", 1),
    "at_most": ("<f8", 1),
    "sums": ("<f8", 1),
    "ranks": ("<f8", 1),
}


@dataclass(frozen=True)
class EmpiricalDistribution:
    """Known values, ascending, each with how many are below it and how many at most it."""

    values: Floats
    below: Floats
    at_most: Floats

    @classmethod
    def of(cls, values: Floats) -> EmpiricalDistribution:
        """The distribution of the finite values."""
        known, counts = np.unique(values[np.isfinite(values)], return_counts=True)
        at_most = np.cumsum(counts).astype(np.float64)
        kept = _kept(len(known))
        return cls(known[kept], (at_most - counts)[kept], at_most[kept])


@dataclass(frozen=True)
class _Together:
    """Every column's distribution behind the other, so that a row is one pass over all columns.

    Before each stands a value below all others, and a column of which nothing is known has only
    that: whatever is asked then lies in a tail that is everything.
    """

    starts: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    whole: Floats
    values: Floats
    below: Floats
    at_most: Floats

    @classmethod
    def of(cls, parts: Sequence[EmpiricalDistribution]) -> _Together:
        """The distributions of columns, in their order."""
        lengths = np.array([len(one.values) for one in parts]) + 1
        ahead = np.array([-np.inf]), np.zeros(1), np.zeros(1)
        columns = [
            np.concatenate([part for one in parts for part in (first, getattr(one, name))])
            for first, name in zip(ahead, ("values", "below", "at_most"), strict=True)
        ]
        whole = np.array([one.at_most[-1] if len(one.at_most) else 0.0 for one in parts])
        return cls(np.cumsum(lengths) - lengths, lengths, whole + 1, *columns)

    def tails(self, values: Floats) -> Floats:
        """Minus the logarithms of the smaller tails of `(rows, columns)`; of NaN it is 0.

        A value counts itself among the known ones, and between two of these lies on a line.
        """
        place = np.empty(values.shape, dtype=np.int64)
        for at, (start, length) in enumerate(self._bounds):
            known = self.values[start : start + length]
            place[:, at] = np.searchsorted(known, values[:, at], side="right")
        low = self.starts + np.maximum(place - 1, 0)
        high = self.starts + np.minimum(place, self.lengths - 1)
        with np.errstate(divide="ignore", invalid="ignore"):
            through = (values - self.values[low]) / (self.values[high] - self.values[low])
        inside = np.isfinite(through) & (place > 1)
        at_most = self.at_most[low] + np.where(
            inside, through * (self.below[high] - self.at_most[low]), 0.0
        )
        below = np.where(values == self.values[low], self.below[low], at_most)
        told = np.isfinite(values) & (self.lengths > 1)
        tail = np.minimum(at_most + 1, self.whole - below) / self.whole
        return np.asarray(-np.log(np.where(told, np.minimum(tail, 1.0), 1.0)))

    @cached_property
    def _bounds(self) -> list[tuple[int, int]]:
        return list(zip(self.starts.tolist(), self.lengths.tolist(), strict=True))


@dataclass(frozen=True)
class EcodPredictor:
    """A score is the share of the rows it learnt from that were less unusual, between 0 and 1.

    Rows beyond all of these get closer to 1 the further out they lie.
    """

    columns: tuple[str, ...]
    distributions: tuple[EmpiricalDistribution, ...]
    sums: Floats  #: of rows it learnt from, ascending from 0
    ranks: Floats  #: how many of these rows had at most each sum

    WORDS: ClassVar = frozenset({"rows", *_ARRAYS})

    def predict(self, features: pa.Table) -> Scores:
        """Scores of shape `(rows,)`."""
        return self.levels(self._parts(matrix(features, self.columns)).sum(axis=1))

    def contributions(self, features: pa.Table) -> Contributions:
        """Each column's tail; the margin is their sum."""
        parts = self._parts(matrix(features, self.columns))
        return Contributions(self.columns, parts, np.zeros(len(parts)))

    def levels(self, sums: Floats) -> Scores:
        """From sums of tails to scores, which they rise with."""
        whole, most = self.ranks[-1] + 1, self.sums[-1]
        inside = np.interp(sums, self.sums, self.ranks) / whole
        with np.errstate(divide="ignore", invalid="ignore"):
            outside = 1 - most / (sums * whole)
        return np.asarray(np.where(sums > most, outside, inside))

    @cached_property
    def _together(self) -> _Together:
        return _Together.of(self.distributions)

    def _parts(self, values: Floats) -> Floats:
        return self._together.tails(values)

    def payload(self) -> str:
        """All of it as arrays in base64."""
        parts = self.distributions
        kept = arrays.to_bytes(
            {
                "ends": np.cumsum([len(one.values) for one in parts]).astype("<i8"),
                "values": np.concatenate([one.values for one in parts]),
                "below": np.concatenate([one.below for one in parts]),
                "at_most": np.concatenate([one.at_most for one in parts]),
                "sums": self.sums,
                "ranks": self.ranks,
            }
        )
        return base64.b64encode(kept).decode()

    @classmethod
    def from_payload(cls, columns: tuple[str, ...], payload: Any) -> EcodPredictor:
        """What `payload` gave.

        Raises:
            IntegrityError: it is something else.
        """
        try:
            read = arrays.from_bytes(base64.b64decode(payload, validate=True))
        except (TypeError, binascii.Error):
            raise IntegrityError("the payload of an ECOD model is arrays in base64") from None
        ends, values, below, at_most, sums, ranks = arrays.take(read, _ARRAYS)
        starts = np.concatenate([[0], ends[:-1]])
        fits = len(ends) == len(columns) and (ends >= starts).all()
        if not fits or not len(values) == len(below) == len(at_most) == ends[-1]:
            raise IntegrityError("the distributions of an ECOD model do not fit its columns")
        parts = [
            EmpiricalDistribution(values[a:b], below[a:b], at_most[a:b])
            for a, b in zip(starts, ends, strict=True)
        ]
        if not all(map(_in_order, parts)) or not _rising(sums, ranks):
            raise IntegrityError("the distributions of an ECOD model are not in order")
        return cls(columns, tuple(parts), sums, ranks)


def fit(values: Floats, columns: tuple[str, ...], parameters: Mapping[str, Any]) -> Model:
    """The model of rows of shape `(rows, columns)`; the same rows give the same one, bit by bit."""
    finite = np.where(np.isfinite(values), values, np.nan)
    parts = tuple(EmpiricalDistribution.of(finite[:, at]) for at in range(len(columns)))
    nothing = np.zeros(1)
    unranked = EcodPredictor(columns, parts, nothing, nothing)
    found = EmpiricalDistribution.of(unranked._parts(finite).sum(axis=1))
    above = found.values > 0
    sums = np.concatenate([nothing, found.values[above]])
    ranks = np.concatenate(
        [found.at_most[~above][-1:] if (~above).any() else nothing, found.at_most[above]]
    )
    predictor = EcodPredictor(columns, parts, sums, ranks)
    return Model(KIND, columns, predictor, {"rows": len(values), **parameters})


def _kept(count: int) -> npt.NDArray[np.int64]:
    """Which of so many ascending values are kept: all of a few, else more towards both ends."""
    if count <= _KNOTS:
        return np.arange(count)
    tail = np.unique(np.geomspace(1, count / 2, _KNOTS // 4).astype(np.int64)) - 1
    even = np.linspace(0, count - 1, _KNOTS // 2).astype(np.int64)
    return np.unique(np.concatenate([tail, even, count - 1 - tail]))


def _in_order(one: EmpiricalDistribution) -> bool:
    return bool(
        (np.diff(one.values) > 0).all()
        and (one.below >= 0).all()
        and (one.at_most > one.below).all()
        and (one.below[1:] >= one.at_most[:-1]).all()
    )


def _rising(sums: Floats, ranks: Floats) -> bool:
    same = len(sums) == len(ranks) > 0 and sums[0] == 0 and ranks[0] >= 0
    return bool(same and (np.diff(sums) > 0).all() and (np.diff(ranks) > 0).all())
