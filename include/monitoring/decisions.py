"""Decisions about drift and retrains: pure functions of the evidence, which return reasons."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from statistics import NormalDist
from typing import Literal, Protocol

from include.registry.decline import PromisedFigure, Window, chance_of_fall
from include.registry.two_way import UNKNOWN, Swing
from include.use_cases.drift_policy import DriftPolicy
from include.wall_clock import PLATFORM, local_day

VerdictName = Literal["stable", "drift", "data_loss", "too_few_rows", "no_model", "unjudged"]
Answer = Literal["retrain", "wait", "suppress"]

#: How many drifted columns a reason names.
_NAMED = 5
#: Standard errors below last year's metric up to which the metric is what the season brings.
_SAME_SEASON = 1.645


class Compared(Protocol):
    """One column as `statistics.compare` reports it."""

    @property
    def column(self) -> str: ...
    @property
    def psi(self) -> float: ...
    @property
    def drifted(self) -> bool: ...
    @property
    def explained(self) -> str: ...


@dataclass(frozen=True)
class Performance:
    """The champion's metric when it was promoted, and on labels that have matured since."""

    metric: str
    promoted: float
    low: float  #: 95 % interval at promotion
    high: float
    live: float
    live_error: float  #: standard error of `live`
    as_of: datetime  #: of the predictions measured
    #: The metric in the same weeks a year before, with its standard error, where there was one.
    season: float | None = None
    season_error: float = 0.0
    effective: float = math.inf  #: labels that `live_error` rests on
    before: Sequence[Window] = ()  #: earlier windows of the same model, oldest first, none overlaps
    swing: Swing = UNKNOWN  #: of the metric from window to window, as known at promotion
    promoted_error: float | None = None  #: by entity; None where an experiment promoted it
    promoted_blocks: float = 1.0  #: of time that `promoted` is the mean of

    @property
    def p_value(self) -> float:
        """The chance of such a fall where nothing changed, by entities and by windows.

        1 where only this window is there, or how much windows swing is not known.
        """
        by_entity = self.promoted_error
        if by_entity is None:
            by_entity = (self.high - self.low) / (2 * NormalDist().inv_cdf(0.975))
        expected = PromisedFigure(self.promoted, by_entity, self.promoted_blocks, self.swing)
        newest = Window(self.live, self.live_error, self.effective)
        found = chance_of_fall([*self.before, newest], expected)
        return 1.0 if found is None else found

    @property
    def seasonal(self) -> bool:
        """Whether the metric is about as low at this time of every year.

        The same weeks a year before account for at least half of the fall, and the rest is noise.
        """
        if self.season is None:
            return False
        most_of_it = self.promoted - self.season >= (self.promoted - self.live) / 2
        return most_of_it and self._below(self.season, self.season_error) < _SAME_SEASON

    def _below(self, expected: float, error: float) -> float:
        """Standard errors by which the live metric lies below an expectation."""
        total = math.hypot(error, self.live_error)
        fall = expected - self.live
        return fall / total if total > 0 else math.copysign(math.inf, fall) if fall else 0.0


@dataclass(frozen=True)
class Calibration:
    """Calibration in the large: how much more frequent outcomes are than predicted, in log odds.

    A change of the base rate alone moves neither a feature nor a ranking metric by much, but makes
    every probability wrong (label shift; Z. Lipton, Y.-X. Wang and A. Smola, ICML 2018).
    """

    promoted: float  #: on the champion's holdout
    promoted_error: float
    live: float
    live_error: float  #: standard error
    outcome_rate: float
    expected_rate: float
    as_of: datetime  #: of the predictions measured
    season: float | None = None  #: in the same weeks a year before, where there was one
    before: Sequence[Window] = ()  #: the gap in earlier windows, as of `Performance`
    swing: Swing = UNKNOWN  #: of the gap from window to window, as known at promotion
    promoted_blocks: float = 1.0  #: of time that the holdout was

    @property
    def shift(self) -> float:
        """Log odds by which outcomes have become more frequent beyond what was predicted."""
        return self.live - self.promoted

    @property
    def p_value(self) -> float:
        """One-sided; 1 where this is the only window, or the swing of windows is not known."""
        sign = -1.0 if self.shift > 0 else 1.0  # whichever way, it is a fall of this
        expected = PromisedFigure(
            sign * self.promoted, self.promoted_error, self.promoted_blocks, self.swing
        )
        newest = Window(self.live, self.live_error)
        windows = [replace(one, value=sign * one.value) for one in (*self.before, newest)]
        found = chance_of_fall(windows, expected)
        return 1.0 if found is None else found

    def seasonal(self, size: float) -> bool:
        """Whether the same weeks a year before were off by most of it, in the same direction."""
        if self.season is None:
            return False
        usual = self.season - self.promoted
        return usual * self.shift >= self.shift**2 / 2 and abs(self.live - self.season) < size


@dataclass(frozen=True)
class DriftEvidence:
    """Everything a verdict rests on."""

    model_version: str  #: empty when no model serves
    data_loss: bool
    reference_entities: int = 0
    current_entities: int = 0
    columns: Sequence[Compared] = ()
    prediction: Compared | None = None
    performance: Performance | None = None
    calibration: Calibration | None = None
    skipped: Mapping[str, str] = field(default_factory=dict)  #: column → why it was not judged
    timezone: str = PLATFORM  #: the tenant's, which days are told in


@dataclass(frozen=True)
class Verdict:
    """A verdict about a window, with its reasons."""

    name: VerdictName
    score: float | None  #: the largest PSI of a judged column or the prediction
    reasons: tuple[str, ...]

    @property
    def reason(self) -> str:
        """The reasons in one line."""
        return "; ".join(self.reasons)


@dataclass(frozen=True)
class RetrainFacts:
    """The facts that a retrain is decided on. Days and distances are in `as_of` time."""

    as_of: datetime
    verdict: Verdict
    trained_as_of: datetime | None  #: of the newest training, whether or not its model was promoted
    in_flight: datetime | None  #: `as_of` of an earlier request that has not finished
    last_retrain_at: datetime | None  #: `as_of` of the newest other request
    retrains_today: int  #: requests of this tenant, of any use case, on the day of `as_of`
    retrains_per_day: int
    incident: str = ""  #: the platform incident that this drift is part of, see `storms`
    timezone: str = PLATFORM  #: the tenant's, which days are told in

    def day(self, at: datetime) -> str:
        """A day as the tenant's people name it."""
        return local_day(at, self.timezone)


@dataclass(frozen=True)
class RetrainDecision:
    """`retrain` now, `wait` for the next window, or `suppress`: the data is no ground for one."""

    answer: Answer
    reason: str


def judge_drift(evidence: DriftEvidence, policy: DriftPolicy) -> Verdict:
    """Judge a window: lost data first, then too few rows, then the model and the data."""
    if evidence.data_loss:
        return Verdict("data_loss", None, ("data of the interval, or part of it, never arrived",))
    if not evidence.model_version:
        return Verdict("no_model", None, ("no model serves yet",))
    compared = [*evidence.columns, *filter(None, [evidence.prediction])]
    held = _held(policy.withheld)
    if held and not compared:
        return Verdict("data_loss", None, held)
    score = max((column.psi for column in compared), default=None)
    too_few = [
        f"{entities} entities in the {window} window, {policy.minimum_rows} are needed"
        for window, entities in (
            ("reference", evidence.reference_entities),
            ("current", evidence.current_entities),
        )
        if entities < policy.minimum_rows
    ]
    if too_few:
        return Verdict("too_few_rows", score, tuple(too_few))
    reasons = [
        *_performance_reasons(evidence.performance, policy, evidence.timezone),
        *_calibration_reasons(evidence.calibration, policy, evidence.timezone),
        *_prediction_reasons(evidence.prediction),
        *_input_reasons(evidence.columns, policy),
    ]
    if reasons:
        return Verdict("drift", score, (*reasons, *held))
    if evidence.skipped and not compared:
        column, why = list(evidence.skipped.items())[-1]
        return Verdict(
            "unjudged",
            None,
            (f"none of {len(evidence.skipped)} columns could be judged; {column}: {why}",),
        )
    return Verdict("stable", score, (_calm(evidence.columns), *held))


def decide_retrain(facts: RetrainFacts, policy: DriftPolicy) -> RetrainDecision:
    """Retrain only on drift, and only when a training could know more than the last one did."""
    verdict = facts.verdict
    if verdict.name == "data_loss":
        return RetrainDecision("suppress", f"data loss: {verdict.reason}")
    if verdict.name == "no_model":
        return RetrainDecision("wait", f"no model: {verdict.reason}")
    if verdict.name == "too_few_rows":
        return RetrainDecision("wait", f"too few rows: {verdict.reason}")
    if verdict.name == "stable":
        return RetrainDecision("wait", f"stable: {verdict.reason}")
    if verdict.name == "unjudged":
        return RetrainDecision("wait", f"nothing judged: {verdict.reason}")
    if facts.incident:
        return RetrainDecision("suppress", f"platform incident {facts.incident}")
    if facts.trained_as_of is not None and facts.trained_as_of >= facts.as_of:
        return RetrainDecision("wait", f"trained already as of {facts.day(facts.trained_as_of)}")
    if facts.in_flight is not None:
        return RetrainDecision("wait", f"run in flight: retrain as of {facts.day(facts.in_flight)}")
    if facts.last_retrain_at is not None:
        since = facts.as_of - facts.last_retrain_at
        if since < timedelta(0):
            later = facts.day(facts.last_retrain_at)
            return RetrainDecision("wait", f"cooldown: retrained as of {later}, which is later")
        if since < policy.cooldown:
            return RetrainDecision(
                "wait",
                f"cooldown: retrained as of {facts.day(facts.last_retrain_at)}, "
                f"next not before {facts.day(facts.last_retrain_at + policy.cooldown)}",
            )
    if facts.retrains_today >= facts.retrains_per_day:
        return RetrainDecision(
            "suppress",
            f"quota: {facts.retrains_today} of {facts.retrains_per_day} retrains used that day",
        )
    return RetrainDecision("retrain", verdict.reason)


def _performance_reasons(
    found: Performance | None, policy: DriftPolicy, timezone: str
) -> list[str]:
    if found is None or found.live >= found.low - policy.performance_drop:
        return []
    if found.seasonal or found.p_value > policy.performance_level:
        return []
    return [
        f"{found.metric} fell to {found.live:.3f} on labels of {local_day(found.as_of, timezone)}, "
        f"promoted with {found.promoted:.3f} [{found.low:.3f}, {found.high:.3f}]"
    ]


def _calibration_reasons(
    found: Calibration | None, policy: DriftPolicy, timezone: str
) -> list[str]:
    if found is None or abs(found.shift) < policy.rate_shift or found.seasonal(policy.rate_shift):
        return []
    if found.p_value > policy.performance_level / 2:
        return []
    return [
        f"outcomes of {local_day(found.as_of, timezone)} came to {found.outcome_rate:.1%} where "
        f"{found.expected_rate:.1%} were predicted: odds changed by a factor of "
        f"{math.exp(found.shift):.1f}"
    ]


def _prediction_reasons(prediction: Compared | None) -> list[str]:
    if prediction is None or not prediction.drifted:
        return []
    return [f"the prediction drifted (PSI {prediction.psi:.2f})"]


def _input_reasons(columns: Sequence[Compared], policy: DriftPolicy) -> list[str]:
    drifted = sorted((c for c in columns if c.drifted), key=lambda c: (-c.psi, c.column))
    if not drifted or len(drifted) < policy.share * len(columns):
        return []
    named = ", ".join(f"{c.column} (PSI {c.psi:.2f})" for c in drifted[:_NAMED])
    more = f" and {len(drifted) - _NAMED} more" if len(drifted) > _NAMED else ""
    return [f"{len(drifted)} of {len(columns)} features drifted: {named}{more}"]


def _held(withheld: Mapping[str, str]) -> tuple[str, ...]:
    """One reason: how many columns are not judged, and the commonest cause. Empty if all are."""
    if not withheld:
        return ()
    counts = Counter(withheld.values())
    ((commonest, _),) = counts.most_common(1)
    return (f"{len(withheld)} columns are not judged: {commonest}",)


def _calm(columns: Sequence[Compared]) -> str:
    drifted = sum(c.drifted for c in columns)
    if drifted:
        return f"{drifted} of {len(columns)} features drifted, fewer than the policy's share"
    calm = f"none of {len(columns)} features drifted"
    explained = [c for c in columns if c.explained]
    if not explained:
        return calm
    why = ", ".join(dict.fromkeys(c.explained for c in explained))
    return f"{calm}; {len(explained)} changed as they should ({why})"
