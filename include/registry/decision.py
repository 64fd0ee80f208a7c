"""Decides which candidate serves from now on: a pure function of measured evidence, with reasons.

Rules, in order:

1. Without an incumbent, the better of the best baseline and the global model starts, by the figures
   on the holdout and without a proof, as something has to serve. Where nothing could be measured,
   the global model starts, or the first declared baseline where there is no global model.
2. Any other model must have the lower bound of its paired comparison with the incumbent above zero,
   and must itself beat the best baseline.
3. A tenant's own model must also have the rows, labels and days that such a model needs, and the
   same proof against the global model. Its bounds are at the level that this one decision may err
   by. That level is such that an own model wrongly replaces an incumbent with a chance of at most
   `false_promotions`, over all the challenges the incumbent will ever face
   (`error_rates.level_of`). Of several own models the first is tested first, and each next one only
   where those before it have won: a fixed sequence, for which the level need not be divided
   (Maurer, Hothorn and Lehmacher 1995; Westfall and Krishen 2001).
4. A rule of thumb that serves is replaced by itself, fitted again on later rows, unless that is
   reliably worse. It stays the same incumbent, however often (`lifecycle.challenges`).
5. A global model that is reliably worse for any one tenant than the incumbent is refused
   (`worst_tenant`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from include.registry.error_rates import level_of
from include.registry.evidence import Comparison, Evidence, Measured, TenantEffect
from include.registry.worst_tenant import find_harm

_RUNGS: Final = ("baseline", "global", "own")
#: One-sided level of a 95 % interval, by which all but own models are judged.
_PLAIN: Final = 0.025
_NAMED: Final = 10  #: tenants at most that a reason names


@dataclass(frozen=True)
class PromotionDecision:
    """The outcome: `chosen` becomes champion, or nothing changes where it is None."""

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
    """Choose the champion by the rules above; the incumbent stays unless one is proven better."""
    reasons = list(evidence.notes)
    baseline = _best(_of_rung(evidence, "baseline"))
    lacking = _lacking(evidence, baseline)
    measured = not lacking
    if lacking:
        reasons.append(lacking)
    if evidence.incumbent is None:
        start = _start(evidence, baseline, measured, reasons)
        if start is None or not measured:
            return PromotionDecision(start, tuple(reasons))
        challengers = [candidate for candidate in evidence.candidates if candidate.rung == "own"]
        better = _winner(evidence, challengers, start, baseline, reasons)
        return PromotionDecision(better or start, tuple(reasons))
    incumbent = evidence.incumbent
    again = _fitted_again(evidence, incumbent, reasons)
    if not measured:
        if again is None:
            reasons.append("The incumbent stays.")
        return PromotionDecision(again, tuple(reasons))
    same = (incumbent.digest, again.digest if again else "")
    challengers = [candidate for candidate in evidence.candidates if candidate.digest not in same]
    better = _winner(evidence, challengers, incumbent, baseline, reasons) or again
    if better is None:
        reasons.append(f"The incumbent stays, with {_figure(evidence, incumbent)}.")
    return PromotionDecision(better, tuple(reasons))


def _lacking(evidence: Evidence, baseline: Measured | None) -> str:
    """Why the holdout's figures decide nothing; empty where they do."""
    few = evidence.entities < evidence.minimum_entities
    if few:
        return (
            f"The holdout has {evidence.entities} entities, too few to decide by "
            f"(at least {evidence.minimum_entities})."
        )
    if evidence.unmeasured:
        return (
            f"{evidence.metric} means nothing here, so nothing can be decided by it: "
            f"{evidence.unmeasured}."
        )
    if baseline is None:
        return "There is no baseline to hold the others against, so nothing is decided."
    if baseline.value is None:
        return (
            f"No baseline could be measured on the holdout's {evidence.entities} entities, so "
            "nothing is decided."
        )
    return ""


def _fitted_again(evidence: Evidence, incumbent: Measured, reasons: list[str]) -> Measured | None:
    """The serving rule of thumb fitted on later rows; None where that is reliably worse."""
    for rule in _of_rung(evidence, "baseline"):
        if rule.name != incumbent.name or rule.digest == incumbent.digest:
            continue
        comparison = _comparison(evidence, rule, incumbent)
        if (
            comparison is not None and comparison.high is not None and comparison.high < 0
        ):  # also of one window
            reasons.append(
                f"{rule.key}, fitted again, is reliably worse than before: {evidence.metric} "
                f"differs by {_interval(comparison)}."
            )
            return None
        reasons.append(f"{rule.key} serves already, and is brought up to date by fitting it again.")
        return rule
    return None


def bound_of(evidence: Evidence, found: Comparison) -> float | None:
    """The lower bound that must be above zero: for an own model at this decision's level."""
    return found.bound(_level(evidence, found.candidate))


def _start(
    evidence: Evidence, baseline: Measured | None, measured: bool, reasons: list[str]
) -> Measured | None:
    """The model to start with where nothing serves yet: the global one or a baseline."""
    shared = _best(_of_rung(evidence, "global"))
    if shared is None and baseline is None:
        reasons.append("There is no candidate.")
        return None
    if not measured or shared is None or baseline is None:
        start = shared or baseline
        assert start is not None  # one of the two is there
        reasons.append(
            f"Nothing serves yet: start with {start.key}, {_figure(evidence, start)}; somebody has "
            "to, so that it takes no proof."
        )
        return start
    wins = shared.value is not None and _value(shared) > _value(baseline)
    start, other = (shared, baseline) if wins else (baseline, shared)
    reasons.append(
        f"Nothing serves yet: start with the better of global model and baseline, {start.key} with "
        f"{_figure(evidence, start)} against {_figure(evidence, other)} of {other.key}"
        f"{_by_how_sure(evidence, start, other)}."
    )
    return start


def _by_how_sure(evidence: Evidence, start: Measured, other: Measured) -> str:
    """How the two figures differ, for the reason: the better one may be so by chance."""
    shared, rule, sign = (start, other, 1) if start.rung == "global" else (other, start, -1)
    comparison = _comparison(evidence, shared, rule)
    if comparison is None or comparison.difference is None:
        return ", by these figures alone"
    bounds = ""
    if comparison.low is not None and comparison.high is not None:
        low, high = sorted((sign * comparison.low, sign * comparison.high))
        bounds = f" (95 % {low:+.4f} to {high:+.4f})"
    return (
        f", by these figures alone: they differ by {sign * comparison.difference:+.4f}{bounds}, "
        "and to start takes no proof"
    )


def _winner(
    evidence: Evidence,
    challengers: Sequence[Measured],
    against: Measured,
    baseline: Measured | None,
    reasons: list[str],
) -> Measured | None:
    """The best challenger that passes every gate against `against`, the model that serves.

    An own model has proven itself against the global model too, so it goes before the others.
    """
    passed = []
    others = [model for model in challengers if model.rung != "own"]
    for model in sorted(others, key=lambda c: (c.rung, c.name)):
        refusal = _refusal(evidence, model, against, baseline)
        if refusal:
            reasons.append(refusal)
        else:
            passed.append(model)
    own = [model for model in challengers if model.rung == "own"]
    proven = _own_winners(evidence, own, against, baseline, reasons)
    best = _most_gained(evidence, proven, against) or _best(passed)
    if best is not None:
        comparison = _comparison(evidence, best, against)
        assert comparison is not None  # it passed the gate that needs one
        reasons.append(
            f"{best.key} replaces {against.key}: {evidence.metric} better by "
            f"{_interval(comparison)}, {_figure(evidence, best)} in all."
        )
        reasons += _suspicions(evidence, best)
    return best


def _own_winners(
    evidence: Evidence,
    own: Sequence[Measured],
    against: Measured,
    baseline: Measured | None,
    reasons: list[str],
) -> list[Measured]:
    """The own models that win, up to the first in their order that does not.

    A fixed sequence: a model is tested only where all before it have won. A wrong win then begins
    at the first model that is no better, whose test errs by the whole level: one test, not one per
    model, so that the level need not be divided.
    """
    lacking = [str(need) for need in evidence.needs if need.missing]
    if own and lacking:
        reasons.append(f"A model of the tenant's own takes {', '.join(lacking)}.")
        return []
    passed: list[Measured] = []
    for place, model in enumerate(own):
        refusal = _refusal(evidence, model, against, baseline) or _worse_than_global(
            evidence, model
        )
        if not refusal:
            passed.append(model)
            continue
        reasons.append(refusal)
        left = [other.key for other in own[place + 1 :]]
        if left:
            reasons.append(f"{', '.join(left)} would have been tested next, had {model.key} won.")
        break
    return passed


def _most_gained(
    evidence: Evidence, proven: Sequence[Measured], against: Measured
) -> Measured | None:
    """The first own winner, unless a later one's lower bound exceeds the gain of the one before."""
    best, gained = None, float("-inf")
    for model in proven:
        comparison = _comparison(evidence, model, against)
        assert comparison is not None  # it has won, by this very comparison
        assert comparison.low is not None
        assert comparison.difference is not None
        if best is None or comparison.low > gained:
            best, gained = model, comparison.difference
    return best


def _worse_than_global(evidence: Evidence, own: Measured) -> str:
    """Why an own model is not proven better than the global model; empty where it is."""
    for shared in _of_rung(evidence, "global"):
        if shared.value is not None:
            refusal = _unproven(evidence, own, shared)
            if refusal:
                return refusal
    return ""


def _refusal(
    evidence: Evidence, model: Measured, against: Measured, baseline: Measured | None
) -> str:
    """Why `model` may not replace `against`; empty where it may."""
    refusal = _unproven(evidence, model, against)
    if refusal:
        return refusal
    if model.rung != "baseline" and baseline is not None and not _value(model) > _value(baseline):
        return (
            f"{model.key} with {_figure(evidence, model)} does not beat its baseline "
            f"{baseline.key} with {_figure(evidence, baseline)}."
        )
    unfair = [gap for gap in evidence.groups if gap.candidate == model.key and gap.refused]
    if unfair:
        return (
            f"{model.key} is refused, since its {evidence.metric} for group {unfair[0]}, more than "
            f"the {unfair[0].largest:.4f} that the tenant allows."
        )
    hurt = find_harm(evidence.tenants, model.key, evidence.minimum_entities).hurt
    if hurt:
        return (
            f"{model.key} is refused, since it makes {evidence.metric} worse for {_listed(hurt)}."
        )
    return ""


def _unproven(evidence: Evidence, model: Measured, against: Measured) -> str:
    """Why `model` is not known to be better than `against`; empty where it is."""
    comparison = _comparison(evidence, model, against)
    bound = None if comparison is None else bound_of(evidence, comparison)
    if comparison is None or comparison.difference is None:
        return f"{model.key} was not compared with {against.key}, so it is not promoted."
    if model.value is None:
        return f"{model.key} could not be measured on the holdout, so it is not promoted."
    if bound is None:
        return (
            f"{model.key} differs from {against.key} by {comparison.difference:+.4f} "
            f"{evidence.metric}, {_undecided(comparison)}, so it is not promoted."
        )
    if bound > 0:
        return ""
    level = _level(evidence, model.key)
    stricter = ""
    if level < _PLAIN:
        stricter = (
            f", and by at least {bound:+.4f} at the {100 * level:.2g} % that challenge number "
            f"{evidence.challenges + 1} may err by"
        )
    return (
        f"{model.key} is not reliably better than {against.key}: {evidence.metric} differs by "
        f"{_interval(comparison)}{stricter}."
    )


def _undecided(comparison: Comparison) -> str:
    """Why a difference has no bound to decide by."""
    if comparison.low is None:
        return (
            "of which there is no interval: one entity makes nearly all of it, or there are fewer "
            "than two of one class"
        )
    about = (
        ""
        if comparison.high is None
        else f" ({comparison.low:+.4f} to {comparison.high:+.4f} within it)"
    )
    return (
        f"on one window{about}, and how much it swings from window to window is not known: what is "
        "shared by all of them in that time would count as many"
    )


def _level(evidence: Evidence, key: str) -> float:
    if not key.startswith("own/"):
        return _PLAIN
    return min(_PLAIN, level_of(evidence.false_promotions, evidence.challenges + 1))


def _suspicions(evidence: Evidence, model: Measured) -> list[str]:
    """Tenants for whom the promoted model may be worse, for people to look at."""
    harm = find_harm(evidence.tenants, model.key, evidence.minimum_entities)
    if not harm.suspected:
        return []
    return [
        f"Beyond their own interval, but not beyond what chance does among {harm.judged} tests, "
        f"it is worse for {_listed(harm.suspected)}."
    ]


def _listed(effects: Sequence[TenantEffect]) -> str:
    named = [f"{effect.tenant} by {_interval(effect)}" for effect in effects[:_NAMED]]
    more = len(effects) - len(named)
    return ", ".join(named) + (f" and {more:,} more" if more else "")


def _comparison(evidence: Evidence, candidate: Measured, against: Measured) -> Comparison | None:
    for comparison in evidence.comparisons:
        if (comparison.candidate, comparison.against) == (candidate.key, against.key):
            return comparison
    return None


def _of_rung(evidence: Evidence, rung: str) -> list[Measured]:
    return [candidate for candidate in evidence.candidates if candidate.rung == rung]


def _best(models: Sequence[Measured]) -> Measured | None:
    """The model of the highest value; of equals, the lowest rung, then the first declared."""
    ranked = sorted(models, key=lambda m: (-_value(m), _RUNGS.index(m.rung)))
    return ranked[0] if ranked else None


def _value(model: Measured) -> float:
    return float("-inf") if model.value is None else model.value


def _figure(evidence: Evidence, model: Measured) -> str:
    return f"{evidence.metric} {model.value:.4f}" if model.value is not None else "not measured"


def _interval(compared: Comparison | TenantEffect) -> str:
    return f"{compared.difference:+.4f} (95 % {compared.low:+.4f} to {compared.high:+.4f})"
