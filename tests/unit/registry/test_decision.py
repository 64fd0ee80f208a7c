"""Promotion: what may become champion, and what never does."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import ConfigError
from include.registry.decision import (
    Comparison,
    Evidence,
    Measured,
    TenantEffect,
    decide_promotion,
)

BASELINE = Measured("baseline", "recency", "b" * 64, 0.70)
SHARED = Measured("global", "lightgbm", "c" * 64, 0.75)
OWN = Measured("own", "logistic", "d" * 64, 0.80)
INCUMBENT = Measured("incumbent", "logistic", "e" * 64, 0.72)


def compared(one: Measured, other: Measured, low: float, high: float) -> Comparison:
    return Comparison(one.key, other.key, (low + high) / 2, low, high)


def evidence(
    *candidates: Measured,
    incumbent: Measured | None = None,
    comparisons: tuple[Comparison, ...] = (),
    entities: int = 100,
    tenants: tuple[TenantEffect, ...] = (),
) -> Evidence:
    return Evidence("auc", entities, 20, candidates, incumbent, comparisons, tenants)


def test_a_tenant_starts_on_the_global_model_that_beats_its_baseline() -> None:
    """With nothing serving yet, the better of global and baseline starts."""
    decision = decide_promotion(evidence(BASELINE, SHARED))
    assert decision.chosen == SHARED
    assert "0.7500" in decision.reason
    assert "0.7000" in decision.reason


def test_a_baseline_serves_where_the_global_model_does_not_beat_it() -> None:
    """A model that does not beat its baseline is not promoted."""
    assert decide_promotion(evidence(BASELINE, replace(SHARED, value=0.70))).chosen == BASELINE


def test_the_best_of_several_baselines_is_the_one_to_beat() -> None:
    """The strongest rule of thumb counts."""
    strong = Measured("baseline", "frequency_90d", "f" * 64, 0.79)
    assert decide_promotion(evidence(BASELINE, strong, SHARED)).chosen == strong


def test_without_anything_measured_the_global_model_starts() -> None:
    """A tenant that has no later window yet trusts the model that others were measured with."""
    unmeasured = [replace(one, value=None) for one in (BASELINE, SHARED)]
    assert decide_promotion(evidence(*unmeasured, entities=0)).chosen == unmeasured[1]


def test_without_anything_measured_and_no_global_model_a_baseline_starts() -> None:
    """Everybody is served by something."""
    decision = decide_promotion(evidence(replace(BASELINE, value=None), entities=0))
    assert decision.chosen is not None
    assert decision.chosen.rung == "baseline"


def test_an_own_model_starts_only_where_it_is_reliably_better() -> None:
    """The lower bound against the better of global and baseline must be above zero."""
    for low, chosen in ((0.001, OWN), (0.0, SHARED), (-0.01, SHARED)):
        shown = (compared(OWN, SHARED, low, 0.1),)
        assert decide_promotion(evidence(BASELINE, SHARED, OWN, comparisons=shown)).chosen == chosen


def test_an_incumbent_is_replaced_by_what_is_reliably_better() -> None:
    """The reason gives the interval."""
    shown = (compared(OWN, INCUMBENT, 0.02, 0.14),)
    decision = decide_promotion(evidence(BASELINE, OWN, incumbent=INCUMBENT, comparisons=shown))
    assert decision.chosen == OWN
    assert "+0.0200 to +0.1400" in decision.reason


def test_an_incumbent_stays_where_the_interval_holds_zero() -> None:
    """Nobody's champion is replaced on noise."""
    shown = (compared(OWN, INCUMBENT, -0.001, 0.14),)
    decision = decide_promotion(evidence(BASELINE, OWN, incumbent=INCUMBENT, comparisons=shown))
    assert not decision.promoted
    assert "The incumbent stays" in decision.reason


def test_a_model_that_beats_the_incumbent_but_not_its_baseline_is_refused() -> None:
    """A bad incumbent is no excuse; the baseline itself may replace it."""
    weak = replace(OWN, value=0.69)
    shown = (compared(weak, INCUMBENT, 0.02, 0.1),)
    world = evidence(BASELINE, weak, incumbent=INCUMBENT, comparisons=shown)
    assert not decide_promotion(world).promoted
    both = (*shown, compared(BASELINE, INCUMBENT, 0.01, 0.1))
    assert decide_promotion(replace(world, comparisons=both)).chosen == BASELINE


def test_the_incumbents_own_bytes_are_no_challenger() -> None:
    """The same model measured again is not promoted a second time."""
    same = replace(OWN, digest=INCUMBENT.digest)
    shown = (compared(same, INCUMBENT, 0.01, 0.02),)
    world = evidence(BASELINE, same, incumbent=INCUMBENT, comparisons=shown)
    assert not decide_promotion(world).promoted


def test_too_small_a_holdout_replaces_nobody() -> None:
    """A handful of entities proves nothing."""
    shown = (compared(OWN, INCUMBENT, 0.02, 0.1),)
    world = evidence(BASELINE, OWN, incumbent=INCUMBENT, comparisons=shown, entities=19)
    decision = decide_promotion(world)
    assert not decision.promoted
    assert "19 entities" in decision.reason


def test_a_global_promotion_that_hurts_one_tenant_is_refused_by_name() -> None:
    """Beyond its interval means that even the upper bound is below zero."""
    shown = (compared(SHARED, INCUMBENT, 0.02, 0.1),)
    hurt = TenantEffect("acme", SHARED.key, -0.05, -0.08, -0.02)
    noisy = TenantEffect("beta", SHARED.key, -0.05, -0.2, 0.1)
    world = evidence(BASELINE, SHARED, incumbent=INCUMBENT, comparisons=shown, tenants=(noisy,))
    assert decide_promotion(world).chosen == SHARED
    refused = decide_promotion(replace(world, tenants=(noisy, hurt)))
    assert not refused.promoted
    assert "acme" in refused.reason
    assert "beta" not in refused.reason


def test_evidence_survives_its_document() -> None:
    """What was stored is what is decided on."""
    world = evidence(
        BASELINE,
        SHARED,
        incumbent=INCUMBENT,
        comparisons=(compared(SHARED, INCUMBENT, 0.1, 0.2),),
        tenants=(TenantEffect("acme", SHARED.key, None, None, None),),
    )
    stored = json.loads(json.dumps({"evidence": asdict(world)}))
    assert Evidence.from_document(stored) == world


@pytest.mark.parametrize("document", [{}, {"evidence": {}}, {"evidence": {"metric": "auc"}}])
def test_a_document_without_evidence_is_refused(document: dict[str, object]) -> None:
    """A truncated evaluation decides nothing."""
    with pytest.raises(ConfigError, match="evidence"):
        Evidence.from_document(document)


values = st.none() | st.floats(0, 1)
bounds = st.none() | st.tuples(st.floats(-1, 1), st.floats(-1, 1)).map(sorted)


@st.composite
def worlds(draw: st.DrawFn) -> Evidence:
    """Evidence of every shape a training can hand over."""
    rungs = [("baseline", "recency"), ("baseline", "frequency_90d"), ("global", "lightgbm")]
    rungs.append(("own", "logistic"))
    chosen = draw(st.lists(st.sampled_from(rungs), unique=True))
    candidates = tuple(Measured(rung, name, f"{rung}{name}", draw(values)) for rung, name in chosen)
    incumbent = draw(
        st.none()
        | st.builds(
            Measured,
            st.just("incumbent"),
            st.just("serving"),
            st.sampled_from([*(c.digest for c in candidates), "another"]),
            values,
        )
    )
    comparisons, effects = [], []
    for one in candidates:
        for other in (*candidates, *([incumbent] if incumbent else [])):
            found = draw(bounds)
            if other.key != one.key and found is not None:
                comparisons.append(compared(one, other, *found))
        found = draw(bounds)
        if incumbent and found is not None:
            effects.append(TenantEffect("acme", one.key, sum(found) / 2, *found))
    return evidence(
        *candidates,
        incumbent=incumbent,
        comparisons=tuple(comparisons),
        entities=draw(st.integers(0, 40)),
        tenants=tuple(effects),
    )


@given(worlds())
def test_nothing_replaces_an_incumbent_without_proof(world: Evidence) -> None:
    """Whoever replaces a champion is proven better, beats the baseline and hurts nobody."""
    chosen = decide_promotion(world).chosen
    if world.incumbent is None or chosen is None:
        return
    proof = [
        c
        for c in world.comparisons
        if (c.candidate, c.against) == (chosen.key, world.incumbent.key)
    ]
    assert proof[0].low is not None
    assert proof[0].low > 0
    assert chosen.digest != world.incumbent.digest
    baselines = [c.value for c in world.candidates if c.rung == "baseline" and c.value is not None]
    assert chosen.rung == "baseline" or chosen.value > max(baselines)
    assert all(t.high >= 0 for t in world.tenants if t.candidate == chosen.key)


@given(worlds())
def test_no_model_starts_below_its_measured_baseline(world: Evidence) -> None:
    """Where a baseline was measured on enough entities, what starts is at least as good."""
    chosen = decide_promotion(world).chosen
    baselines = [c.value for c in world.candidates if c.rung == "baseline" and c.value is not None]
    if world.incumbent is None and chosen and baselines and world.entities >= 20:
        assert chosen.value is not None
        assert chosen.value >= max(baselines)


@given(worlds())
def test_whoever_has_a_candidate_and_no_champion_gets_one(world: Evidence) -> None:
    """Nobody is left without a model while a baseline or a global model exists."""
    if world.incumbent is None and any(c.rung != "own" for c in world.candidates):
        assert decide_promotion(world).promoted


@given(worlds(), st.floats(0.001, 1))
def test_stronger_proof_never_undoes_a_promotion(world: Evidence, more: float) -> None:
    """Raising the winner's figure and its bounds leaves it the winner."""
    chosen = decide_promotion(world).chosen
    if chosen is None or chosen.value is None:
        return
    better = replace(chosen, value=chosen.value + more)
    raised = replace(
        world,
        candidates=tuple(better if c == chosen else c for c in world.candidates),
        comparisons=tuple(
            replace(c, low=c.low + more, high=c.high + more, difference=c.difference + more)
            if c.candidate == chosen.key
            else c
            for c in world.comparisons
        ),
    )
    again = decide_promotion(raised).chosen
    assert again is not None
    assert again.key == chosen.key or again.rung == "own"


@given(worlds())
def test_a_decision_always_says_why(world: Evidence) -> None:
    """There is at least one reason, and the same evidence gives the same decision."""
    decision = decide_promotion(world)
    assert decision.reason
    assert decision == decide_promotion(world)
