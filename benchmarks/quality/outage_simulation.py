"""Tenants with outages and ordinary dips, judged as quality stage and drift gate judge them.

A tenant is a count of rows per quarter of a day: a level with weekdays and hours, a trend, a yearly
season, good and bad weeks and days, and rows that come in baskets. An outage takes part of what
should have come, from some hour of some day on. Runs happen at the ends of a schedule's intervals
and know no more than was there by then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.handoffs import LostDays
from include.monitoring.decisions import DriftEvidence, judge_drift
from include.monitoring.gate import compare_windows
from include.monitoring.profiles import WindowProfile, profile_window
from include.quality.expectation import DAY, Series
from include.quality.feasts import feasts
from include.quality.losses import Loss, find_losses
from include.tenants.config import TenantConfig
from include.use_cases.churn import USE_CASE as CHURN
from include.use_cases.drift_policy import DriftPolicy
from include.use_cases.losses import features_that_reach, withheld

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

START: Final = datetime(2023, 1, 2, tzinfo=UTC)  #: a Monday
#: Rows a day of the four sizes.
SIZES: Final = {"tiny": 8.0, "small": 40.0, "medium": 250.0, "large": 2_500.0}
#: Days of an interval; a month has the longest.
INTERVALS: Final = {"daily": 1, "weekly": 7, "monthly": 31}
Kind = Literal["plain", "baskets", "heavy", "seasonal", "holidays"]
KINDS: Final[tuple[Kind, ...]] = ("plain", "baskets", "heavy", "seasonal", "holidays")


@dataclass(frozen=True)
class Business:
    """What one tenant's days are like."""

    size: str
    kind: Kind
    seed: int
    days: int = 420

    @property
    def level(self) -> float:
        """Rows of a usual day."""
        return SIZES[self.size]

    def draw(self) -> Counts:
        """Rows of every quarter of a day, as they happened. Shape (4 * days,)."""
        rng = np.random.default_rng((self.seed, KINDS.index(self.kind)))
        day = np.arange(self.days)
        weekday = rng.gamma(12, 1 / 12, 7)
        if rng.random() < 0.25:
            weekday[6] = 0.0  # closed on Sundays
        rate = self.level * rng.lognormal(0, 0.2) * (weekday / weekday.mean())[day % 7]
        rate = rate * np.exp(rng.uniform(-0.08, 0.10) * day / 30)
        weeks = rng.normal(0, rng.uniform(0.03, 0.08), self.days // 7 + 1)
        spread = rng.uniform(0.03, 0.10)
        noise = rng.normal(0, spread, self.days)
        if self.kind == "heavy":  # every now and then a day of several times the rows
            noise = noise + np.where(
                rng.random(self.days) < 0.02, rng.exponential(1.0, self.days), 0
            )
        if self.kind == "seasonal":
            rate = rate * np.exp(0.4 * np.sin(2 * np.pi * (day / 364 + rng.random())))
        rate = rate * np.exp(weeks[day // 7] + noise)
        if self.kind == "holidays":
            rate = rate * self._holidays(rng)
        lines = 4 if self.kind == "baskets" else 1
        baskets = rng.poisson(rate / lines)
        extra = rng.poisson(baskets * (lines - 1.0)) if lines > 1 else 0
        hours = rng.dirichlet((2, 12, 16, 10))
        return rng.multinomial(baskets + extra, hours).reshape(-1)

    def _holidays(self, rng: np.random.Generator) -> Floats:
        """Feasts that are kept, and a few days of the town's own on which somewhat less is sold."""
        factor = np.ones(self.days)
        kept = rng.uniform(0.0, 0.6)
        for day in range(self.days):
            date = (START + day * DAY).date()
            if date in feasts(date.year):
                factor[day] = kept
        own = rng.choice(self.days, 6, replace=False)
        factor[own] = rng.uniform(0.65, 0.85, 6)
        return factor


@dataclass(frozen=True)
class Outage:
    """So much of what should have come is missing from an instant on, in days since the start."""

    start: float
    length: float
    depth: float

    def left(self, counts: Counts, rng: np.random.Generator) -> Counts:
        """What arrives of the days' rows."""
        inside = _inside(np.arange(len(counts)) / 4, 1 / 4, self)
        return rng.binomial(counts, 1 - self.depth * inside)


def _inside(starts: Floats, length: float, outage: Outage) -> Floats:
    """Share of each stretch of time that lies in an outage; all in days."""
    ends = np.minimum(starts + length, outage.start + outage.length)
    return np.clip(ends - np.maximum(starts, outage.start), 0, length) / length


def series(counts: Counts, until: int, closed: Sequence[int] = ()) -> Series:
    """The first days as a run sees them; feasts and closures are not open."""
    days = [(START + day * DAY).date() for day in range(until)]
    at_rest = np.array([day in feasts(day.year) for day in days])
    at_rest[[day for day in closed if day < until]] = True
    return Series(START, DAY / 4, counts[: 4 * until], ~np.repeat(at_rest, 4), np.ones(4 * until))


def lost_share(losses: Sequence[Loss], outage: Outage) -> float:
    """Share of an outage's time that lies in days found to be lost."""
    start = START + timedelta(days=outage.start)
    end = start + timedelta(days=outage.length)
    parts = ((max(one.start, start), min(one.end, end)) for one in losses)
    return sum((b - a) / (end - start) for a, b in parts if a < b)


def found(business: Business, schedule: str, outage: Outage) -> tuple[int, bool, float]:
    """Rows missing, whether the outage is known as data loss, and days wrongly said to be lost.

    It is known when the first interval that ends after it has been checked.
    """
    whole = business.draw()
    counts = outage.left(whole, np.random.default_rng((business.seed, 7)))
    interval = INTERVALS[schedule]
    over = outage.start + outage.length
    phase = business.seed % interval
    until = min(int(-(-(over - phase) // interval) * interval + phase), business.days)
    losses = find_losses(series(counts, until))
    missing = int((whole - counts)[: 4 * until].sum())
    touched = _inside(np.arange(4 * until) / 4, 1 / 4, outage) > 0
    lost = np.zeros(4 * until, dtype=bool)
    for one in losses:
        lost[(one.start - START) // (DAY / 4) : (one.end - START) // (DAY / 4)] = True
    return missing, lost_share(losses, outage) >= 0.5, float((lost & ~touched).sum() / 4)


def months_with_loss(business: Business) -> tuple[int, int]:
    """Months of ordinary days, a slow week and an announced closure included; those with a loss."""
    counts = business.draw()
    rng = np.random.default_rng((business.seed, 8))
    slow = int(rng.integers(60, business.days - 30))
    factor = np.ones(business.days)
    factor[slow : slow + 7] = rng.uniform(0.65, 0.85)
    closed = range(
        first := int(rng.integers(60, business.days - 30)), first + int(rng.integers(1, 15))
    )
    factor[list(closed)] = rng.choice([0.0, 0.2])
    left = rng.binomial(counts, np.repeat(factor, 4))
    losses = find_losses(series(left, business.days, closed))
    months = {(one.start - START) // (30 * DAY) for one in losses}
    return business.days // 30, len(months)


@dataclass
class Customers:
    """A tenant whose customers' features are watched week by week, with and without an outage."""

    seed: int
    trained: int  #: day of the champion's training
    outage: Outage
    customers: int = 300
    days: int = 300
    _lost: tuple[LostDays, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        rng = np.random.default_rng((self.seed, 9))
        often = rng.gamma(1.5, 0.25, self.customers)
        weekday = rng.gamma(12, 1 / 12, 7)
        rate = often[:, None] * weekday[np.arange(self.days) % 7]
        self._whole = rng.poisson(rate)
        inside = _inside(np.arange(self.days, dtype=float), 1.0, self.outage)
        self._left = rng.binomial(self._whole, 1 - self.outage.depth * inside)
        self._amount = rng.lognormal(0, 0.5, self._whole.shape)

    def verdicts(self, weeks: int) -> list[tuple[str, str]]:
        """Of each weekly window after the training: the verdict as it is, and without outage."""
        policy = DriftPolicy()
        sides = [self._reference(rows) for rows in (self._left, self._whole)]
        told = []
        for week in range(1, weeks + 1):
            at = self.trained + 7 * week
            if at > self.days:
                break
            lost = self._losses(at)
            if any(one.overlaps(_at(at - 7), _at(at)) for one in lost):
                name = "data_loss"
            else:
                held = policy.without(self._withheld(at, lost))
                name = _judged(sides[0], self._profile(self._left, [at]), held)
            told.append((name, _judged(sides[1], self._profile(self._whole, [at]), policy)))
        return told

    def _losses(self, at: int) -> tuple[LostDays, ...]:
        rng = np.random.default_rng((self.seed, 10))
        quarters = rng.multinomial(self._left.sum(axis=0), (0.05, 0.3, 0.4, 0.25)).reshape(-1)
        losses = find_losses(series(quarters, at))
        return tuple(LostDays("pos", one.start, one.end) for one in losses)

    def _withheld(self, at: int, lost: Sequence[LostDays]) -> dict[str, str]:
        instants = [*(_at(day) for day in self._snapshots), _at(at)]
        return withheld(features_that_reach(CHURN, TENANT, instants, lost), "it", TENANT.timezone)

    @property
    def _snapshots(self) -> list[int]:
        return [self.trained - 35 - 7 * back for back in range(4)]

    def _reference(self, rows: Counts) -> WindowProfile:
        return self._profile(rows, self._snapshots)

    def _profile(self, rows: Counts, instants: Sequence[int]) -> WindowProfile:
        return profile_window(
            pa.concat_tables([self._features(rows, at) for at in instants]), ["user_id"]
        )

    def _features(self, rows: Counts, at: int) -> pa.Table:
        """A few of churn's own features, of those active within its window."""
        active = rows[:, max(0, at - CHURN.active_window // DAY) : at].any(axis=1)
        who, rows, amount = np.flatnonzero(active), rows[active, :at], self._amount[active, :at]
        bought = rows > 0
        last = at - 1 - np.argmax(bought[:, ::-1], axis=1)

        def over(values: npt.NDArray[Any], days: int) -> npt.NDArray[Any]:
            return np.asarray(values[:, max(0, at - days) :].sum(axis=1))

        spend = {days: over(rows * amount, days) for days in (30, 90)}
        columns: dict[str, npt.NDArray[Any]] = {
            "recency__time_since_last_all": (at - last).astype(float),
            **{f"frequency__count_{days}d": over(rows, days) for days in (7, 30, 90)},
            **{f"frequency__days_active_{days}d": over(bought, days) for days in (7, 30, 90)},
            **{f"spend__sum_amount_{days}d": spend[days] for days in (30, 90)},
            "spend__trend": np.divide(
                spend[30], spend[90], out=np.zeros(len(who)), where=spend[90] > 0
            ),
        }
        keys = {
            "user_id": pa.array([f"u{n}" for n in who]),
            "as_of": pa.array([_at(at)] * len(who)),
        }
        return pa.table({**keys, **{name: pa.array(values) for name, values in columns.items()}})


def _judged(reference: WindowProfile, current: WindowProfile, policy: DriftPolicy) -> str:
    there = {n: one for n, one in current.columns.items() if not policy.reason_to_skip(n)}
    found = compare_windows(
        reference, WindowProfile(there, current.entities, current.weekdays), policy
    )
    evidence = DriftEvidence(
        "1",
        False,
        found.reference_entities,
        found.current_entities,
        found.columns,
    )
    return judge_drift(evidence, policy).name


def _at(day: int) -> datetime:
    return START + day * DAY


TENANT: Final = TenantConfig.model_validate(
    {
        "id": "simulated",
        "name": "Simulated",
        "region": "eu",
        "schedule": "0 0 * * 1",
        "history_from": START.date(),
        "sources": [
            {
                "name": "pos",
                "connector": {"type": "file", "path": "nowhere.csv", "format": "csv"},
                "events": {
                    "event": "Order Completed",
                    "event_id": ["id"],
                    "event_timestamp": "at",
                    "user_id": "user",
                },
            }
        ],
        "use_cases": {"churn": {}},
    }
)
