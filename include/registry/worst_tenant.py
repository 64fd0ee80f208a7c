"""The worst-tenant gate: a global model that is better on average may still hurt somebody.

With many tenants some intervals lie below zero by chance alone, so the test is corrected for their
number. Tenants too small for an interval of their own are judged together, as one, if there are
enough of them for that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from include.registry.error_rates import HALF_WIDTH, chance_of_worse, discoveries
from include.registry.evidence import TenantEffect

#: Chance that a global model which hurts nobody is refused; that of one tenant's 95 % interval.
FALSE_REFUSALS: Final = 0.025


@dataclass(frozen=True)
class Harm:
    """The tenants for whom a candidate is worse, worst first."""

    hurt: tuple[TenantEffect, ...]  #: reliably, the number of tenants considered: a refusal
    #: Beyond their own interval, as chance alone does to some of so many: named, not a refusal.
    suspected: tuple[TenantEffect, ...]
    judged: int  #: tests that were made


def find_harm(effects: Sequence[TenantEffect], candidate: str, minimum_entities: int) -> Harm:
    """Test the effect of `candidate` on every tenant, small tenants pooled.

    The rate of wrong refusals holds over all tests together (`error_rates.discoveries`).
    """
    ours = sorted((e for e in effects if e.candidate == candidate), key=lambda e: e.tenant)
    measured = [e for e in ours if e.difference is not None and e.high is not None]
    small = [e for e in measured if e.entities is not None and e.entities < minimum_entities]
    tested = [e for e in measured if e not in small]
    if sum(e.entities or 0 for e in small) >= minimum_entities and small:
        tested += [_together(small, candidate)]
    chances = [_chance(effect) for effect in tested]
    harmful = discoveries(chances, FALSE_REFUSALS)
    order = sorted(range(len(tested)), key=lambda i: (tested[i].difference or 0.0, i))
    return Harm(
        tuple(tested[i] for i in order if harmful[i]),
        tuple(tested[i] for i in order if not harmful[i] and chances[i] < FALSE_REFUSALS),
        len(tested),
    )


def _chance(effect: TenantEffect) -> float:
    assert effect.difference is not None  # only measured effects are tested
    assert effect.high is not None
    if effect.uncertainty is not None:
        return effect.uncertainty.chance_above(-effect.difference)
    return chance_of_worse(effect.difference, effect.high)


def _together(small: Sequence[TenantEffect], candidate: str) -> TenantEffect:
    """The mean over the small tenants' entities, with its interval."""
    weights = [effect.entities or 0 for effect in small]
    total = max(sum(weights), 1)
    mean = math.fsum(w * (e.difference or 0.0) for w, e in zip(weights, small, strict=True)) / total
    half = [(e.high or 0.0) - (e.difference or 0.0) for e in small]
    width = math.sqrt(math.fsum((w * h) ** 2 for w, h in zip(weights, half, strict=True))) / total
    # Few entities vary less among themselves than they would over many: never below a coin's toss
    # between tenants.
    between = [(e.difference or 0.0) - mean for e in small]
    spread = math.sqrt(math.fsum((w * b) ** 2 for w, b in zip(weights, between, strict=True)))
    width = max(width, HALF_WIDTH * spread / total)
    name = f"the {len(small)} smallest tenants together ({', '.join(e.tenant for e in small)})"
    return TenantEffect(name, candidate, mean, mean - width, mean + width, total)
