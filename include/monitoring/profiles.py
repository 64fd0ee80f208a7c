"""Profiles of windows: per column a small sketch that any later window can be compared with.

A numeric column is kept as its values where it has few, else as 60 quantiles, to six digits, each
with how many rows lie exactly at it and how many between it and the one before. Heavy values are
thereby exact, and the share of rows below any other value is off by at most a sixtieth (equi-depth
histograms; G. Piatetsky-Shapiro and C. Connell, SIGMOD 1984). Of texts the commonest are kept, as
digests: two windows can be compared, but no value can be read.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.monitoring.windows import AS_OF, WindowSample, read_samples

#: A multiple of 2, 3, 4, 5, 6 and 10, so that all these quantiles are among the cuts.
_CUTS: Final = 60
_TEXTS: Final = 50

Counts = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Profile:
    """One column. `at[i]` rows equal `cuts[i]`, `between[i]` lie between it and the cut before."""

    kind: Literal["numbers", "texts"]
    cuts: npt.NDArray[Any]  #: ascending numbers, or digests in ascending order
    at: Counts
    between: Counts
    others: float  #: texts that are not among the commonest
    nulls: float
    entities: int  #: what the rows weigh as evidence
    level: str = ""  #: join key that determines the column; empty where only all together do
    dispersion: float = 1.0  #: of a reference: see `dispersion`

    @property
    def rows(self) -> float:
        """Values, nulls among them."""
        return float(self.at.sum() + self.between.sum() + self.others + self.nulls)

    @property
    def null_share(self) -> float:
        """Share of nulls among the values."""
        return self.nulls / self.rows if self.rows else 0.0

    @property
    def mean(self) -> float:
        """Mean of the numbers, those between two cuts taken as halfway; NaN where there is none."""
        known = self.rows - self.nulls
        if not known or self.kind != "numbers":
            return math.nan
        halfway = (self.cuts + np.concatenate([self.cuts[:1], self.cuts[:-1]])) / 2
        return float((self.at * self.cuts + self.between * halfway).sum() / known)

    def up_to(self, edges: npt.NDArray[Any]) -> Counts:
        """Rows whose number is at most each edge; between two cuts they are spread evenly."""
        below = np.concatenate([[0.0], np.cumsum(self.at + self.between)])
        place = np.searchsorted(self.cuts, edges, side="right")
        inside = (place > 0) & (place < len(self.cuts))
        upper = np.minimum(place, max(len(self.cuts) - 1, 0))
        share = np.zeros(len(edges))
        if inside.any():
            low, high = self.cuts[place[inside] - 1], self.cuts[upper[inside]]
            share[inside] = (edges[inside] - low) / (high - low)
        spread = self.between[upper] if len(self.between) else np.zeros(len(edges))
        return np.asarray(below[place] + share * spread)

    def exactly(self, values: npt.NDArray[Any]) -> Counts:
        """Rows that equal each of the values."""
        if not len(self.cuts):
            return np.zeros(len(values))
        place = np.minimum(np.searchsorted(self.cuts, values), len(self.cuts) - 1)
        return np.where(self.cuts[place] == values, self.at[place], 0.0)

    def to_json(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {
            "kind": self.kind,
            "cuts": self.cuts.tolist(),
            "at": _whole(self.at),
            "between": _whole(self.between) if self.between.any() else [],
            "others": self.others,
            "nulls": self.nulls,
            "entities": self.entities,
            "level": self.level,
            "dispersion": round(self.dispersion, 3),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Profile:
        """What `to_json` wrote."""
        at = np.asarray(data["at"], dtype=np.float64)
        kind = np.float64 if data["kind"] == "numbers" else np.str_
        return cls(
            kind=data["kind"],
            cuts=np.asarray(data["cuts"], dtype=kind),
            at=at,
            between=np.asarray(data["between"], dtype=np.float64)
            if data["between"]
            else np.zeros(len(at)),
            others=data["others"],
            nulls=data["nulls"],
            entities=data["entities"],
            level=data["level"],
            dispersion=data["dispersion"],
        )


@dataclass(frozen=True)
class WindowProfile:
    """All columns of one window."""

    columns: Mapping[str, Profile]
    entities: int
    weekdays: frozenset[int]  #: of its instants, Monday is 0, in UTC
    keyed: bool = True  #: False: how often it repeats an entity is unknown

    def to_json(self) -> dict[str, Any]:
        """As JSON knows it."""
        return {
            "columns": {name: one.to_json() for name, one in self.columns.items()},
            "entities": self.entities,
            "weekdays": sorted(self.weekdays),
            "keyed": self.keyed,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> WindowProfile:
        """What `to_json` wrote."""
        return cls(
            {name: Profile.from_json(one) for name, one in data["columns"].items()},
            data["entities"],
            frozenset(data["weekdays"]),
            data["keyed"],
        )


def profile(sample: WindowSample, level: str = "") -> Profile:
    """The sketch of one column."""
    values = sample.values
    if values.dtype.kind == "f":
        return _of_numbers(values, sample.entities, level)
    return _of_texts(values, sample.entities, level)


def profile_window(
    table: pa.Table, keys: Sequence[str], levels: Mapping[str, str] | None = None
) -> WindowProfile:
    """The sketch of a table of join keys, `as_of` and features.

    Args:
        levels: column → join key that it is read once per value of, as the reference was; found in
            the table itself where None, and for columns that are not named.
    """
    read = read_samples(table, keys, levels or {})
    return WindowProfile(
        {name: profile(sample, read.levels[name]) for name, sample in read.samples.items()},
        read.entities,
        _weekdays(table),
        keys[0] in table.column_names,
    )


def weighed_against(reference: WindowProfile, current: WindowProfile) -> WindowProfile:
    """The reference with its weight as evidence beside this window.

    Without the entity's key it may repeat the same few entities: it then weighs no more than the
    window does.
    """
    if reference.keyed:
        return reference
    columns = {
        name: replace(one, entities=min(one.entities, current.columns[name].entities))
        if name in current.columns
        else one
        for name, one in reference.columns.items()
    }
    return replace(reference, columns=columns, entities=min(reference.entities, current.entities))


def _of_numbers(values: npt.NDArray[Any], entities: int, level: str) -> Profile:
    known = np.sort(_short(values[~np.isnan(values)]))
    cuts, counts = np.unique(known, return_counts=True)
    if len(cuts) > _CUTS:
        place = np.ceil(len(known) * np.arange(1, _CUTS + 1) / _CUTS).astype(int) - 1
        cuts = np.unique(np.concatenate([known[:1], known[place]]))
        left = np.searchsorted(known, cuts, side="left")
        right = np.searchsorted(known, cuts, side="right")
        at, between = right - left, left - np.concatenate([[0], right[:-1]])
    else:
        at, between = counts, np.zeros(len(cuts))
    nulls = float(len(values) - len(known))
    return Profile(
        "numbers", cuts, at.astype(float), between.astype(float), 0.0, nulls, entities, level
    )


def _short(numbers: Counts) -> Counts:
    """The numbers to six significant digits, which take less than half the space."""
    size = np.where(np.abs(numbers) < 1e-200, 1.0, np.abs(numbers))
    digits = 5 - np.floor(np.log10(size)).astype(int)
    fine, coarse = 10.0 ** np.maximum(digits, 0), 10.0 ** np.maximum(-digits, 0)
    return np.asarray(np.round(numbers * fine / coarse) * coarse / fine)


def _of_texts(values: npt.NDArray[Any], entities: int, level: str) -> Profile:
    known = [value for value in values if value is not None]
    found, counts = np.unique(np.asarray(known, dtype=str), return_counts=True)
    kept = np.argsort(-counts, kind="stable")[:_TEXTS]
    digests = np.asarray([_digest(str(text)) for text in found[kept]], dtype=np.str_)
    order = np.argsort(digests)
    at = counts[kept][order].astype(np.float64)
    return Profile(
        "texts",
        digests[order],
        at,
        np.zeros(len(at)),
        float(counts.sum() - at.sum()),
        float(len(values) - len(known)),
        entities,
        level,
    )


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()


def _weekdays(table: pa.Table) -> frozenset[int]:
    if AS_OF not in table.column_names:
        return frozenset()
    instants = table[AS_OF].unique().to_pylist()
    return frozenset(one.astimezone(UTC).weekday() for one in instants if one is not None)


def _whole(counts: Counts) -> list[int]:
    return [int(count) for count in counts]
