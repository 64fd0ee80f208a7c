"""Feature tables with labels, drawn directly: for experiments that need no events.

The tenants of one seed share a mechanism and each deviates from it by a known share, so it is known
what a model of all tenants can reach and what only a tenant's own can.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from include.errors import ConfigError
from include.simulate.faults import Drift as Drift
from include.simulate.mechanisms import (
    REFERENCE_ROWS,
    Mechanism,
    draw_mechanism,
    mixed,
    overlap,
    sigmoid,
    solve_intercept,
)
from include.simulate.seeds import Array, Name, stream

#: Part of the variance of every feature that all features share, so that they are correlated.
SHARED: Final = 0.2
_COUNT_MEAN, _COUNT_SCALE = 1.0, 0.8
_FLAG_ABOVE = 0.5
#: Mean and deviation of the logarithm of 1 + a count, and of a flag, as `expose` makes them.
_COUNT_CENTRE, _COUNT_SPREAD = 1.2014, 0.6804
_FLAG_RATE, _FLAG_SPREAD = 0.3085, 0.4619


@dataclass(frozen=True)
class TablePlan:
    """One draw from one tenant.

    Tables of one `seed` share the global mechanism; tables of one `seed` and `tenant` share the
    tenant's mechanism; `sample` numbers independent draws from it (a fresh window, say).
    """

    seed: int
    rows: int
    deviation: float = 0.0  #: share of the mechanism's variance that is the tenant's own, 0 to 1
    features: int = 12
    positive_rate: float = 0.2  #: mean probability where nothing has drifted
    drift: Drift | tuple[Drift, ...] | None = None
    tenant: Name = 0
    sample: int = 0
    first_day: int = 0
    days: int = 180  #: rows are spread evenly over `first_day … first_day + days − 1`
    signal: float = 1.5  #: deviation of the log odds: 0 is no signal, 1.5 an AUC of about 0.81

    def __post_init__(self) -> None:
        if self.rows < 0 or self.features < 1 or self.days < 1 or self.signal < 0 or self.seed < 0:
            raise ConfigError(
                "a table has 0 rows or more, at least one feature and one day, and neither a "
                f"negative signal nor a negative seed: {self}"
            )
        if not 0 <= self.deviation <= 1:
            raise ConfigError(f"a deviation is a share from 0 to 1, not {self.deviation}")
        if not 0 < self.positive_rate < 1:
            raise ConfigError(f"a positive rate lies between 0 and 1, not at {self.positive_rate}")

    @property
    def drifts(self) -> tuple[Drift, ...]:
        """The drifts as a tuple, none or one or several."""
        if self.drift is None:
            return ()
        return (self.drift,) if isinstance(self.drift, Drift) else self.drift


@dataclass(frozen=True)
class Table:
    """Rows in the order of their days."""

    features: pa.Table  #: float64 columns f0 … f{k−1}
    label: NDArray[np.int8]
    probability: Array  #: the true one given the features and the day: no model knows better
    day: NDArray[np.int64]

    @property
    def matrix(self) -> Array:
        """The features as rows × columns."""
        columns = [column.to_numpy() for column in self.features.columns]
        return np.column_stack(columns)


def draw_table(plan: TablePlan) -> Table:
    """Draw the table; the same plan gives the same bytes."""
    draw = stream(plan.seed, "table", plan.tenant, plan.sample)
    day = np.sort(plan.first_day + draw.integers(plan.days, size=plan.rows))
    latent = draw_latent(draw, plan.features, plan.rows)
    _move(latent, plan, day)
    exposed = expose(latent)
    probability = true_probability(plan, exposed, day, prior=False)
    ratios = _prior_ratios(plan, day)
    if ratios is not None:
        probability = _tilt(plan, exposed, day, probability, ratios, draw)
    label = (draw.random(plan.rows) < probability).astype(np.int8)
    names = [f"f{i}" for i in range(plan.features)]
    return Table(pa.table(list(exposed), names=names), label, probability, day)


def true_probability(
    plan: TablePlan, exposed: Array, day: NDArray[np.int64], *, prior: bool = True
) -> Array:
    """The probability of a positive for features (features × rows) seen on these days."""
    standard = standard_form(exposed)
    score = _tenant_score(plan, standard)
    for number, drift in enumerate(plan.drifts):
        if drift.kind == "concept":
            share = drift.size * drift.strength(day)
            other = mechanism(plan.seed, plan.features, "concept", number).score(standard)
            apart = _overlap(plan.seed, plan.tenant, plan.deviation, plan.features, number)
            score = mixed(score, other, share, apart)
    probability = sigmoid(plan.signal * score + _intercept(plan))
    ratios = _prior_ratios(plan, day) if prior else None
    if ratios is not None:
        positive, negative = ratios
        weighted = positive * probability
        probability = weighted / (weighted + negative * (1 - probability))
    return probability


@lru_cache(maxsize=4_096)
def mechanism(seed: int, features: int, *names: Name) -> Mechanism:
    """The mechanism of that name, standardised on the reference rows."""
    return draw_mechanism(seed, names, reference(seed, features))


@lru_cache(maxsize=64)
def reference(seed: int, features: int) -> Array:
    """Reference rows of a feature table in standard form, read-only: features × rows."""
    draw = stream(seed, "reference", features)
    rows = standard_form(expose(draw_latent(draw, features, REFERENCE_ROWS)))
    rows.flags.writeable = False
    return rows


def draw_latent(draw: np.random.Generator, features: int, rows: int) -> Array:
    """Correlated normal variates, from which features are made: features × rows."""
    common = draw.standard_normal(rows)
    own = draw.standard_normal((features, rows))
    own *= np.sqrt(1 - SHARED)
    own += np.sqrt(SHARED) * common
    return own


def expose(latent: Array) -> Array:
    """What a feature table shows, in place: by turns a measure, a positive amount, a count, a flag.

    Nothing else enters a label, so the true probability is the best that any model can answer.
    """
    np.exp(latent[1::4], out=latent[1::4])
    counts = latent[2::4]
    np.floor(np.exp(_COUNT_MEAN + _COUNT_SCALE * counts), out=counts)
    np.greater(latent[3::4], _FLAG_ABOVE, out=latent[3::4])
    return latent


def standard_form(features: Array) -> Array:
    """What the mechanisms read: exposed features, each brought to about mean 0 and deviation 1."""
    standard = features.copy()
    np.log(features[1::4], out=standard[1::4])
    standard[2::4] = (np.log1p(features[2::4]) - _COUNT_CENTRE) / _COUNT_SPREAD
    standard[3::4] = (features[3::4] - _FLAG_RATE) / _FLAG_SPREAD
    return standard


def _tenant_score(plan: TablePlan, standard: Array) -> Array:
    score = mechanism(plan.seed, plan.features, "global").score(standard)
    if plan.deviation:
        own = mechanism(plan.seed, plan.features, "tenant", plan.tenant).score(standard)
        common = _common(plan.seed, plan.tenant, plan.features)
        score = mixed(score, own, plan.deviation, common)
    return score


@lru_cache(maxsize=4_096)
def _common(seed: int, tenant: Name, features: int) -> float:
    """What the tenant's own mechanism happens to have in common with the global one."""
    rows = reference(seed, features)
    own = mechanism(seed, features, "tenant", tenant).score(rows)
    return overlap(mechanism(seed, features, "global").score(rows), own)


@lru_cache(maxsize=4_096)
def _overlap(seed: int, tenant: Name, deviation: float, features: int, number: int) -> float:
    """What another concept happens to have in common with the tenant's mechanism."""
    rows = reference(seed, features)
    plan = TablePlan(seed, 0, deviation, features, tenant=tenant)
    return overlap(
        _tenant_score(plan, rows), mechanism(seed, features, "concept", number).score(rows)
    )


def _intercept(plan: TablePlan) -> float:
    return _solved(
        plan.seed, plan.tenant, plan.deviation, plan.features, plan.positive_rate, plan.signal
    )


@lru_cache(maxsize=4_096)
def _solved(
    seed: int, tenant: Name, deviation: float, features: int, positive_rate: float, signal: float
) -> float:
    plan = TablePlan(seed, 0, deviation, features, tenant=tenant)
    scores = _tenant_score(plan, reference(seed, features))
    return solve_intercept(signal * scores, positive_rate)


def _move(latent: Array, plan: TablePlan, day: NDArray[np.int64]) -> None:
    """Covariate drift and seasons, in place; the direction is the world's, shared by tenants."""
    for number, drift in enumerate(plan.drifts):
        if drift.kind not in ("covariate", "seasonal"):
            continue
        direction = stream(plan.seed, "direction", drift.kind, number)
        moved = direction.permutation(plan.features)[: max(1, plan.features // 3)]
        signs = direction.choice((-1.0, 1.0), len(moved))
        latent[moved] += drift.size * np.outer(signs, drift.strength(day))


def _prior_ratios(plan: TablePlan, day: NDArray[np.int64]) -> tuple[Array, Array] | None:
    """How many times as frequent positives and negatives have become, per row."""
    log_odds = np.zeros(len(day))
    for drift in plan.drifts:
        if drift.kind == "prior":
            log_odds += drift.size * drift.strength(day)
    if not log_odds.any():
        return None
    rate = plan.positive_rate
    now = sigmoid(np.log(rate / (1 - rate)) + log_odds)
    return now / rate, (1 - now) / (1 - rate)


def _tilt(
    plan: TablePlan,
    exposed: Array,
    day: NDArray[np.int64],
    probability: Array,
    ratios: tuple[Array, Array],
    draw: np.random.Generator,
) -> Array:
    """Replace rows in place until features are distributed as under the new prior (rejection).

    Positives get `ratios[0]` times as frequent, so a row with probability p is seen
    `p × ratios[0] + (1 − p) × ratios[1]` times as often as before.
    """
    positive, negative = ratios
    most = np.maximum(positive, negative)
    open_rows = np.arange(len(day))
    while len(open_rows):
        p = probability[open_rows]
        weight = positive[open_rows] * p + negative[open_rows] * (1 - p)
        kept = draw.random(len(open_rows)) * most[open_rows] < weight
        probability[open_rows[kept]] = (positive[open_rows] * p / weight)[kept]
        open_rows = open_rows[~kept]
        latent = draw_latent(draw, plan.features, len(open_rows))
        _move(latent, plan, day[open_rows])
        exposed[:, open_rows] = expose(latent)
        probability[open_rows] = true_probability(
            plan, exposed[:, open_rows], day[open_rows], prior=False
        )
    return probability
