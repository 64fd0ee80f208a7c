"""Labelled rows as numbers: one origin's features beside everything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.stats import rankdata
from sklearn.isotonic import isotonic_regression

from include.features.origins import EVENT, by_origin, counted, origins
from include.models.estimators import matrix
from include.training.leakage.power import Codes, Flags, Floats, InfluenceEstimate, power, standard
from include.training.rows import LabelledRows
from include.use_cases.declaration import UseCase

#: Rows of either class, and in all, without which nothing is said.
FEWEST: Final = 30
#: Rows that were to be expected, at least, for their absence to say anything.
EXPECTED: Final = 30.0
#: Standard errors by which a bound has to be passed, by explained variance and by power.
SURE, SURER = 3.0, 4.0
_RIDGE: Final = 10.0


@dataclass(frozen=True)
class Table:
    """Labelled rows as numbers, and what regressions read of them."""

    columns: tuple[str, ...]
    values: Floats  #: rows × columns; NaN is missing
    label: Floats
    weight: Floats  #: how many rows each stands for
    target: Floats  #: the label, of a total its rank, less the tenant's mean
    entity: Codes
    instant: Codes  #: 0 for the oldest one
    binary: bool
    origins: Mapping[str, tuple[str, ...]]
    design: Floats  #: rows × (a few columns per feature)
    of_column: Codes  #: per column of the design, the feature it belongs to
    gram: Floats
    moments: Floats

    @classmethod
    def of(cls, use_case: UseCase, rows: LabelledRows) -> Table | None:
        """None where there is too little to say anything, or where models read no features."""
        binary = use_case.task != "regression"
        rarer = min((rows.label == 1).sum(), (rows.label != 1).sum()) if binary else len(rows)
        if use_case.lists or rarer < FEWEST:
            return None
        read = origins(use_case.features, use_case.request)
        values = matrix(rows.features, use_case.columns)
        values = np.where(np.isfinite(values), values, np.nan)
        kept = [place for place, column in enumerate(values.T) if _varies(column)]
        names, values = tuple(use_case.columns[place] for place in kept), values[:, kept]
        tenant = np.unique(rows.tenant, return_inverse=True)[1]
        told = rows.label if binary else standard(rankdata(rows.label))
        target = told - (np.bincount(tenant, told) / np.bincount(tenant))[tenant]
        parts = [_design(column, tenant) for column in values.T]
        design = np.hstack([np.zeros((len(rows), 0)), *parts])
        return cls(
            names,
            values,
            rows.label,
            rows.weight,
            target,
            np.unique(rows.entity, return_inverse=True)[1],
            np.unique(rows.as_of, return_inverse=True)[1],
            binary,
            by_origin({name: read[name] for name in names}),
            design,
            np.repeat(np.arange(len(parts)), [part.shape[1] for part in parts]),
            design.T @ design,
            design.T @ target,
        )

    @property
    def old(self) -> Flags:
        """The rows of the older half of the instants."""
        found: Flags = self.instant < (self.instant.max() + 1) // 2
        return found

    @property
    def new(self) -> Flags:
        """The rows of the newest eighth of the instants, one at least."""
        count = self.instant.max() + 1
        found: Flags = self.instant >= count - max(1, round(count / 8))
        return found

    def column(self, name: str) -> Floats:
        """The values of a feature."""
        return self.values[:, self.columns.index(name)]

    def fitted(self, names: Sequence[str]) -> Floats:
        """What a ridge regression on these features says of the target of every row."""
        places = [self.columns.index(name) for name in names]
        chosen = np.flatnonzero(np.isin(self.of_column, places))
        if not len(chosen):
            return np.zeros(len(self.target))
        gram = self.gram[np.ix_(chosen, chosen)] + _RIDGE * np.eye(len(chosen))
        answer: Floats = self.design[:, chosen] @ np.linalg.solve(gram, self.moments[chosen])
        return answer

    def strongest(self, names: Sequence[str], rows: Flags | None = None) -> list[str]:
        """The features by how far their ranks and the target agree over some rows, most first."""
        places = [self.columns.index(name) for name in names]
        ranks = self.design[:, np.searchsorted(self.of_column, places)]
        target = self.target if rows is None else np.where(rows, self.target, 0.0)
        agreed = np.abs(ranks.T @ target)
        return [names[place] for place in np.argsort(-agreed, kind="stable")]

    def power(self, score: Floats, rows: Flags) -> InfluenceEstimate:
        """Of a score over some rows; the others have no part in it."""
        found = power(self.label[rows], score[rows], self.binary)
        influence = np.zeros(len(score))
        influence[rows] = found.influence
        return InfluenceEstimate(found.value, influence)


@dataclass(frozen=True)
class Side:
    """One origin's features, and everything else."""

    use_case: UseCase
    table: Table
    origin: str
    names: tuple[str, ...]
    rest: Floats  #: what a regression on everything else says
    expected: Floats  #: the best monotone function of it
    whole: Floats  #: what one says that reads the origin's features, too

    @classmethod
    def of(cls, use_case: UseCase, table: Table, origin: str, names: tuple[str, ...]) -> Side:
        """An origin against what is not made of it."""
        others = [name for name in table.columns if name not in names]
        if origin.startswith(EVENT):
            seen, read = counted(use_case.features), origins(use_case.features)
            others = [n for n in others if origin not in seen.get(n, ()) or _narrowed(read[n])]
        rest, whole = table.fitted(others), table.fitted([*others, *names])
        expected = monotone(rest, table.target)
        return cls(use_case, table, origin, names, rest, expected, whole)


def monotone(score: Floats, target: Floats) -> Floats:
    """The rising or falling function of the score that is closest to the target."""
    place = np.unique(score, return_inverse=True)[1]
    weight = np.bincount(place).astype(np.float64)
    mean = np.bincount(place, target) / weight
    fits = [isotonic_regression(mean, sample_weight=weight, increasing=up) for up in (True, False)]
    best: Floats = min(fits, key=lambda fit: float((weight * (mean - fit) ** 2).sum()))
    return best[place]


def _narrowed(read: frozenset[str]) -> bool:
    """Whether a feature counts events of some names only."""
    return any(one.startswith(EVENT) for one in read)


def _varies(column: Floats) -> bool:
    known = column[~np.isnan(column)]
    return bool(len(known)) and bool(known.min() < known.max() or len(known) < len(column))


def _design(column: Floats, tenant: Codes) -> Floats:
    """Ranks among the tenant's rows from −1 to 1, their squares, and whether there is no value."""
    missing = np.isnan(column)
    rank, square = np.zeros(len(column)), np.zeros(len(column))
    for one in np.unique(tenant):
        here = (tenant == one) & ~missing
        rank[here] = 2 * rankdata(column[here]) / max(1, here.sum()) - 1
    square[~missing] = rank[~missing] ** 2 - 1 / 3
    parts = [rank, square]
    if missing.any():
        parts.append(missing - missing.mean())
    return np.column_stack(parts)


def usual_value(column: Floats) -> float:
    """The most frequent value; NaN where it is that there is none."""
    values, counts = np.unique(column[~np.isnan(column)], return_counts=True)
    missing = int(np.isnan(column).sum())
    return float(values[np.argmax(counts)]) if len(values) and counts.max() > missing else np.nan
