"""Where a model stands, and what would have to change, from the ledger alone."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.registry.decision import decide_promotion
from include.registry.evidence import Comparison, Evidence, Measured, Need
from include.registry.lifecycle import (
    LifecycleFacts,
    StageName,
    challenges,
    facts_of,
    stage_of,
    what_would_have_to_change,
)
from include.registry.promotions import Promotion

NEEDS = (Need("training rows", 88, 300), Need("days of history", 42, 60))
MET = (Need("training rows", 400, 300),)
CLOSE = Comparison("own/residual", "incumbent/lightgbm", 0.01, -0.004, 0.024, 300, 6)
GLOBAL = LifecycleFacts(version="1", rung="global", metric="auc", needs=MET, closest=CLOSE)


def evidence(*, low: float, own: bool = True) -> Evidence:
    """A training in which an own model challenges the global one that serves."""
    shared = Measured("global", "lightgbm", "c" * 64, 0.75)
    ours = Measured("own", "residual", "d" * 64, 0.76)
    pair = Comparison("own/residual", "incumbent/lightgbm", low + 0.02, low, low + 0.04, 300, 6)
    return Evidence(
        "auc",
        100,
        20,
        (Measured("baseline", "recency", "b" * 64, 0.7), shared, *([ours] if own else [])),
        Measured("incumbent", "lightgbm", "c" * 64, 0.75),
        (pair, replace(pair, against="global/lightgbm")) if own else (),
        needs=MET,
    )


def decision(
    day: int,
    rung: str,
    version: str,
    *,
    promoted: bool,
    trigger: str = "scheduled",
    **evidence_: object,
) -> Promotion:
    return Promotion(
        tenant="acme",
        use_case="churn",
        as_of=datetime(2025, 1, 1, tzinfo=UTC) + timedelta(days=day),
        trigger=trigger,
        promoted=promoted,
        version=version,
        rung=rung,
        digest={"own": "d", "global": "c", "baseline": "b"}[rung] * 64,
        incumbent_version=version,
        reasons=("because",),
        evidence=evidence_,
    )


STARTED = decision(0, "global", "1", promoted=True, **asdict(evidence(low=0, own=False)))
KEPT = decision(28, "global", "1", promoted=False, challenger="2", **asdict(evidence(low=-0.01)))
WON = decision(56, "own", "3", promoted=True, champion={"low": 0.71}, **asdict(evidence(low=0.02)))
BACK = decision(70, "global", "1", promoted=True, trigger="rollback-1")


@pytest.mark.parametrize(
    ("decided", "stage"),
    [
        ([], "no_data"),
        ([decision(0, "baseline", "1", promoted=True)], "baseline"),
        ([STARTED], "global"),
        ([STARTED, KEPT], "shadow"),
        ([STARTED, KEPT, WON], "own"),
        ([STARTED, KEPT, WON, BACK], "back_to_global"),
    ],
)
def test_a_tenant_goes_from_no_data_to_its_own_model_and_back(
    decided: list[Promotion], stage: str
) -> None:
    """Each stage follows from what the ledger says, and says why."""
    found = stage_of(facts_of(decided))
    assert found.name == stage
    assert found.reasons


def test_the_ledger_of_real_decisions_tells_the_stage() -> None:
    """What `decide_promotion` refuses is a shadow; the first training may start one too."""
    refused = evidence(low=-0.01)
    assert not decide_promotion(refused).promoted
    started = replace(refused, incumbent=None)
    pair = replace(started.comparisons[1], candidate="own/residual")
    started = replace(started, comparisons=(pair,))
    chosen = decide_promotion(started).chosen
    assert chosen is not None
    assert chosen.rung == "global"
    first = decision(0, "global", "1", promoted=True, challenger="2", **asdict(started))
    facts = facts_of([first])
    assert stage_of(facts).name == "shadow"
    assert facts.closest == pair
    assert facts.challenges == 1


def test_what_is_missing_is_counted() -> None:
    """Rows and days that own models take, in numbers."""
    told = what_would_have_to_change(replace(GLOBAL, needs=NEEDS))
    assert told == (
        "212 more training rows (88 of 300)",
        "18 more days of history (42 of 60)",
    )


def test_an_unproven_challenger_is_told_how_many_entities_would_prove_it() -> None:
    """By the width of its interval, which shrinks with the root of the entities."""
    (told,) = what_would_have_to_change(GLOBAL)
    assert "-0.0040 auc on 300 entities" in told
    assert "2.5 % that the next challenge may err by" in told
    # (0.014 / 0.010)² × 300 − 300 = 288
    assert "about 290 more labelled entities would do" in told
    (later,) = what_would_have_to_change(replace(GLOBAL, challenges=3))
    assert "0.25 %" in later


def test_a_challenger_that_is_no_better_is_not_promised_anything() -> None:
    """More of the same rows would only make it more certain."""
    worse = replace(CLOSE, difference=-0.002, low=-0.01)
    (told,) = what_would_have_to_change(replace(GLOBAL, closest=worse))
    assert "-0.0020" in told
    assert "would do" not in told


def test_an_own_model_is_told_its_floor() -> None:
    """What would end its time."""
    (told,) = what_would_have_to_change(facts_of([STARTED, KEPT, WON]))
    assert "live auc is significantly below 0.7100" in told


def test_what_is_held_back_waits_for_somebody() -> None:
    """Until the next training, or an answer that promotes it."""
    held = {"held": {"version": "2"}}
    waiting = [
        decision(0, "global", "1", promoted=True),
        decision(7, "global", "1", promoted=False, **held),
    ]
    facts = facts_of(waiting)
    assert facts.held == "2"
    assert "version 2" in what_would_have_to_change(facts)[0]
    released = [*waiting, decision(8, "own", "2", promoted=True, trigger="release-1")]
    assert facts_of(released).held == ""
    assert stage_of(facts_of(released)).name == "own"
    later = [*waiting, decision(14, "global", "1", promoted=False)]
    assert facts_of(later).held == ""


def test_challenges_are_those_of_the_incumbent_in_vain() -> None:
    """Not trainings without an own model, nor those of another incumbent, nor the own's own win."""
    assert challenges([STARTED, KEPT, KEPT], "1") == 2
    assert challenges([STARTED, KEPT, WON], "3") == 0
    assert challenges([STARTED, KEPT, WON, BACK], "1") == 1
    assert challenges([], "1") == 0


def test_a_rule_that_was_fitted_again_is_the_incumbent_it_was() -> None:
    """Its challenges go on being counted; those of another rule before it do not."""

    def rule(day: int, version: str, name: str, before: tuple[str, str] | None) -> Promotion:
        told = evidence(low=-0.01)
        told = replace(
            told,
            candidates=(Measured("baseline", name, "b" * 64, 0.7), *told.candidates[1:]),
            incumbent=None if before is None else Measured("incumbent", before[1], "a" * 64, 0.7),
        )
        found = decision(day, "baseline", version, promoted=True, **asdict(told))
        return replace(found, incumbent_version=before[0] if before else "")

    first = rule(0, "1", "popularity", None)
    second = rule(7, "2", "popularity", ("1", "popularity"))
    third = rule(14, "3", "popularity", ("2", "popularity"))
    other = rule(21, "4", "co_count", ("3", "popularity"))
    assert challenges([first], "1") == 1
    assert challenges([first, second, third], "3") == 3
    assert challenges([first, second, third, other], "4") == 1
    assert facts_of([first, second, third]).challenges == 3


@given(
    st.builds(
        LifecycleFacts,
        version=st.sampled_from(["", "3"]),
        rung=st.sampled_from(["baseline", "global", "own"]),
        left_own=st.booleans(),
        challenger=st.sampled_from(["", "4"]),
        metric=st.just("auc"),
        floor=st.none() | st.floats(0, 1),
        needs=st.sampled_from([(), NEEDS, MET]),
        closest=st.none()
        | st.tuples(st.floats(-0.5, 0.5), st.floats(1e-6, 1)).map(
            lambda drawn: Comparison("own/x", "incumbent/y", drawn[0], drawn[0] - drawn[1], 1.0, 50)
        ),
        challenges=st.integers(0, 100),
    )
)
def test_there_is_always_a_stage_and_something_that_would_change_it(facts: LifecycleFacts) -> None:
    """Whatever is known, both are told, and told the same way twice."""
    assert stage_of(facts).name in get_args(StageName)
    assert stage_of(facts).reasons
    assert all(what_would_have_to_change(facts))
    assert what_would_have_to_change(facts) == what_would_have_to_change(facts)
