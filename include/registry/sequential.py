"""A/B tests that may be looked at after every batch, and that stop by themselves on harm.

The difference of two arms is estimated without bias from who was sent where by chance: with
challenger share p, an entity with outcome y counts as (y − m) / p in the challenger's arm and as
−(y − m) / (1 − p) in the champion's, where m is the mean of all outcomes before it and only lowers
the variance (Waudby-Smith, Wu, Ramdas, Karampatziakis and Mineiro 2024, "Anytime-valid off-policy
inference for contextual bandits"). Around the mean of these bounded terms lies a confidence
sequence, the predictable plug-in empirical Bernstein one (Waudby-Smith and Ramdas 2024, "Estimating
means of bounded random variables by betting", theorem 2; Howard, Ramdas, McAuliffe and Sekhon 2021,
"Time-uniform, nonparametric, nonasymptotic confidence sequences"): it holds at all times at once,
however often anybody looks, and whenever anybody stops.

The confidence sequence treats entities as independent, which the random assignment makes them: it
is a statement about the windows of time that were observed. That is enough to stop harm that is
being done. A promoted version serves in windows to come, and an event of one week that all entities
share may make an arm better in that week only. So to promote, or to say that nothing differs, the
difference has to hold by window, too (`registry.two_way`). That second bound is looked at whenever
a window is over, and alpha-spending makes it hold at all looks (`error_rates.level_of`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from include.errors import ConfigError
from include.registry.error_rates import level_of
from include.registry.policy import Policy
from include.registry.splitting import place
from include.registry.two_way import two_way

Verdict = Literal["continue", "stop_for_harm", "promote", "no_difference"]
Values = npt.NDArray[np.float64]

#: Most of the range that is bet on one entity; below 1 for the logarithm's sake.
_LARGEST_BET: Final = 0.5


@dataclass(frozen=True)
class Observation:
    """The outcome of one entity in one batch; higher is better."""

    batch: str  #: when it became known, sorting in the order of time, e.g. in ISO 8601
    entity: str
    challenger: bool  #: whether it saw the challenger, as the hash said beforehand
    outcome: float  #: within the policy's bounds: a hit 0 or 1, or 1 − the Brier score
    #: The block of time that the outcome is about; labels of one horizon share a block.
    window: str = ""


@dataclass(frozen=True)
class ExperimentDecision:
    """Whether the experiment goes on or how it ends, with the difference as estimated so far."""

    verdict: Verdict
    reasons: tuple[str, ...]
    difference: float | None  #: challenger − champion; None before the first outcome
    low: float | None  #: bounds that have held at every moment so far
    high: float | None
    champion_entities: int
    challenger_entities: int


def decide_experiment(
    observations: Sequence[Observation], policy: Policy, salt: str = ""
) -> ExperimentDecision:
    """Let the experiment go on or end, by everything observed so far.

    An entity counts once, by its first outcome: later ones tell little that is new, and would count
    as if they did. Entities of one batch are ordered by a hash, and the first conclusion of all
    stands whatever came later, so the answer does not depend on how often anybody looked.

    Args:
        salt: of the experiment; orders the entities of one batch.

    Raises:
        ConfigError: an outcome lies outside the policy's bounds.
    """
    once = _first_outcomes(observations, salt)[: policy.most]
    challenger = np.array([observation.challenger for observation in once], dtype=bool)
    outcome = np.array([observation.outcome for observation in once], dtype=np.float64)
    within = (outcome >= policy.lowest) & (outcome <= policy.highest)
    if not within.all():
        worst = once[int(np.flatnonzero(~within)[0])]
        raise ConfigError(
            f"an outcome of {worst.outcome} in batch {worst.batch} lies outside "
            f"{policy.lowest} to {policy.highest}; declare the bounds in the policy"
        )
    counts = int((~challenger).sum()), int(challenger.sum())
    if not once:
        reason = "No outcome has matured yet."
        return ExperimentDecision("continue", (reason,), None, None, None, *counts)
    terms = _terms(challenger, outcome, policy)
    middle, low, high = confidence_sequence(terms, policy)
    windows = np.unique([one.window for one in once], return_inverse=True)[1].astype(np.int64)
    looks = _over(windows)
    widths = np.array([_by_window(terms, windows, end, k, policy) for k, end in enumerate(looks)])
    means = np.array([terms[: end + 1].mean() for end in looks])
    # beyond chance by entity, and by window where something is claimed of windows to come
    lowest = np.minimum(low[looks], means - widths)
    highest = np.maximum(high[looks], means + widths)
    alike = (lowest > -policy.indifference) & (highest < policy.indifference)
    ends = {
        "harm": _first(np.flatnonzero(high < -policy.harm)),
        "better": _first(np.array(looks, np.int64)[lowest > 0]),
        "alike": _first(np.array(looks, np.int64)[alike]),
    }
    # The first end that was reached stands; everything said below is about the moment `at` it was.
    at = min([*(end for end in ends.values() if end is not None), len(once) - 1])
    figures = (float(middle[at]), float(low[at]), float(high[at]))
    text = "challenger − champion {:+.4f} ({:g} % at all times {:+.4f} to {:+.4f})".format(
        figures[0], 100 * (1 - policy.alpha), *figures[1:]
    )
    text += f" after {at + 1:,} of {len(once):,} entities, {counts[1]:,} of them the challenger's"
    over = [k for k, end in enumerate(looks) if end <= at and math.isfinite(widths[k])]
    if over:
        text += (
            f"; {means[over[-1]]:+.4f} ± {widths[over[-1]]:.4f} by {over[-1] + 1} windows of time"
        )
    elif ends["harm"] != at:
        text += "; nothing is promoted before two windows of time are over and a third has begun"
    verdict: Verdict
    if ends["harm"] == at:
        verdict, reason = "stop_for_harm", f"The challenger does harm: {text}."
    elif ends["better"] == at:
        verdict, reason = "promote", f"The challenger is better: {text}."
    elif ends["alike"] == at:
        verdict = "no_difference"
        reason = f"The arms differ by less than {policy.indifference:g}: {text}."
    elif len(once) >= policy.most:
        verdict, reason = "no_difference", f"No difference shows: {text}."
    else:
        verdict, reason = "continue", f"Nothing is certain yet: {text}."
    return ExperimentDecision(verdict, (reason,), *figures, *counts)


def confidence_sequence(terms: Values, policy: Policy) -> tuple[Values, Values, Values]:
    """Weighted mean, lower and upper bound of the difference after each term."""
    reach = (policy.highest - policy.lowest) / min(policy.share, 1 - policy.share)
    return mean_sequence(terms, reach, policy.alpha)


def mean_sequence(terms: Values, reach: float, alpha: float) -> tuple[Values, Values, Values]:
    """Weighted mean of terms within ±`reach`, lower and upper bound after each.

    The truth ever crosses either bound with a chance of at most alpha / 2. Bounds only tighten: a
    value that was excluded once stays excluded.

    The idea (Waudby-Smith and Ramdas 2024, theorem 2): a gambler bets on each term against a
    claimed mean, with the wealth exp(sum of bet × (term − mean) − cost). If the claim is true, the
    expected wealth never grows, so it ever reaches 2 / alpha with a chance of at most alpha / 2
    (Ville's inequality). The interval holds the means whose gambler has not become that rich,
    either way. The invariant: a bet, and the mean that its cost is measured from, know only earlier
    terms.
    """
    unit = (terms + reach) / (2 * reach)  # to [0, 1]
    count = np.arange(1, len(unit) + 1)
    doubt = math.log(2 / alpha)
    mean = (0.5 + np.cumsum(unit)) / (count + 1)
    spread = (0.25 + np.cumsum((unit - mean) ** 2)) / (count + 1)
    # shifted by one: what the bet and its cost at a term may know
    mean_before = np.concatenate([[0.5], mean[:-1]])
    spread_before = np.concatenate([[0.25], spread[:-1]])
    bet = np.minimum(np.sqrt(2 * doubt / (spread_before * count * np.log(1 + count))), _LARGEST_BET)
    cost = (unit - mean_before) ** 2 * (-np.log1p(-bet) - bet)
    total = np.cumsum(bet)
    middle = np.cumsum(bet * unit) / total
    width = (doubt + np.cumsum(cost)) / total
    low = np.maximum.accumulate(np.clip(middle - width, 0, 1))
    high = np.minimum.accumulate(np.clip(middle + width, 0, 1))
    return tuple((2 * one - 1) * reach for one in (middle, low, high))  # type: ignore[return-value]


def _first(places: npt.NDArray[np.int64]) -> int | None:
    return int(places[0]) if len(places) else None


def _over(windows: npt.NDArray[np.int64]) -> list[int]:
    """The place of the last entity of each window that is over, since a later window has begun."""
    newest = np.maximum.accumulate(windows)
    return np.flatnonzero(np.diff(newest) > 0).tolist()


def _by_window(
    terms: Values, windows: npt.NDArray[np.int64], end: int, look: int, policy: Policy
) -> float:
    """Half the interval's width by window, at a look; infinite at the first look, of one window.

    Looks spend the level between them, so that the bound holds at all of them (`level_of`).
    """
    part = terms[: end + 1]
    influence = (part - part.mean()) / len(part)
    sure = two_way(influence, np.arange(len(part)), windows[: end + 1])
    return sure.half_width(level_of(policy.alpha, look) / 2) if sure.known else math.inf


def _terms(challenger: npt.NDArray[np.bool_], outcome: Values, policy: Policy) -> Values:
    """One term per entity, whose expectation is the difference of the arms.

    Each outcome is divided by the chance of the arm it was drawn for, with a sign. Subtracting the
    mean of the outcomes before it, which does not know the draw, changes no expectation and lowers
    the variance.
    """
    count = np.arange(len(outcome))
    start = (policy.lowest + policy.highest) / 2
    before = (start + np.concatenate([[0.0], np.cumsum(outcome)[:-1]])) / (count + 1)
    sign = np.where(challenger, 1 / policy.share, -1 / (1 - policy.share))
    return np.asarray(sign * (outcome - before))


def _first_outcomes(observations: Sequence[Observation], salt: str) -> list[Observation]:
    """The first observation of each entity, by batch and, within a batch, by a hash."""
    first: dict[str, Observation] = {}
    for observation in observations:
        earlier = first.get(observation.entity)
        if earlier is None or observation.batch < earlier.batch:
            first[observation.entity] = observation
    order = f"{salt}/order"
    return sorted(first.values(), key=lambda one: (one.batch, place(order, "", one.entity)))
