"""The golden set: generated columns, changed in known ways by known amounts, and both verdicts.

Evidently judges with its own implementation of PSI (`method="psi"`), which for numbers uses equally
wide bins between the extremes of both windows. One large order then empties the other bins, so the
gate cuts at the reference's deciles instead, and Evidently is handed the column as such classes,
made here from the raw values and not by the gate's sketches. Texts, small counts and flags, which
Evidently does not cut, are also judged as they are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

os.environ.setdefault("DO_NOT_TRACK", "true")

import numpy as np
import numpy.typing as npt
import pandas as pd
from evidently import ColumnType, DataDefinition, Dataset, Report
from evidently.legacy.calculations.stattests.psi import psi_stat_test
from evidently.metrics import DriftedColumnsCount

from include.monitoring.profiles import profile
from include.monitoring.statistics import compare
from include.monitoring.windows import WindowSample

THRESHOLD: Final = 0.2
#: The fixed sample: rows of the reference and of the current window.
REFERENCE, CURRENT = 5_000, 2_000
#: PSI between which the two may differ: their rules for empty bins are not the same.
TIE: Final = (0.18, 0.22)

Array = npt.NDArray[Any]
Draw = Callable[[np.random.Generator, int], Array]


@dataclass(frozen=True)
class Case:
    """One column before and after."""

    name: str
    before: Array
    after: Array
    as_it_is: bool  #: Evidently would not cut it into bins


@dataclass(frozen=True)
class Verdicts:
    """What both said about one case."""

    name: str
    gate: float  #: PSI
    gate_drifted: bool
    evidently: float
    evidently_drifted: bool

    @property
    def tie(self) -> bool:
        """Too close to the threshold for the two to have to agree."""
        return TIE[0] <= self.evidently <= TIE[1]


def _text(weights: list[float]) -> Draw:
    names = np.array([f"k{i}" for i in range(len(weights))], dtype=object)
    share = np.array(weights) / sum(weights)
    return lambda draw, rows: names[draw.choice(len(names), rows, p=share)]


_NUMBERS: Final[dict[str, Draw]] = {
    "normal": lambda draw, rows: draw.normal(size=rows),
    "spend": lambda draw, rows: draw.lognormal(3, 1.2, rows),
    "waiting": lambda draw, rows: draw.gamma(0.7, 20, rows),
    "share": lambda draw, rows: draw.beta(2, 5, rows),
    "visits": lambda draw, rows: draw.poisson(3, rows).astype(float),
    "rare": lambda draw, rows: draw.poisson(0.3, rows).astype(float),
    "many zeros": lambda draw, rows: np.where(
        draw.random(rows) < 0.6, 0.0, draw.lognormal(0, 1, rows)
    ),
    "outliers": lambda draw, rows: np.where(
        draw.random(rows) < 0.001, 1e5, draw.exponential(2, rows)
    ),
}
_TEXTS: Final[dict[str, list[float]]] = {
    "plan": [5, 3, 2],
    "region": [8, 7, 6, 5, 4, 3, 2],
    "device": [90, 9, 1],
}


def cases(seed: int) -> Iterator[Case]:
    """Every column under every change it can have; the same seed gives the same cases."""
    for number, (name, of) in enumerate(_NUMBERS.items()):
        draw = np.random.default_rng([seed, number])
        before = of(draw, REFERENCE)
        spread = float(np.subtract(*np.quantile(before, (0.9, 0.1)))) / 2.563
        small = len(np.unique(before)) <= 10
        for size in (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5):
            moved = of(draw, CURRENT)
            step = np.round(size * spread) if small else size * spread
            yield Case(f"{name} + {size}", before, moved + step, small)
            yield Case(f"{name} x {1 + size}", before, of(draw, CURRENT) * (1 + size), False)
        for share in (0.02, 0.05, 0.1, 0.2, 0.4, 1.0):
            after = of(draw, CURRENT)
            after[draw.random(CURRENT) < share] = np.nan
            yield Case(f"{name}, {share:.0%} null", before, after, False)
        holey = np.where(draw.random(REFERENCE) < 0.3, np.nan, before)
        yield Case(f"{name}, nulls gone", holey, of(draw, CURRENT), False)
        stuck = np.full(CURRENT, np.median(before))
        yield Case(f"{name} stuck", before, stuck, small)
    for number, (name, weights) in enumerate(_TEXTS.items()):
        draw = np.random.default_rng([seed, 100 + number])
        before = _text(weights)(draw, REFERENCE)
        for size in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0):
            mixed = np.array(weights) * (1 - size) + np.array(weights[::-1]) * size
            yield Case(f"{name} mixed {size}", before, _text(list(mixed))(draw, CURRENT), True)
        for share in (0.01, 0.05, 0.1, 0.3):
            for fresh in ("new", None):
                after = _text(weights)(draw, CURRENT)
                after[draw.random(CURRENT) < share] = fresh
                yield Case(f"{name}, {share:.0%} {fresh}", before, after, fresh is not None)


def gate(case: Case) -> tuple[float, bool]:
    """PSI and verdict from the two sketches."""
    before = profile(WindowSample(case.before, len(case.before)))
    after = profile(WindowSample(case.after, len(case.after)))
    (found,) = compare({case.name: before}, {case.name: after}, THRESHOLD, 0.001)
    return found.psi, found.drifted


def judged(chosen: list[Case], *, raw: bool) -> list[Verdicts]:
    """Both verdicts about every case; Evidently sees `raw` values or the reference's deciles."""
    before, after = shown(chosen, raw=raw)
    verdicts = []
    for case in chosen:
        found = psi_stat_test(
            before[case.name], after[case.name], ColumnType.Categorical, THRESHOLD
        )
        verdicts.append(
            Verdicts(case.name, *gate(case), float(found.drift_score), bool(found.drifted))
        )
    return verdicts


def counted(chosen: list[Case], *, raw: bool) -> int:
    """How many of the cases drifted by Evidently's report over all of them."""
    definition = DataDefinition(categorical_columns=[case.name for case in chosen])
    before, after = (Dataset.from_pandas(s, definition) for s in shown(chosen, raw=raw))
    metric = DriftedColumnsCount(cat_method="psi", cat_threshold=THRESHOLD)
    return int(Report([metric]).run(after, before).dict()["metrics"][0]["value"]["count"])


def shown(chosen: list[Case], *, raw: bool) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What Evidently is given."""
    sides = [{case.name: (case.before, case.after)[side] for case in chosen} for side in (0, 1)]
    if not raw:
        sides = [
            {case.name: _classes(case.before, values[case.name]) for case in chosen}
            for values in sides
        ]
    before, after = (pd.DataFrame({n: _series(v) for n, v in side.items()}) for side in sides)
    return before, after


def _classes(before: Array, values: Array) -> Array:
    """Which of the reference's deciles a number lies in; texts, and numbers of few, as they are."""
    if before.dtype.kind != "f" or len(np.unique(before[~np.isnan(before)])) <= 10:
        known = set(before.tolist())
        return np.array([_named(value, known) for value in values.tolist()], dtype=object)
    edges = np.unique(np.nanquantile(before, np.arange(1, 10) / 10, method="inverted_cdf"))
    place = np.searchsorted(edges, values, side="left")
    return np.where(np.isnan(values), "null", place.astype(str)).astype(object)


def _named(value: Any, known: set[Any]) -> str:
    if value is None or value != value:
        return "null"
    return str(value) if value in known else "other"


def _series(values: Array) -> pd.Series[Any]:
    return pd.Series([None if v is None else str(v) for v in values.tolist()], dtype=object)
