"""Promotion: what may become champion, and what never does."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from include.errors import ConfigError
from include.registry.decision import bound_of, decide_promotion
from include.registry.error_rates import discoveries, level_of, lower_bound
from include.registry.evidence import Comparison, Evidence, Measured, Need, TenantEffect
from include.registry.two_way import UNKNOWN, Swing, Uncertainty
from include.registry.worst_tenant import find_harm

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
    challenges: int = 0,
) -> Evidence:
    return Evidence(
        "auc",
        entities,
        20,
        candidates,
        incumbent,
        comparisons,
        tenants,
        challenges=challenges,
    )


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


def test_what_starts_is_challenged_by_own_models_alone() -> None:
    """A comparison between the two that may start decides nothing; their figures do."""
    better = (compared(BASELINE, SHARED, 0.01, 0.05),)
    assert decide_promotion(evidence(BASELINE, SHARED, comparisons=better)).chosen == SHARED


def test_nothing_is_proven_where_too_few_were_measured() -> None:
    """An own model does not overtake what starts by figures that decide nothing."""
    clear = (compared(OWN, SHARED, 0.05, 0.09),)
    candidates = (BASELINE, SHARED, OWN)
    assert decide_promotion(evidence(*candidates, comparisons=clear, entities=12)).chosen == SHARED
    assert decide_promotion(evidence(*candidates, comparisons=clear)).chosen == OWN


def test_an_own_model_below_its_baseline_does_not_overtake_what_starts() -> None:
    """However its comparison with the global model came out."""
    rule, own = replace(BASELINE, value=0.74), replace(OWN, value=0.72)
    clear = (compared(own, SHARED, 0.05, 0.09),)
    decision = decide_promotion(evidence(rule, SHARED, own, comparisons=clear))
    assert decision.chosen == SHARED
    assert "does not beat its baseline" in decision.reason


def test_what_starts_is_said_to_start_without_a_proof() -> None:
    """The better figure may be chance, and the reason says so, with the interval."""
    shown = (compared(SHARED, BASELINE, -0.0074, 0.0486),)
    reason = decide_promotion(evidence(BASELINE, SHARED, comparisons=shown)).reason
    assert "differ by +0.0206 (95 % -0.0074 to +0.0486), and to start takes no proof" in reason
    worse = (compared(SHARED, BASELINE, -0.06, 0.02),)
    told = evidence(BASELINE, replace(SHARED, value=0.68), comparisons=worse)
    assert "differ by +0.0200 (95 % -0.0200 to +0.0600)" in decide_promotion(told).reason


def test_of_what_was_never_measured_the_first_declared_starts() -> None:
    """The template's order is one of judgement; the alphabet's is none."""
    rules = [Measured("baseline", name, name * 64, None) for name in ("z", "m", "a")]
    assert decide_promotion(evidence(*rules, entities=0)).chosen == rules[0]
    assert decide_promotion(evidence(*rules[::-1], entities=0)).chosen == rules[2]
    tied = [replace(one, value=0.7) for one in rules]
    assert decide_promotion(evidence(*tied)).chosen == tied[0]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"entities": 12}, "12 entities, too few to decide by (at least 20)"),
        (
            {"unmeasured": "all 452 outcomes of the holdout are of one class (negative)"},
            "auc means nothing here, so nothing can be decided by it: all 452 outcomes",
        ),
        ({"candidates": (OWN,)}, "There is no baseline to hold the others against"),
        (
            {"candidates": (replace(BASELINE, value=None), OWN)},
            "No baseline could be measured on the holdout's 100 entities",
        ),
    ],
)
def test_why_nothing_is_decided_is_the_real_reason(changes: dict[str, object], told: str) -> None:
    """Too few are said to be too few only where they are."""
    found = replace(evidence(BASELINE, OWN, incumbent=INCUMBENT), **changes)  # type: ignore[arg-type]
    decision = decide_promotion(found)
    assert told in decision.reason
    assert ("too few" in decision.reason) is ("entities" in changes)
    assert not decision.promoted


def test_who_stays_where_nothing_could_be_measured_is_said() -> None:
    """The incumbent, or the rule of thumb that is brought up to date."""
    stays = decide_promotion(evidence(BASELINE, incumbent=INCUMBENT, entities=12))
    assert stays.reason.endswith("The incumbent stays.")
    rule = Measured("incumbent", BASELINE.name, "f" * 64, 0.70)
    again = decide_promotion(evidence(BASELINE, incumbent=rule, entities=12))
    assert again.chosen == BASELINE
    assert "The incumbent stays" not in again.reason


def test_a_rule_that_is_fitted_again_challenges_nobody() -> None:
    """It takes its own place, whatever its comparison with itself says."""
    rule = Measured("incumbent", BASELINE.name, "f" * 64, 0.70)
    better = (compared(BASELINE, rule, 0.01, 0.05),)
    decision = decide_promotion(evidence(BASELINE, incumbent=rule, comparisons=better))
    assert decision.chosen == BASELINE
    assert "replaces" not in decision.reason


def test_where_nothing_is_decided_the_reason_says_with_what_it_starts() -> None:
    """With the figure, or without any candidate at all."""
    assert "There is no candidate." in decide_promotion(evidence()).reason
    decision = decide_promotion(evidence(BASELINE, entities=12))
    assert f"start with {BASELINE.key}, auc 0.7000; somebody has to" in decision.reason


def test_as_many_entities_as_are_asked_for_are_enough() -> None:
    """The minimum is one to decide by."""
    clear = (compared(SHARED, INCUMBENT, 0.01, 0.05),)
    candidates = (BASELINE, SHARED)
    told = evidence(*candidates, incumbent=INCUMBENT, comparisons=clear, entities=20)
    assert decide_promotion(told).chosen == SHARED
    assert decide_promotion(replace(told, entities=19)).chosen is None


def test_of_several_rules_the_one_that_serves_is_fitted_again() -> None:
    """Also where others are declared before it; unless it is reliably worse, which is said."""
    frequency = Measured("baseline", "frequency_90d", "a" * 64, 0.70)
    serves = Measured("incumbent", frequency.name, "f" * 64, 0.70)
    told = evidence(BASELINE, frequency, incumbent=serves)
    assert decide_promotion(told).chosen == frequency
    worse = decide_promotion(replace(told, comparisons=(compared(frequency, serves, -0.2, -0.1),)))
    assert worse.chosen is None
    assert "fitted again, is reliably worse than before: auc differs by -0.1500" in worse.reason


def sure(freedom: float, elsewhere: Swing = UNKNOWN) -> Uncertainty:
    """A difference whose entities are sure to 0.01, and whose blocks to 0.02."""
    return Uncertainty(0.01, 500, 0.0, 0.02 if freedom else 0.0, freedom + 1, freedom, elsewhere)


def test_one_window_replaces_nobody_unless_its_swing_is_known() -> None:
    """However certain it is by entity; the reason says what is missing."""
    clear = replace(compared(OWN, INCUMBENT, 0.05, 0.09), uncertainty=sure(0))
    decision = decide_promotion(evidence(BASELINE, OWN, incumbent=INCUMBENT, comparisons=(clear,)))
    assert not decision.promoted
    assert "on one window (+0.0500 to +0.0900 within it)" in decision.reason
    assert "how much it swings from window to window is not known" in decision.reason
    for swing, promoted in ((0.02, True), (0.05, False)):
        told = clear.with_swing(Swing(swing**2, 9))
        found = evidence(BASELINE, OWN, incumbent=INCUMBENT, comparisons=(told,))
        assert decide_promotion(found).promoted is promoted


def test_a_stricter_level_is_one_of_few_windows() -> None:
    """What the fourth challenge may err by stretches the interval as its few windows do."""
    found = replace(compared(OWN, INCUMBENT, 0.0, 0.4), uncertainty=sure(4))
    bound = bound_of(evidence(BASELINE, OWN, incumbent=INCUMBENT, challenges=3), found)
    assert bound == pytest.approx(0.2 - 0.02 * stats.t.isf(0.05 / 20, 4), abs=1e-6)


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


RULE = replace(INCUMBENT, name=BASELINE.name)


@pytest.mark.parametrize(
    ("low", "high", "replaced"), [(-0.1, 0.1, True), (0.01, 0.1, True), (-0.1, -0.01, False)]
)
def test_a_rule_that_serves_is_fitted_again_unless_that_is_worse(
    low: float, high: float, replaced: bool
) -> None:
    """It need not prove anything against itself on older rows; a model that has goes first."""
    shown = (compared(BASELINE, RULE, low, high),)
    decision = decide_promotion(evidence(BASELINE, incumbent=RULE, comparisons=shown))
    assert decision.chosen == (BASELINE if replaced else None)
    assert ("brought up to date" in decision.reason) == replaced
    won = (*shown, compared(OWN, RULE, 0.02, 0.14))
    assert decide_promotion(evidence(BASELINE, OWN, incumbent=RULE, comparisons=won)).chosen == OWN


def test_a_rule_is_fitted_again_where_nothing_can_be_measured() -> None:
    """Such as a score of anomalies without labels."""
    unmeasured = replace(BASELINE, value=None)
    found = decide_promotion(evidence(unmeasured, incumbent=RULE, entities=0))
    assert found.chosen == unmeasured


def test_a_rule_that_learns_nothing_is_not_promoted_over_itself() -> None:
    """The same bytes are the same version; another rule has to prove itself."""
    same = replace(RULE, digest=BASELINE.digest)
    for incumbent in (same, INCUMBENT):
        assert not decide_promotion(evidence(BASELINE, incumbent=incumbent)).promoted


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


def test_an_incumbent_is_harder_to_replace_with_every_challenge() -> None:
    """What all challenges may err by is spent in shares, so the same proof is enough but once."""
    shown = (compared(OWN, INCUMBENT, 0.004, 0.1),)
    world = evidence(BASELINE, OWN, incumbent=INCUMBENT, comparisons=shown)
    assert decide_promotion(world).chosen == OWN
    later = decide_promotion(replace(world, challenges=5))
    assert not later.promoted
    assert "challenge number 6" in later.reason
    strong = (compared(OWN, INCUMBENT, 0.05, 0.1),)
    assert decide_promotion(replace(world, challenges=5, comparisons=strong)).chosen == OWN


def test_a_declaration_may_ask_for_fewer_false_promotions() -> None:
    """The level is a field of the gates in effect."""
    shown = (compared(OWN, INCUMBENT, 0.004, 0.1),)
    world = evidence(BASELINE, OWN, incumbent=INCUMBENT, comparisons=shown)
    assert not decide_promotion(replace(world, false_promotions=0.01)).promoted
    lax = (compared(OWN, INCUMBENT, -0.001, 0.1),)
    assert not decide_promotion(replace(world, false_promotions=0.5, comparisons=lax)).promoted


def test_the_first_challenge_is_decided_by_the_plain_interval() -> None:
    """What people read is what decides: at 2.5 % the bound is the interval's end."""
    shown = compared(OWN, INCUMBENT, 0.004, 0.1)
    assert bound_of(evidence(), shown) == pytest.approx(0.004)
    assert lower_bound(0.05, 0.01, 0.025) == pytest.approx(0.01)
    assert lower_bound(0.05, 0.01, 0.001) < 0.0


def test_levels_of_all_challenges_sum_up_to_the_whole() -> None:
    """However many there are, the chance of ever erring stays below it (union bound)."""
    spent = [level_of(0.05, challenge) for challenge in range(1, 10_000)]
    assert 0.0499 < sum(spent) < 0.05
    assert spent == sorted(spent, reverse=True)
    assert spent[0] == pytest.approx(0.025)


def test_own_models_are_tested_in_order_up_to_the_first_that_fails() -> None:
    """A fixed sequence needs no division of the level; who comes after a loser is not tested."""
    first, second = replace(OWN, name="residual"), replace(OWN, name="alone", digest="f" * 64)
    won, lost = (0.02, 0.1), (-0.01, 0.1)
    for bounds, chosen in (((won, won), first), ((won, lost), first), ((lost, won), None)):
        shown = tuple(
            compared(one, INCUMBENT, *b) for one, b in zip((first, second), bounds, strict=True)
        )
        world = evidence(BASELINE, first, second, incumbent=INCUMBENT, comparisons=shown)
        decision = decide_promotion(world)
        assert decision.chosen == chosen
    assert "own/alone would have been tested next" in decision.reason


def test_of_several_winners_a_later_one_serves_only_where_it_surely_gains_more() -> None:
    """A higher figure with a wide interval is no reason to prefer it."""
    first, second = replace(OWN, name="residual"), replace(OWN, name="alone", digest="f" * 64)
    for low, chosen in ((0.03, second), (0.01, first)):
        shown = (compared(first, INCUMBENT, 0.02, 0.03), compared(second, INCUMBENT, low, 0.2))
        world = evidence(BASELINE, first, second, incumbent=INCUMBENT, comparisons=shown)
        assert decide_promotion(world).chosen == chosen


def test_an_own_model_must_be_better_than_the_global_one_whoever_serves() -> None:
    """Beating a weak incumbent is not enough where a global model would do as well."""
    better = compared(OWN, INCUMBENT, 0.02, 0.1)
    for low, chosen in ((0.01, OWN), (-0.01, None)):
        shown = (better, compared(OWN, SHARED, low, 0.1), compared(SHARED, INCUMBENT, -0.1, 0.1))
        world = evidence(BASELINE, SHARED, OWN, incumbent=INCUMBENT, comparisons=shown)
        decision = decide_promotion(world)
        assert decision.chosen == chosen
    assert "not reliably better than global/lightgbm" in decision.reason


def test_an_own_model_takes_rows_labels_and_days() -> None:
    """Whatever its figures are; the reason counts what is missing."""
    shown = (compared(OWN, INCUMBENT, 0.02, 0.1),)
    needs = (Need("training rows", 88, 300), Need("days of history", 60, 30))
    world = evidence(BASELINE, OWN, incumbent=INCUMBENT, comparisons=shown)
    decision = decide_promotion(replace(world, needs=needs))
    assert not decision.promoted
    assert "212 more training rows (88 of 300)" in decision.reason
    assert "days" not in decision.reason


def effects(
    *lows_and_highs: tuple[float, float], entities: int | None = None
) -> list[TenantEffect]:
    return [
        TenantEffect(f"tenant-{i:03}", SHARED.key, (low + high) / 2, low, high, entities)
        for i, (low, high) in enumerate(lows_and_highs)
    ]


def test_among_many_tenants_chance_alone_refuses_no_global_model() -> None:
    """Of 200 unharmed tenants five lie beyond their interval; they are named, and no more."""
    draw = np.random.default_rng(4)
    refused = 0
    for _ in range(200):
        middle = draw.normal(0, 0.01, 200)
        found = find_harm(effects(*((m - 0.0196, m + 0.0196) for m in middle)), SHARED.key, 20)
        refused += bool(found.hurt)
        assert found.judged == 200
    assert refused <= 12  # 2.5 % of 200, and what chance adds to it
    assert found.suspected


def test_among_many_tenants_the_one_that_is_hurt_is_found() -> None:
    """Beyond what chance does among so many; the report names it, the worst first."""
    draw = np.random.default_rng(4)
    middle = draw.normal(0, 0.01, 200)
    middle[[17, 120]] = -0.06, -0.08
    world = effects(*((m - 0.0196, m + 0.0196) for m in middle))
    found = find_harm(world, SHARED.key, 20)
    assert [one.tenant for one in found.hurt] == ["tenant-120", "tenant-017"]
    shown = (compared(SHARED, INCUMBENT, 0.02, 0.1),)
    decided = decide_promotion(
        evidence(BASELINE, SHARED, incumbent=INCUMBENT, comparisons=shown, tenants=tuple(world))
    )
    assert not decided.promoted
    assert "tenant-120" in decided.reason


def test_a_promotion_names_whom_it_may_have_hurt() -> None:
    """Beyond their own interval, but not beyond what so many tests do by chance."""
    world = effects((-0.041, -0.001), *((-0.02, 0.02) for _ in range(99)))
    shown = (compared(SHARED, INCUMBENT, 0.02, 0.1),)
    decided = decide_promotion(
        evidence(BASELINE, SHARED, incumbent=INCUMBENT, comparisons=shown, tenants=tuple(world))
    )
    assert decided.chosen == SHARED
    assert "worse for tenant-000" in decided.reason


def test_tenants_too_small_for_an_interval_are_judged_together() -> None:
    """Two entities prove nothing alone, whatever their interval says; thirty such tenants do."""
    alone = effects((-0.5, -0.5), entities=2)
    assert find_harm(alone, SHARED.key, 20).judged == 0
    unclear = effects((-0.6, -0.4), (0.4, 0.6), entities=2)
    assert not find_harm(unclear, SHARED.key, 20).hurt
    many = effects(*((-0.3, 0.1) for _ in range(30)), entities=5)
    (together,) = find_harm(many, SHARED.key, 20).hurt
    assert together.tenant.startswith("the 30 smallest tenants together")
    assert together.entities == 150


@given(st.lists(st.floats(0, 1), max_size=30), st.floats(0.001, 0.2))
def test_discoveries_are_the_smallest_p_values_and_at_least_bonferronis(
    chances: list[float], rate: float
) -> None:
    """Who falls with a large p-value lets everybody with a smaller one fall."""
    found = discoveries(chances, rate)
    fallen = [p for p, down in zip(chances, found, strict=True) if down]
    assert all(down for p, down in zip(chances, found, strict=True) if p <= max(fallen, default=-1))
    assert all(down for p, down in zip(chances, found, strict=True) if p <= rate / len(chances))
    assert all(p <= rate for p in fallen)


def test_evidence_survives_its_document() -> None:
    """What was stored is what is decided on."""
    world = evidence(
        BASELINE,
        SHARED,
        incumbent=INCUMBENT,
        comparisons=(compared(SHARED, INCUMBENT, 0.1, 0.2),),
        tenants=(TenantEffect("acme", SHARED.key, None, None, None),),
    )
    world = replace(world, needs=(Need("training rows", 1, 2),), challenges=3)
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
    comparisons, harm = [], []
    for one in candidates:
        for other in (*candidates, *([incumbent] if incumbent else [])):
            found = draw(bounds)
            if other.key != one.key and found is not None:
                comparisons.append(compared(one, other, *found))
        found = draw(bounds)
        if incumbent and found is not None:
            harm.append(TenantEffect("acme", one.key, sum(found) / 2, *found))
    return evidence(
        *candidates,
        incumbent=incumbent,
        comparisons=tuple(comparisons),
        entities=draw(st.integers(0, 40)),
        tenants=tuple(harm),
        challenges=draw(st.integers(0, 50)),
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
    # below zero by less than rounding is zero
    assert all(t.high >= -1e-12 for t in world.tenants if t.candidate == chosen.key)


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
