"""Matured labels: the champion's live metric and the rate of outcomes beside its promises."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

import pyarrow as pa

from include.models.measures import log_odds
from include.models.rates import Rates
from include.monitoring.decisions import Calibration, Performance
from include.monitoring.drift_records import DriftRecords
from include.monitoring.live_metrics import (
    LiveMetric,
    LiveMetrics,
    known_metrics,
    season_metric,
)
from include.monitoring.season import NEAR, YEAR
from include.monitoring.windows import PREDICTION
from include.registry.decline import Window
from include.registry.two_way import UNKNOWN, Swing
from include.tenants.namespace import TenantRef
from include.use_cases.drift_policy import DriftPolicy

_PERFORMANCE: Final = "performance"
_CALIBRATION: Final = "calibration"


@dataclass(frozen=True)
class Champion:
    """The model that serves, with the figures it was promoted by."""

    version: str
    as_of: datetime  #: until when its training knew the data
    #: Features and `prediction` of its holdout, or what reads them: they are needed once, and for
    #: pages. With `as_of` and the entity's join key (or a code in its place) the weight of repeated
    #: snapshots is known, otherwise it is guessed low.
    reference: pa.Table | Callable[[], pa.Table]
    metric: str = ""  #: the metric that decided, e.g. `auc`; empty when there is no interval
    value: float = math.nan
    low: float = math.nan  #: 95 % interval
    high: float = math.nan
    #: Share of positives in its holdout, where predictions are probabilities: what the rate of
    #: later outcomes is judged by. NaN: it is not.
    outcome_rate: float = math.nan
    #: How much the metric and the calibration swing from window to window, as known at promotion.
    swing: Swing = UNKNOWN
    calibration_swing: Swing = UNKNOWN
    error: float | None = None  #: of `value` by entity
    blocks: float = 1.0  #: of time that the holdout was
    reach: timedelta = timedelta(0)  #: of labels: windows within it are not independent

    def read(self) -> pa.Table:
        """The reference's rows."""
        return self.reference() if callable(self.reference) else self.reference


@dataclass(frozen=True)
class Matured:
    """The newest predictions whose labels have matured, judged."""

    performance: Performance | None = None
    calibration: Calibration | None = None
    unjudged: Mapping[str, str] = field(default_factory=dict)  #: which of them is not, and why


def matured(
    tenant: TenantRef,
    use_case: str,
    champion: Champion,
    policy: DriftPolicy,
    as_of: datetime,
    drift: DriftRecords,
    live_metrics: LiveMetrics,
) -> Matured:
    """Judge the newest live figures known at `as_of`, beside those of the season."""
    metric = champion.metric
    if not metric or not all(map(math.isfinite, (champion.low, champion.high))):
        return _unjudged(f"version {champion.version} was promoted without a measured interval")
    history = live_metrics.history(tenant, use_case)
    known = known_metrics(history, champion.version, metric, as_of)
    figures = [one for one in known if one.labels >= policy.minimum_rows]
    if not figures:
        if not known:
            return _unjudged(
                f"no labels of predictions by version {champion.version} that have matured give "
                f"{metric} a value (with a single class, say, they do not)"
            )
        most = max(one.labels for one in known)
        return _unjudged(f"{most} labels have matured at most, {policy.minimum_rows} are needed")
    live, before = figures[-1], earlier(figures, champion.reach)
    year = season_metric(history, metric, live.as_of - YEAR, NEAR)
    performance = Performance(
        metric,
        champion.value,
        champion.low,
        champion.high,
        live.value,
        live.error,
        live.as_of,
        None if year is None else year.value,
        0.0 if year is None else year.error,
        live.effective,
        [Window(one.value, one.error, one.effective) for one in before],
        champion.swing,
        champion.error,
        champion.blocks,
    )
    if live.rates is None or not 0 < champion.outcome_rate < 1:
        why = "scores are no probabilities, or the holdout's rate of outcomes is not known"
        return Matured(performance, unjudged={_CALIBRATION: why})
    reference = drift.reference(tenant, use_case, champion.version)
    if reference is None or PREDICTION not in reference.columns:
        return Matured(performance, unjudged={_CALIBRATION: "the reference has no prediction"})
    expected = reference.columns[PREDICTION].mean
    found = calibration(
        champion.outcome_rate, expected, reference.entities, live.rates, live.as_of, year
    )
    if found is None:
        why = "all labels are of one class, or all were predicted to be"
        return Matured(performance, unjudged={_CALIBRATION: why})
    found = replace(
        found,
        before=[gap for one in before if (gap := _gap(one)) is not None],
        swing=champion.calibration_swing,
        promoted_blocks=champion.blocks,
    )
    return Matured(performance, found)


def _unjudged(reason: str) -> Matured:
    return Matured(unjudged={_PERFORMANCE: reason, _CALIBRATION: reason})


def earlier(figures: Sequence[LiveMetric], reach: timedelta) -> list[LiveMetric]:
    """The figures of windows before the newest one, a reach apart, oldest first."""
    found: list[LiveMetric] = []
    for one in reversed(figures):
        newer = found[-1] if found else figures[-1]
        if newer.as_of - one.as_of >= max(reach, _MOMENT):
            found.append(one)
    return found[::-1]


def _gap(figure: LiveMetric) -> Window | None:
    """Log odds of outcomes less those predicted; None where either is 0 or 1, or unknown."""
    rates = figure.rates
    if rates is None or not (0 < rates.outcome < 1 and 0 < rates.expected < 1):
        return None
    error = rates.error / (rates.outcome * (1 - rates.outcome))
    return Window(log_odds(rates.outcome) - log_odds(rates.expected), error)


#: Two figures of one instant are of one window.
_MOMENT: Final = timedelta(seconds=1)


def calibration(
    outcome_rate: float,
    expected_rate: float,
    entities: int,
    live: Rates,
    as_of: datetime,
    year: LiveMetric | None = None,
) -> Calibration | None:
    """The gap between outcomes and predictions, on the holdout and now; None at 0 % or 100 %."""
    rates = (outcome_rate, expected_rate, live.outcome, live.expected)
    if not all(0 < rate < 1 for rate in rates):
        return None
    season = year.rates if year is not None else None
    known = season is not None and 0 < season.outcome < 1 and 0 < season.expected < 1
    return Calibration(
        promoted=log_odds(outcome_rate) - log_odds(expected_rate),
        promoted_error=1 / math.sqrt(max(entities, 1) * outcome_rate * (1 - outcome_rate)),
        live=log_odds(live.outcome) - log_odds(live.expected),
        live_error=live.error / (live.outcome * (1 - live.outcome)),
        outcome_rate=live.outcome,
        expected_rate=live.expected,
        as_of=as_of,
        season=log_odds(season.outcome) - log_odds(season.expected) if season and known else None,
    )
