"""Fits forecasts: trees on earlier snapshots, and what corrects them on later ones.

Nothing is fitted on the later snapshots but, band by band, who answers and how wide an interval has
to be. The trees stay those of the earlier ones: that is what makes the intervals' coverage a
promise, as far as the future resembles the later snapshots.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

import lightgbm
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.models.boosting import SAMPLED
from include.models.estimators import matrix
from include.models.forecast import (
    BANDS,
    INTERVALS,
    LEVELS,
    MEAN,
    QUANTILES,
    TREES,
    ForecastPredictor,
    Rule,
    Situation,
)
from include.models.model import Scores

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
#: Share of the snapshots, the latest ones, on which forecasts are corrected.
LATER: Final = 0.25
#: Rows below which a band shares its intervals with the one below it.
FEWEST_ROWS: Final = 40
#: Entities below which a band's errors say nothing about who does best.
FEWEST_ENTITIES: Final = 20
#: Bands up to which such a one does as one below it: up to about the tenfold.
NEIGHBOURS: Final = 2


@dataclass(frozen=True)
class Observed:
    """Rows whose total is known."""

    features: pa.Table
    label: Floats
    entity: npt.NDArray[np.str_]
    as_of: npt.NDArray[np.datetime64]

    def __len__(self) -> int:
        return len(self.label)

    def where(self, keep: Bools) -> Observed:
        """The rows for which `keep` is true."""
        arrays = (self.label[keep], self.entity[keep], self.as_of[keep])
        return Observed(self.features.filter(pa.array(keep)), *arrays)

    @property
    def total(self) -> Floats:
        """What was to be forecast: a total below zero, more returned than sold, counts as none."""
        return np.maximum(self.label, 0.0)


def split(rows: Observed, horizon: timedelta, seed: int) -> tuple[Observed, Observed]:
    """Earlier and later rows, no label of the former reaching into the latter.

    Where the snapshots are too few for that, it is the entities that are split, by lot.
    """
    instants = np.unique(rows.as_of)
    first = instants[len(instants) - max(1, round(LATER * len(instants)))]
    earlier = rows.as_of + np.timedelta64(horizon) <= first
    later = rows.as_of >= first
    if not earlier.any():
        entities, codes = np.unique(rows.entity, return_inverse=True)
        drawn = np.random.default_rng(seed).permutation(len(entities)) < len(entities) / 2
        earlier, later = drawn[codes], ~drawn[codes]
    return rows.where(earlier), rows.where(later)


def fit(
    rows: Observed,
    columns: Sequence[str],
    rules: Sequence[Rule],
    settings: Mapping[str, Any],
    *,
    horizon: timedelta,
    most: float | None,
    seed: int,
) -> ForecastPredictor:
    """Trees of every quantile, corrected on later rows; the same rows give the same forecast.

    Args:
        columns: numeric features, those of the rules among them.
        rules: the seasonal naive forecast first, the level last.
        settings: LightGBM's, with `rounds`.
        horizon: of the totals.
        most: what no total exceeds.
    """
    earlier, later = split(rows, horizon, seed)
    unfitted = naive(columns, rules, most)
    scale = unfitted.situation(earlier.features).scale
    parameters = {"objective": "quantile", **SAMPLED, **settings, "seed": seed}
    rounds = parameters.pop("rounds")
    data = lightgbm.Dataset(
        matrix(earlier.features, columns),
        earlier.total / scale,
        feature_name=list(columns),
        params={**parameters},
    )
    boosters = tuple(
        lightgbm.train({**parameters, "alpha": quantile}, data, num_boost_round=rounds)
        for quantile in QUANTILES
    )
    return corrected(replace(unfitted, boosters=boosters), later)


def naive(columns: Sequence[str], rules: Sequence[Rule], most: float | None) -> ForecastPredictor:
    """The first rule as forecast, without intervals."""
    return ForecastPredictor(tuple(columns), tuple(rules), (), (0,) * BANDS, {}, most)


def corrected(predictor: ForecastPredictor, later: Observed) -> ForecastPredictor:
    """The predictor with answers, where it has trees, and intervals as later rows call for.

    Without rows there is nothing to choose by, and no interval.
    """
    if not len(later):
        chosen = (MEAN,) * BANDS if predictor.boosters else predictor.chosen
        return replace(predictor, chosen=chosen, margins={})
    there = predictor.situation(later.features)
    if predictor.boosters:
        chosen = _chosen(predictor, later, there)
        predictor = replace(predictor, chosen=chosen)
    margins = {}
    for name in INTERVALS:
        low, high = predictor.starts(later.features, there, name)
        beyond = np.maximum(low - later.total, later.total - high) / there.scale
        margins[name] = _margins(beyond, there.band, int(name) / 100)
    return replace(predictor, margins=margins)


def _chosen(predictor: ForecastPredictor, later: Observed, there: Situation) -> tuple[int, ...]:
    """Per band the trees, or the best rule where that is better by more than a standard error.

    Errors are relative to the scale; those of an entity count as one observation. A band of too few
    entities does as the next one below it that has enough, or has the mean of the rules.
    """
    trees = replace(predictor, chosen=(TREES,) * BANDS).predict(later.features)
    errors = np.abs(there.by_rule - later.total[:, None]) / there.scale[:, None]
    of_trees = np.abs(trees - later.total) / there.scale
    chosen: dict[int, int] = {}
    for band in range(BANDS):
        rows = there.band == band
        if len(np.unique(later.entity[rows])) < FEWEST_ENTITIES:
            continue
        best = int(np.argmin(errors[rows].mean(axis=0)))
        gain = _by_entity(of_trees[rows] - errors[rows, best], later.entity[rows])
        shown = gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain))
        chosen[band] = best if shown else TREES
    near = {
        band + step: chosen[band]
        for step in range(NEIGHBOURS, -1, -1)
        for band in chosen
        if band % LEVELS + step < LEVELS
    }
    return tuple(near.get(band, MEAN) for band in range(BANDS))


def _by_entity(values: Floats, entity: npt.NDArray[np.str_]) -> Floats:
    codes = np.unique(entity, return_inverse=True)[1]
    counts = np.maximum(np.bincount(codes), 1)
    return np.asarray(np.bincount(codes, weights=values) / counts, dtype=np.float64)


def _margins(beyond: Scores, band: npt.NDArray[np.int64], level: float) -> tuple[float, ...]:
    """Per band the correction that `level` of its rows need at most.

    It is the ⌈(n + 1) · level⌉-th smallest of n, the largest where there are fewer.
    """
    counts = np.bincount(band, minlength=BANDS)
    group = np.concatenate([_groups(counts[:LEVELS]), LEVELS + _groups(counts[LEVELS:])])
    margins = []
    for one in group.tolist():
        inside = group[band] == one
        values = np.sort(beyond[inside] if inside.sum() >= FEWEST_ROWS else beyond)
        place = min(len(values), int(np.ceil((len(values) + 1) * level)))
        margins.append(float(values[place - 1]))
    return tuple(margins)


def _groups(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Which bands, rising by level, share their intervals, named by the lowest of them.

    Bands of too few rows join the one below them, the lowest the one above.
    """
    sizes, group = counts.copy(), np.arange(len(counts))
    for one in range(len(counts) - 1, 0, -1):
        if sizes[one] < FEWEST_ROWS:
            sizes[one - 1] += sizes[one]
            group[group == one] = one - 1
    if sizes[0] < FEWEST_ROWS and group.any():
        group[group == 0] = group[group > 0].min()
    return group
