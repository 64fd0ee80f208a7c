"""What matured labels say about the champion: its live metric, and the rate of outcomes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from include.monitoring import profile_store, verdicts
from include.monitoring.decisions import Calibration, Performance
from include.monitoring.measures import Rates
from include.monitoring.policy import DriftPolicy
from include.monitoring.season import NEAR, YEAR
from include.monitoring.verdicts import Live
from include.monitoring.windows import PREDICTION
from include.tenants.namespace import TenantRef


@dataclass(frozen=True)
class Champion:
    """What the model that serves was judged on when it was promoted."""

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

    def read(self) -> pa.Table:
        """The reference's rows."""
        return self.reference() if callable(self.reference) else self.reference


@dataclass(frozen=True)
class Matured:
    """What is known of the newest predictions whose labels have matured."""

    performance: Performance | None = None
    calibration: Calibration | None = None


def matured(
    tenant: TenantRef, use_case: str, champion: Champion, policy: DriftPolicy, as_of: datetime
) -> Matured:
    """What the newest live figures that are known at `as_of` say, beside those of the season."""
    if not champion.metric or not all(map(math.isfinite, (champion.low, champion.high))):
        return Matured()
    metric = champion.metric
    figures = verdicts.live_figures(tenant, use_case, champion.version, metric, as_of)
    enough = [one for one in figures if one.labels >= policy.minimum_rows]
    if not enough:
        return Matured()
    live = enough[-1]
    year = verdicts.season_figure(tenant, use_case, metric, live.as_of - YEAR, NEAR)
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
    )
    if live.rates is None or not 0 < champion.outcome_rate < 1:
        return Matured(performance)
    reference = profile_store.reference(tenant, use_case, champion.version)
    if reference is None or PREDICTION not in reference.columns:
        return Matured(performance)
    expected = reference.columns[PREDICTION].mean
    found = calibration(
        champion.outcome_rate, expected, reference.entities, live.rates, live.as_of, year
    )
    return Matured(performance, found)


def calibration(
    outcome_rate: float,
    expected_rate: float,
    entities: int,
    live: Rates,
    as_of: datetime,
    year: Live | None = None,
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


def log_odds(rate: float) -> float:
    """The logarithm of the odds of a rate."""
    return math.log(rate / (1 - rate))
