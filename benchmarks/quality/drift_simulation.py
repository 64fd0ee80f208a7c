"""Tenants with drift at a known day, watched week by week by the gate that the platform runs.

A tenant has a model, fitted on its past and judged on a later holdout, and windows of fresh rows.
Every window is judged by `compare_windows`, `explain` and `judge_drift`, as in the monitoring
stage, with what the weeks of the holdout tell of how much weeks swing; only Postgres is left out.
Labels of a window count as known when it is judged, so for performance `within 3 windows` means 3
windows whose labels have matured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final

import numpy as np
import pyarrow as pa
from sklearn.linear_model import LogisticRegression

from benchmarks.quality.tables import Drift, Table, TablePlan, draw_table
from include.models.measures import EntityMetric, log_odds, measure_rows
from include.monitoring.decisions import DriftEvidence, Performance, Verdict, judge_drift
from include.monitoring.gate import WindowComparison, compare_windows, explain
from include.monitoring.live_metrics import LiveMetric
from include.monitoring.matured import calibration
from include.monitoring.profiles import WindowProfile, profile_window
from include.monitoring.season import NEAR, YEAR, StoredWindow
from include.registry.decline import Window as Later
from include.registry.two_way import Swing
from include.use_cases.drift_policy import DriftPolicy

START: Final = datetime(2024, 1, 1, tzinfo=UTC)  #: a Monday
DAY: Final = timedelta(days=1)
TRAINING: Final = 3_000
HOLDOUT: Final = 1_500
#: Where training and holdout end and the windows begin, in days.
TRAINED = 364


@dataclass(frozen=True)
class Window:
    """Fresh rows, scored and with their labels."""

    as_of: datetime
    profile: WindowProfile
    measured: EntityMetric | None


@dataclass
class Tenant:
    """One simulated tenant and its champion."""

    plan: TablePlan
    policy: DriftPolicy
    #: Days that make up the reference, before `TRAINED`; all of eight weeks, or one weekday's.
    reference_days: Sequence[int] = (TRAINED - 56,)
    reference_length: int = 56

    def __post_init__(self) -> None:
        past = replace(self.plan, rows=TRAINING, first_day=TRAINED - 180, days=120, sample=1)
        table = draw_table(past)
        self._model = LogisticRegression(max_iter=300).fit(table.matrix, table.label)
        rows = HOLDOUT // len(self.reference_days)
        parts = [
            draw_table(
                replace(
                    self.plan,
                    rows=rows,
                    first_day=day,
                    days=self.reference_length,
                    sample=2 + number,
                )
            )
            for number, day in enumerate(self.reference_days)
        ]
        tables = [
            self._scored(part, START + day * DAY)
            for part, day in zip(
                parts, [d + self.reference_length for d in self.reference_days], strict=True
            )
        ]
        self.reference = profile_window(pa.concat_tables(tables), ("user_id",))
        label = np.concatenate([part.label for part in parts])
        scores = np.concatenate([t["prediction"].to_numpy() for t in tables])
        self._promoted = _measure(label, scores)
        self._outcome_rate = float(label.mean())
        fitted = self._model.predict_proba(table.matrix)[:, 1]
        #: What the weeks of holdout and training tell of how much weeks swing.
        self._weeks = _weeks(np.concatenate([part.day for part in parts]), label, scores)
        self._earlier = _weeks(table.day, table.label.astype(np.float64), fitted)
        self._judged: list[Window] = []
        self.stored: list[StoredWindow] = []
        self._figures: list[LiveMetric] = []

    def rows(self, first_day: int, days: int = 7) -> pa.Table:
        """The scored rows of some days."""
        table = self._draw(first_day, days)
        return self._scored(table, START + (first_day + days) * DAY)

    def window(self, first_day: int, days: int = 7) -> Window:
        """The rows of some days, judged at their end."""
        table, as_of = self._draw(first_day, days), START + (first_day + days) * DAY
        scored = self._scored(table, as_of)
        measured = _measure(table.label, scored["prediction"].to_numpy())
        return Window(as_of, profile_window(scored, ("user_id",)), measured)

    def keep(self, window: Window, *, drifted: bool = False) -> None:
        """Store a window as the platform does, so that later ones can be compared with it."""
        self.stored.append(StoredWindow(window.as_of, "1", window.profile, drifted))
        if window.measured is not None:
            one = window.measured
            self._figures.append(
                LiveMetric(
                    window.as_of,
                    "auc",
                    "1",
                    one.value,
                    one.error,
                    len(one.entities),
                    window.as_of,
                    one.effective,
                    one.rates,
                )
            )

    def judge(self, window: Window, *, season: bool = True) -> Verdict:
        """What the platform concludes; windows come in the order of time."""
        found = compare_windows(self.reference, window.profile, self.policy)
        if season and found.differs:
            found = explain(
                found,
                self.reference,
                window.profile,
                self.stored,
                version="1",
                trained_as_of=START + TRAINED * DAY,
                as_of=window.as_of,
                policy=self.policy,
            )
        verdict = judge_drift(self._evidence(found, window, season), self.policy)
        if season:
            self._judged.append(window)
        return verdict

    def _evidence(self, found: WindowComparison, window: Window, season: bool) -> DriftEvidence:
        base = DriftEvidence(
            "1",
            False,
            found.reference_entities,
            found.current_entities,
            found.columns,
            found.prediction,
        )
        promoted, live = self._promoted, window.measured
        if promoted is None or live is None or promoted.rates is None or live.rates is None:
            return base
        year = self._year_before(window.as_of) if season else None
        before = [one.measured for one in self._judged if one.measured is not None]
        lately = [one for one in map(_gap, before) if one is not None]
        calibrated = calibration(
            self._outcome_rate,
            self.reference.columns["prediction"].mean,
            HOLDOUT,
            live.rates,
            window.as_of,
            year,
        )
        if calibrated is not None:
            gaps = (
                [g for g in map(_gap, p) if g is not None] for p in (self._weeks, self._earlier)
            )
            calibrated = replace(
                calibrated, before=lately, swing=_swing(gaps), promoted_blocks=len(self._weeks)
            )
        return replace(
            base,
            performance=Performance(
                "auc",
                promoted.value,
                promoted.value - 1.96 * promoted.error,
                promoted.value + 1.96 * promoted.error,
                live.value,
                live.error,
                window.as_of,
                None if year is None else year.value,
                0.0 if year is None else year.error,
                live.effective,
                [Later(one.value, one.error, one.effective) for one in before],
                _swing((self._weeks, self._earlier)),
                promoted.error,
                len(self._weeks),
            ),
            calibration=calibrated,
        )

    def _draw(self, first_day: int, days: int) -> Table:
        plan = replace(self.plan, first_day=first_day, days=days, sample=1_000 + first_day)
        return draw_table(plan)

    def _year_before(self, as_of: datetime) -> LiveMetric | None:
        near = [one for one in self._figures if abs(one.as_of - (as_of - YEAR)) <= NEAR]
        return min(near, key=lambda one: abs(one.as_of - (as_of - YEAR)), default=None)

    def _scored(self, table: Table, as_of: datetime) -> pa.Table:
        rows = len(table.label)
        scores = self._model.predict_proba(table.matrix)[:, 1]
        named = table.features.append_column(
            "user_id", pa.array([f"u{as_of.timestamp()}{i}" for i in range(rows)])
        )
        instants = pa.array([as_of] * rows, pa.timestamp("us", tz="UTC"))
        return named.append_column("as_of", instants).append_column("prediction", pa.array(scores))


@dataclass(frozen=True)
class Setting:
    """What tenants have in common."""

    rows: int  #: entities per window
    features: int = 12
    kind: str = ""  #: of drift; none where empty
    size: float = 0.0
    over: float = 0.0  #: days that the change takes

    @cached_property
    def drift(self) -> Drift | None:
        """The drift, from the day on that the windows begin plus four quiet weeks."""
        if not self.kind:
            return None
        return Drift(self.kind, TRAINED + 28, self.size, self.over)  # type: ignore[arg-type]

    def tenant(self, seed: int) -> Tenant:
        """One of them."""
        plan = TablePlan(
            seed, self.rows, features=self.features, drift=self.drift, tenant=seed, deviation=0.2
        )
        return Tenant(plan, DriftPolicy())


def false_alarms(setting: Setting, tenants: int, months: int, seed: int) -> tuple[int, int]:
    """Tenant-months of four weekly windows with an alarm, and of all; nothing drifts."""
    alarmed = 0
    for number in range(tenants):
        tenant = setting.tenant(seed + number)
        for month in range(months):
            weeks = [tenant.window(TRAINED + 7 * (4 * month + week)) for week in range(4)]
            alarmed += any(tenant.judge(week).name == "drift" for week in weeks)
    return alarmed, tenants * months


def detections(setting: Setting, tenants: int, seed: int) -> list[int]:
    """Per tenant the window since the onset that raised the alarm first, 1 to 3; 0: none did."""
    found = []
    for number in range(tenants):
        tenant = setting.tenant(seed + number)
        weeks = (TRAINED + 28 + 7 * week for week in range(3))
        alarms = [tenant.judge(tenant.window(day)).name == "drift" for day in weeks]
        found.append(alarms.index(True) + 1 if any(alarms) else 0)
    return found


def yearly_season(rows: int, tenants: int, seed: int, real: Drift | None = None) -> dict[str, Any]:
    """Half a year of windows of tenants whose features swing with the year, a year being known.

    With `real` also how many tenants' real drift was found within three windows of its onset.
    """
    counted = {"windows": 0, "alarms": 0, "without the season": 0, "found": 0}
    for number in range(tenants):
        swing = Drift("seasonal", TRAINED - 14.0, 1.0)
        drifts = (swing, real) if real else (swing,)
        plan = TablePlan(seed + number, rows, drift=drifts, tenant=number, deviation=0.2)
        tenant = Tenant(plan, DriftPolicy())
        for day in range(0, TRAINED, 7):
            tenant.keep(tenant.window(day))
        onset = int(real.at) if real else TRAINED + 26 * 7
        for day in range(TRAINED, onset, 7):
            window = tenant.window(day)
            counted["windows"] += 1
            drifted = tenant.judge(window).name == "drift"
            counted["alarms"] += drifted
            counted["without the season"] += tenant.judge(window, season=False).name == "drift"
            tenant.keep(window, drifted=drifted)
        later = (tenant.window(onset + 7 * week) for week in range(3)) if real else ()
        counted["found"] += any(tenant.judge(window).name == "drift" for window in later)
    return counted


def weekends(rows: int, tenants: int, seed: int) -> dict[str, int]:
    """Four weeks of daily windows of tenants whose Saturdays differ; the reference is Mondays."""
    counted = {"windows": 0, "alarms": 0, "without the season": 0}
    mondays = tuple(range(TRAINED - 56 + 6, TRAINED, 14))  # ends on a Monday
    for number in range(tenants):
        swing = Drift("seasonal", 5.0, 1.0, 7.0)
        plan = TablePlan(seed + number, rows, drift=swing, tenant=number, deviation=0.2)
        tenant = Tenant(plan, DriftPolicy(), mondays, 1)
        for day in range(TRAINED - 56, TRAINED):
            tenant.keep(tenant.window(day, 1))
        for day in range(TRAINED, TRAINED + 28):
            window = tenant.window(day, 1)
            counted["windows"] += 1
            counted["alarms"] += tenant.judge(window).name == "drift"
            counted["without the season"] += tenant.judge(window, season=False).name == "drift"
    return counted


def _weeks(day: Any, label: Any, scores: Any) -> list[EntityMetric]:
    """The metric of each week that has one."""
    weeks = (day // 7 == one for one in np.unique(day // 7))
    found = (_measure(label[mask], scores[mask]) for mask in weeks)
    return [one for one in found if one is not None]


def _swing(parts: Iterable[Sequence[EntityMetric] | Sequence[Later]]) -> Swing:
    """How much weeks swing, each part around its own level."""
    pooled = Swing()
    for part in parts:
        pooled = pooled.pooled(Swing.among([o.value for o in part], [o.error for o in part]))
    return pooled


def _gap(measured: EntityMetric) -> Later | None:
    """Log odds of outcomes less those predicted."""
    rates = measured.rates
    if rates is None or not 0 < rates.outcome < 1:
        return None
    error = rates.error / (rates.outcome * (1 - rates.outcome))
    return Later(log_odds(rates.outcome) - log_odds(rates.expected), error)


def _measure(label: Any, scores: Any) -> EntityMetric | None:
    names = [str(number) for number in range(len(label))]
    return measure_rows("auc", names, np.asarray(label, dtype=np.float64), scores)
