"""Forecasts of a total: quantile trees beside rules of thumb, with intervals.

Entities are told apart by how much there usually is of them, the *level*, in bands. In each band
the median trees answer, or one of the rules where that was reliably better on later data (see
`forecast_fit`), or the mean of the rules where too little is known to choose by, which is hard to
beat then (Clemen 1989, "Combining forecasts: a review and annotated bibliography"). Trees predict
multiples of `1 + level`, so that one model serves an item that sells twice a month and one that
sells thousands a day, and one line of 90,000 pieces bends nothing else; a total that has a bound,
such as days of a month, they predict as it is.

Intervals are conformalised quantile regression (Romano, Patterson and Candès 2019), corrected band
by band (Mondrian; Vovk, Lindsay, Nouretdinov and Gammerman 2003); around a rule alone they are
split conformal intervals. None reaches below zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

import lightgbm
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.errors import IntegrityError
from include.models import boosting
from include.models.estimators import matrix
from include.models.lightgbm_text import booster_text, read_booster, without_ranges
from include.models.model import Model, Scores

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
KIND: Final = "forecast"
#: What the trees predict, one booster each.
QUANTILES: Final = (0.025, 0.1, 0.5, 0.9, 0.975)
#: Interval → the quantiles that its ends start from.
INTERVALS: Final = {"80": (0.1, 0.9), "95": (0.025, 0.975)}
#: Levels at which a band ends.
EDGES: Final = tuple(float(f"{digit}e{power}") for power in range(7) for digit in (1, 3))
LEVELS: Final = len(EDGES) + 1
#: Those who are too young to have a level have bands of their own, by what stands in for it.
BANDS: Final = 2 * LEVELS
#: In place of a rule: the median trees, or the mean of all rules.
TREES: Final = -1
MEAN: Final = -2
_LARGEST: Final = 1e15  #: of a feature, so that no product of two is infinite
_PARTS: Final = {"rules", "trees", "chosen", "margins", "most"}


@dataclass(frozen=True)
class Rule:
    """A feature as forecast; `then` stands in where it is unknown, and zero where that is too."""

    column: str
    then: str = ""


@dataclass(frozen=True)
class Situation:
    """The facts about each row that are known before anything is predicted."""

    by_rule: Floats  #: `(rows, rules)`, what each rule says, none of it below zero
    scale: Floats  #: what the trees predict multiples of: `1 + level`, or 1 of a bounded total
    band: Whole


@dataclass(frozen=True)
class ForecastPredictor:
    """Rules, trees or both; of the rules the last one is the level."""

    columns: tuple[str, ...]
    rules: tuple[Rule, ...]
    boosters: tuple[lightgbm.Booster, ...]  #: one per quantile, or none
    chosen: tuple[int, ...]  #: per band the number of the rule that answers, `TREES` or `MEAN`
    #: Per interval and band, by how many scales it is wider; empty where nothing was calibrated.
    margins: Mapping[str, tuple[float, ...]]
    most: float | None = None  #: what no total exceeds, e.g. the days of the horizon

    WORDS: ClassVar = boosting.WORDS | {*_PARTS, *INTERVALS}

    def predict(self, features: pa.Table) -> Scores:
        """Forecasts of shape `(rows,)`."""
        there = self.situation(features)
        return self._point(there, self._median(features, there))

    def intervals(self, features: pa.Table) -> Mapping[str, Scores]:
        """`low_80`, `high_80`, `low_95` and `high_95`, which hold the forecast; none uncalibrated.

        The wider one holds the narrower.
        """
        if not self.margins:
            return {}
        there = self.situation(features)
        point = self._point(there, self._median(features, there))
        found: dict[str, Scores] = {}
        low = high = point
        for name in INTERVALS:
            starts = self.starts(features, there, name)
            margin = np.array(self.margins[name])[there.band] * there.scale
            low = np.minimum(low, self._possible(starts[0] - margin))
            high = np.maximum(high, self._possible(starts[1] + margin))
            found[f"low_{name}"], found[f"high_{name}"] = low, high
        return found

    def situation(self, features: pa.Table) -> Situation:
        """What the rules say, and which band each row belongs to."""
        known = [matrix(features, (rule.column,))[:, 0] for rule in self.rules]
        young = np.isnan(known[-1])
        by_rule = np.stack(
            [self._filled(features, *pair) for pair in zip(self.rules, known, strict=True)], axis=1
        )
        level = by_rule[:, -1]
        band = np.searchsorted(EDGES, level, side="right") + np.where(young, LEVELS, 0)
        scale = 1.0 + level if self.most is None else np.ones(len(level))
        return Situation(by_rule, scale, band)

    def starts(self, features: pa.Table, there: Situation, interval: str) -> tuple[Scores, Scores]:
        """Ends of an interval before it is corrected: quantiles, or the forecast itself."""
        if not self.boosters:
            point = self._point(there, None)
            return point, point
        low, high = (self._quantile(features, there, one) for one in INTERVALS[interval])
        return np.minimum(low, high), np.maximum(low, high)

    def _median(self, features: pa.Table, there: Situation) -> Scores | None:
        return self._quantile(features, there, 0.5) if self.boosters else None

    def _quantile(self, features: pa.Table, there: Situation, quantile: float) -> Scores:
        if features.num_rows == 0:
            return np.empty(0)
        booster = self.boosters[QUANTILES.index(quantile)]
        found = booster.predict(matrix(features, self.columns), num_threads=1)
        return self._possible(np.asarray(found, dtype=np.float64) * there.scale)

    def _point(self, there: Situation, median: Scores | None) -> Scores:
        chosen = np.array(self.chosen)[there.band]
        rows = np.arange(len(chosen))
        of_one = there.by_rule[rows, np.maximum(chosen, 0)]
        ruled = self._possible(np.where(chosen == MEAN, there.by_rule.mean(axis=1), of_one))
        return ruled if median is None else np.where(chosen == TREES, median, ruled)

    def _filled(self, features: pa.Table, rule: Rule, value: Floats) -> Floats:
        if rule.then:
            value = np.where(np.isnan(value), matrix(features, (rule.then,))[:, 0], value)
        return np.clip(np.nan_to_num(value, posinf=_LARGEST), 0.0, _LARGEST)

    def _possible(self, totals: Floats) -> Floats:
        return np.clip(totals, 0.0, self.most)

    def without_extremes(self) -> ForecastPredictor:
        """The trees without the ranges of their features."""
        return replace(self, boosters=tuple(map(without_ranges, self.boosters)))

    def payload(self) -> dict[str, Any]:
        """The predictor in JSON's types, without its columns."""
        return {
            "rules": [[rule.column, rule.then] for rule in self.rules],
            "trees": [booster_text(booster) for booster in self.boosters],
            "chosen": list(self.chosen),
            "margins": {name: list(values) for name, values in self.margins.items()},
            "most": self.most,
        }

    @classmethod
    def from_payload(cls, columns: Sequence[str], payload: Any) -> ForecastPredictor:
        """The predictor in it.

        Raises:
            IntegrityError: it is not what `payload` gives.
        """
        if not isinstance(payload, dict) or set(payload) != _PARTS:
            raise IntegrityError(f"a forecast has the parts {', '.join(sorted(_PARTS))}")
        rules = tuple(Rule(column, then) for column, then in payload["rules"])
        named = {name for rule in rules for name in (rule.column, rule.then) if name}
        if not rules or not all(rule.column for rule in rules) or not named <= set(columns):
            raise IntegrityError("a forecast has rules, over columns that it reads")
        if len(payload["trees"]) not in (0, len(QUANTILES)):
            raise IntegrityError(f"a forecast has no trees, or those of {len(QUANTILES)} quantiles")
        boosters = tuple(read_booster(text, columns) for text in payload["trees"])
        chosen = payload["chosen"]
        allowed = {MEAN, *([TREES] if boosters else []), *range(len(rules))}
        if len(chosen) != BANDS or not all(type(one) is int and one in allowed for one in chosen):
            raise IntegrityError(f"a forecast says for {BANDS} bands what answers there")
        margins = {name: _numbers(values) for name, values in payload["margins"].items()}
        if margins and (
            set(margins) != set(INTERVALS) or any(len(one) != BANDS for one in margins.values())
        ):
            raise IntegrityError(f"a forecast has margins for {BANDS} bands, or none")
        most = None if payload["most"] is None else _numbers([payload["most"]])[0]
        return cls(tuple(columns), rules, boosters, tuple(chosen), margins, most)


def forecast_model(predictor: ForecastPredictor, parameters: Mapping[str, Any]) -> Model:
    """The predictor as a model."""
    return Model(KIND, predictor.columns, predictor, dict(parameters))


def _numbers(values: Sequence[Any]) -> tuple[float, ...]:
    if not all(type(one) in (int, float) and np.isfinite(one) for one in values):
        raise IntegrityError("a forecast has a number that is none")
    return tuple(float(one) for one in values)
