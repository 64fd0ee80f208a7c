"""Which candidate serves from now on: a pure decision over measured evidence, with its reasons.

Rules, in order:

1. Without an incumbent, the better of the best baseline and the global model starts; where nothing
   could be measured, the global model does, and a baseline where there is none.
2. Whatever else wants to serve, a tenant's own model first of all, must have the lower bound of its
   paired comparison with who serves above zero, and must itself beat the best baseline.
3. A global model that is reliably worse for any one tenant than the incumbent is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from include.errors import ConfigError

_RUNGS: Final = ("baseline", "global", "own")


@dataclass(frozen=True)
class Measured:
    """A model's figure on the holdout; `value` is None where nothing could be measured."""

    rung: str
    name: str
    digest: str
    value: float | None

    @property
    def key(self) -> str:
        """`rung/name`, e.g. `own/lightgbm`."""
        return f"{self.rung}/{self.name}"


@dataclass(frozen=True)
class Comparison:
    """How much better `candidate` is than `against`, both as keys; bounds of 95 %."""

    candidate: str
    against: str
    difference: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class TenantEffect:
    """A global candidate against the incumbent, on one consenting tenant's rows."""

    tenant: str
    candidate: str
    difference: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Evidence:
    """Everything the decision may look at."""

    metric: str
    entities: int  #: in the holdout
    minimum_entities: int  #: below which its figures decide nothing
    candidates: tuple[Measured, ...]
    incumbent: Measured | None  #: key `incumbent/…`; None where none can serve
    comparisons: tuple[Comparison, ...]
    tenants: tuple[TenantEffect, ...] = ()
    notes: tuple[str, ...] = ()  #: why something is not among the candidates

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Evidence:
        """The evidence within an evaluation document.

        Raises:
            ConfigError: the document lacks a part.
        """
        try:
            part = document["evidence"]
            incumbent = part["incumbent"]
            return cls(
                metric=part["metric"],
                entities=part["entities"],
                minimum_entities=part["minimum_entities"],
                candidates=tuple(Measured(**one) for one in part["candidates"]),
                incumbent=None if incumbent is None else Measured(**incumbent),
                comparisons=tuple(Comparison(**one) for one in part["comparisons"]),
                tenants=tuple(TenantEffect(**one) for one in part["tenants"]),
                notes=tuple(part["notes"]),
            )
        except (KeyError, TypeError) as error:
            raise ConfigError(f"the evaluation holds no usable evidence: {error}") from None


@dataclass(frozen=True)
class PromotionDecision:
    """What is to happen: `chosen` becomes champion, or nothing changes where it is None."""

    chosen: Measured | None
    reasons: tuple[str, ...]

    @property
    def promoted(self) -> bool:
        """Whether the champion changes."""
        return self.chosen is not None

    @property
    def reason(self) -> str:
        """The reasons as one text."""
        return " ".join(self.reasons)


def decide_promotion(evidence: Evidence) -> PromotionDecision:
    """Choose the champion; keeps the incumbent unless something is shown to be better."""
    reasons = list(evidence.notes)
    baseline = _best(_of_rung(evidence, "baseline"))
    measured = evidence.entities >= evidence.minimum_entities and (
        baseline is not None and baseline.value is not None
    )
    if not measured:
        reasons.append(
            f"The holdout has {evidence.entities} entities, too few to decide by "
            f"(at least {evidence.minimum_entities})."
        )
    if evidence.incumbent is None:
        start = _start(evidence, baseline, measured, reasons)
        if start is None or not measured:
            return PromotionDecision(start, tuple(reasons))
        challengers = [one for one in evidence.candidates if one.rung == "own"]
        better = _winner(evidence, challengers, start, baseline, reasons)
        return PromotionDecision(better or start, tuple(reasons))
    if not measured:
        reasons.append("The incumbent stays.")
        return PromotionDecision(None, tuple(reasons))
    incumbent = evidence.incumbent
    challengers = [one for one in evidence.candidates if one.digest != incumbent.digest]
    better = _winner(evidence, challengers, incumbent, baseline, reasons)
    if better is None:
        reasons.append(f"The incumbent stays, with {_figure(evidence, incumbent)}.")
    return PromotionDecision(better, tuple(reasons))


def _start(
    evidence: Evidence, baseline: Measured | None, measured: bool, reasons: list[str]
) -> Measured | None:
    """Who serves when nobody does yet, a tenant's own model not considered."""
    shared = _best(_of_rung(evidence, "global"))
    if shared is None and baseline is None:
        reasons.append("There is no candidate.")
        return None
    if not measured or shared is None or baseline is None:
        start = shared or baseline
        assert start is not None  # one of the two is there
        reasons.append(f"Nothing serves yet: start with {start.key}, {_figure(evidence, start)}.")
        return start
    wins = shared.value is not None and _value(shared) > _value(baseline)
    start, other = (shared, baseline) if wins else (baseline, shared)
    reasons.append(
        f"Nothing serves yet: start with the better of global model and baseline, {start.key} with "
        f"{_figure(evidence, start)} against {_figure(evidence, other)} of {other.key}."
    )
    return start


def _winner(
    evidence: Evidence,
    challengers: Sequence[Measured],
    against: Measured,
    baseline: Measured | None,
    reasons: list[str],
) -> Measured | None:
    """The best challenger that passes every gate against who serves."""
    passed = []
    for one in sorted(challengers, key=lambda c: (c.rung, c.name)):
        refusal = _refusal(evidence, one, against, baseline)
        if refusal:
            reasons.append(refusal)
        else:
            passed.append(one)
    best = _best(passed)
    if best is not None:
        found = _comparison(evidence, best, against)
        assert found is not None  # it passed the gate that needs one
        reasons.append(
            f"{best.key} replaces {against.key}: {evidence.metric} better by "
            f"{_interval(found)}, {_figure(evidence, best)} in all."
        )
    return best


def _refusal(
    evidence: Evidence, one: Measured, against: Measured, baseline: Measured | None
) -> str:
    """Why `one` may not replace `against`; empty where it may."""
    found = _comparison(evidence, one, against)
    if one.value is None or found is None or found.low is None or found.difference is None:
        return f"{one.key} was not compared with {against.key}, so it is not promoted."
    if not found.low > 0:
        return (
            f"{one.key} is not reliably better than {against.key}: {evidence.metric} differs by "
            f"{_interval(found)}."
        )
    if one.rung != "baseline" and baseline is not None and not one.value > _value(baseline):
        return (
            f"{one.key} with {_figure(evidence, one)} does not beat its baseline "
            f"{baseline.key} with {_figure(evidence, baseline)}."
        )
    hurt = [
        effect
        for effect in sorted(evidence.tenants, key=lambda e: e.tenant)
        if effect.candidate == one.key and effect.high is not None and effect.high < 0
    ]
    if hurt:
        named = ", ".join(f"{effect.tenant} by {_interval(effect)}" for effect in hurt)
        return f"{one.key} is refused, since it makes {evidence.metric} worse for {named}."
    return ""


def _comparison(evidence: Evidence, one: Measured, against: Measured) -> Comparison | None:
    for found in evidence.comparisons:
        if (found.candidate, found.against) == (one.key, against.key):
            return found
    return None


def _of_rung(evidence: Evidence, rung: str) -> list[Measured]:
    return [one for one in evidence.candidates if one.rung == rung]


def _best(models: Sequence[Measured]) -> Measured | None:
    """Highest value; of equals the lowest rung, then the first name."""
    ranked = sorted(models, key=lambda m: (-_value(m), _RUNGS.index(m.rung), m.name))
    return ranked[0] if ranked else None


def _value(model: Measured) -> float:
    return float("-inf") if model.value is None else model.value


def _figure(evidence: Evidence, model: Measured) -> str:
    return f"{evidence.metric} {model.value:.4f}" if model.value is not None else "not measured"


def _interval(found: Comparison | TenantEffect) -> str:
    return f"{found.difference:+.4f} (95 % {found.low:+.4f} to {found.high:+.4f})"
