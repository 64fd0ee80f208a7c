from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.monitoring.decisions import (
    Calibration,
    DriftEvidence,
    Performance,
    RetrainFacts,
    Verdict,
    decide_retrain,
    judge_drift,
)
from include.registry.decline import Window
from include.registry.two_way import UNKNOWN, Swing
from include.use_cases.drift_policy import DriftPolicy

AS_OF = datetime(2024, 5, 8, tzinfo=UTC)
DAY = timedelta(days=1)
POLICY = DriftPolicy(cooldown=14 * DAY, share=0.1)
DRIFT = Verdict("drift", 0.9, ("spend drifted",))


@dataclass(frozen=True)
class Column:
    column: str
    psi: float
    drifted: bool
    explained: str = ""


def columns(drifted: int, of: int) -> list[Column]:
    return [Column(f"c{i}", 0.9 - i / 100, i < drifted) for i in range(of)]


CALM = DriftEvidence("3", False, 100, 100, columns(0, 20), Column("prediction", 0.1, False))
#: Many windows that hardly differ.
STILL = Swing(variance=0.0004, freedom=500.0)
SHIFTED = Calibration(
    0.1, 0.05, 0.9, 0.15, 0.4, 0.2, AS_OF - 30 * DAY, swing=STILL, before=[Window(0.9, 0.15)]
)
FALLEN = Performance(
    *("auc", 0.86, 0.82, 0.90, 0.60, 0.04, AS_OF - 30 * DAY),
    before=[Window(0.60, 0.04)],
    swing=STILL,
)
#: As much as a chain's weeks swing, known from eight of them.
SWINGS = Swing(variance=0.2**2, freedom=7.0)

SKIPPED = {"c0": "grows", "c1": "a constant", "c2": "too young"}
UNJUDGED = {"columns": (), "prediction": None, "skipped": SKIPPED}


HELD = dict.fromkeys(("c0", "c1"), "it reaches into lost days (pos 2024-05-01 to 2024-05-03)")


@pytest.mark.parametrize(
    ("changes", "verdict", "said"),
    [
        ({}, "stable", "none of 20 features drifted"),
        ({"data_loss": True}, "data_loss", "never arrived"),
        ({"data_loss": True, "model_version": ""}, "data_loss", "never arrived"),
        ({"data_loss": True, "columns": columns(20, 20)}, "data_loss", "never arrived"),
        ({"model_version": ""}, "no_model", "no model serves"),
        ({"current_entities": 29}, "too_few_rows", "29 entities in the current window, 30"),
        ({"current_entities": 30, "reference_entities": 30}, "stable", "none of 20"),
        ({"reference_entities": 0}, "too_few_rows", "0 entities in the reference window"),
        ({"columns": columns(20, 20), "current_entities": 5}, "too_few_rows", "5 entities"),
        ({"columns": columns(1, 20)}, "stable", "1 of 20 features drifted, fewer than"),
        ({"columns": columns(2, 20)}, "drift", "2 of 20 features drifted: c0 (PSI 0.90), c1"),
        ({"columns": columns(9, 20)}, "drift", "and 4 more"),
        ({"prediction": Column("prediction", 0.4, True)}, "drift", "prediction drifted (PSI 0.40)"),
        ({"performance": FALLEN}, "drift", "auc fell to 0.600 on labels of 2024-04-08"),
        ({"performance": replace(FALLEN, live=0.83)}, "stable", "none of"),
        ({"performance": replace(FALLEN, live=0.80)}, "stable", "none of"),
        ({"performance": replace(FALLEN, live_error=0.2)}, "stable", "none of"),
        ({"performance": replace(FALLEN, season=0.62, season_error=0.04)}, "stable", "none of"),
        ({"performance": replace(FALLEN, season=0.80, season_error=0.20)}, "drift", "auc fell"),
        ({"performance": replace(FALLEN, season=0.73, season_error=0.01)}, "drift", "auc fell"),
        ({"performance": replace(FALLEN, effective=3)}, "stable", "none of"),
        ({"performance": replace(FALLEN, before=[])}, "stable", "none of"),
        ({"performance": replace(FALLEN, before=[Window(0.85, 0.04)])}, "stable", "none of"),
        ({"calibration": replace(SHIFTED, before=[])}, "stable", "none of"),
        ({"calibration": replace(SHIFTED, before=[Window(0.1, 0.15)])}, "stable", "none of"),
        ({"performance": replace(FALLEN, effective=40)}, "drift", "auc fell"),
        ({"calibration": SHIFTED}, "drift", "came to 40.0% where 20.0% were predicted"),
        (
            {"calibration": replace(SHIFTED, live=-0.7, before=[Window(-0.7, 0.15)])},
            "drift",
            "changed by a factor of 0.4",
        ),
        ({"calibration": replace(SHIFTED, live=0.5)}, "stable", "none of"),
        ({"calibration": replace(SHIFTED, live_error=0.4)}, "stable", "none of"),
        ({"performance": replace(FALLEN, swing=SWINGS)}, "stable", "none of"),
        ({"performance": replace(FALLEN, swing=UNKNOWN)}, "stable", "none of"),
        ({"calibration": replace(SHIFTED, swing=SWINGS)}, "stable", "none of"),
        ({"calibration": replace(SHIFTED, swing=UNKNOWN)}, "stable", "none of"),
        ({"calibration": replace(SHIFTED, season=0.8)}, "stable", "none of"),
        ({"calibration": replace(SHIFTED, season=-0.8)}, "drift", "came to 40.0%"),
        ({"columns": [Column("c0", 0.9, False, "as in March")]}, "stable", "1 changed as they"),
        (UNJUDGED, "unjudged", "none of 3 columns could be judged; c2: too young"),
        ({**UNJUDGED, "performance": FALLEN}, "drift", "auc fell to 0.600"),
        ({**UNJUDGED, "columns": columns(0, 1)}, "stable", "none of 1 features drifted"),
    ],
)
def test_verdict_table(changes: dict[str, Any], verdict: str, said: str) -> None:
    """Volume comes before the model, the model before the rows, the rows before any drift."""
    found = judge_drift(replace(CALM, **changes), POLICY)
    assert (found.name, said in found.reason) == (verdict, True), found.reason


@pytest.mark.parametrize(
    ("changes", "verdict", "said"),
    [
        ({}, "stable", "2 columns are not judged: it reaches into lost days"),
        ({"columns": columns(9, 20)}, "drift", "2 columns are not judged"),
        ({"columns": [], "prediction": None}, "data_loss", "2 columns are not"),
    ],
)
def test_columns_that_reach_into_lost_days_are_told(
    changes: dict[str, Any], verdict: str, said: str
) -> None:
    """What is not judged stands beside the verdict, and is the verdict where nothing is judged."""
    found = judge_drift(replace(CALM, **changes), POLICY.without(HELD))
    assert (found.name, said in found.reason) == (verdict, True), found.reason


def test_the_score_is_the_largest_index_of_all_columns_and_the_prediction() -> None:
    """It stands beside the verdict, whichever that is; of lost data there is none."""
    moved = replace(CALM, prediction=Column("prediction", 1.3, True))
    assert judge_drift(CALM, POLICY).score == 0.9
    assert judge_drift(moved, POLICY).score == 1.3
    assert judge_drift(replace(moved, current_entities=3), POLICY).score == 1.3
    assert judge_drift(replace(moved, data_loss=True), POLICY).score is None


def test_performance_drop_of_the_policy_gives_slack() -> None:
    """A policy may let the metric fall further below the interval before it counts."""
    evidence = replace(CALM, performance=FALLEN)
    assert judge_drift(evidence, replace(POLICY, performance_drop=0.3)).name == "stable"


def test_the_error_at_promotion_is_the_intervals_unless_it_was_measured_by_entity() -> None:
    """An interval of 95 % is 3.92 standard errors wide; a larger error makes the fall likelier."""
    of_interval = (FALLEN.high - FALLEN.low) / 3.919928
    same = replace(FALLEN, promoted_error=of_interval)
    assert same.p_value == pytest.approx(FALLEN.p_value, rel=1e-5)
    assert replace(FALLEN, promoted_error=10 * of_interval).p_value > 2 * FALLEN.p_value


def test_a_fall_without_another_window_proves_nothing() -> None:
    """Its chance is said to be one."""
    assert replace(FALLEN, before=[]).p_value == 1.0
    assert replace(SHIFTED, before=[]).p_value == 1.0


def test_outcomes_that_become_rarer_count_as_those_that_become_more_frequent() -> None:
    """The same change the other way has the same chance."""
    mirrored = replace(SHIFTED, promoted=-0.1, live=-0.9, before=[Window(-0.9, 0.15)])
    assert mirrored.p_value == pytest.approx(SHIFTED.p_value)


@pytest.mark.parametrize(
    ("season", "season_error", "live_error", "seasonal"),
    [
        (0.75, 0.2, 0.2, True),  # half of the fall, and the rest is noise
        (0.80, 0.4, 0.4, False),  # less than half
        (0.75, 0.0, 0.2, True),
        (0.75, 0.2, 0.0, True),
        (0.75, 0.1, 0.1, False),  # the rest is no noise
        (0.75, 0.0, 0.0, False),
        (0.50, 0.0, 0.0, True),
        (0.40, 0.0, 0.0, True),
    ],
)
def test_a_fall_is_seasonal_where_last_year_explains_half_and_noise_the_rest(
    season: float, season_error: float, live_error: float, *, seasonal: bool
) -> None:
    """Both errors count; without any, the rest has to be nothing."""
    fallen = Performance("auc", 1.0, 0.9, 1.0, 0.5, live_error, AS_OF, season, season_error)
    assert fallen.seasonal is seasonal


@pytest.mark.parametrize(
    ("promoted", "live", "season", "size", "seasonal"),
    [
        (0.0, 1.0, 0.5, 0.6, True),
        (0.0, 1.0, 0.5, 0.5, False),  # off by as much as counts
        (0.0, 1.0, 0.4, 0.7, False),  # less than half of it
        (0.0, 0.5, 0.2, 0.4, False),
        (0.5, 1.5, 0.8, 0.9, False),
        (0.5, 1.5, 1.2, 0.9, True),
        (0.0, -1.0, -0.6, 0.5, True),
        (0.0, -1.0, 0.6, 9.0, False),  # the other way
    ],
)
def test_a_shift_is_seasonal_where_last_year_shifted_by_most_of_it(
    promoted: float, live: float, season: float, size: float, *, seasonal: bool
) -> None:
    """In the same direction, by half at least, and what is left is too small to count."""
    shifted = replace(SHIFTED, promoted=promoted, live=live, season=season)
    assert shifted.seasonal(size) is seasonal


def facts(**changes: Any) -> RetrainFacts:
    calm = RetrainFacts(
        as_of=AS_OF,
        verdict=DRIFT,
        trained_as_of=AS_OF - 30 * DAY,
        in_flight=None,
        last_retrain_at=None,
        retrains_today=0,
        retrains_per_day=4,
    )
    return replace(calm, **changes)


@pytest.mark.parametrize(
    ("changes", "answer", "said"),
    [
        ({}, "retrain", "spend drifted"),
        ({"verdict": Verdict("data_loss", None, ("gone",))}, "suppress", "data loss: gone"),
        ({"verdict": Verdict("no_model", None, ("none",))}, "wait", "no model"),
        ({"verdict": Verdict("too_few_rows", None, ("5",))}, "wait", "too few rows"),
        ({"verdict": Verdict("stable", 0.1, ("calm",))}, "wait", "stable: calm"),
        ({"incident": "churn/2024-05-08"}, "suppress", "platform incident churn/2024-05-08"),
        ({"incident": "x", "verdict": Verdict("stable", 0.1, ("calm",))}, "wait", "stable: calm"),
        ({"in_flight": AS_OF - 7 * DAY}, "wait", "run in flight: retrain as of 2024-05-01"),
        ({"trained_as_of": AS_OF}, "wait", "trained already as of 2024-05-08"),
        ({"trained_as_of": None}, "retrain", "spend"),
        ({"last_retrain_at": AS_OF - 13 * DAY}, "wait", "next not before 2024-05-09"),
        ({"last_retrain_at": AS_OF - 14 * DAY}, "retrain", "spend"),
        ({"last_retrain_at": AS_OF + 90 * DAY}, "wait", "which is later"),
        ({"retrains_today": 4}, "suppress", "quota: 4 of 4"),
        ({"retrains_per_day": 0}, "suppress", "quota: 0 of 0"),
    ],
)
def test_decision_table(changes: dict[str, Any], answer: str, said: str) -> None:
    """Each fact that speaks against a retrain is the reason given when it is the only one."""
    found = decide_retrain(facts(**changes), POLICY)
    assert (found.answer, said in found.reason) == (answer, True), found.reason


INSTANTS = st.none() | st.integers(-200, 200).map(lambda days: AS_OF + days * DAY)
VERDICTS = st.sampled_from(["stable", "drift", "data_loss", "too_few_rows", "no_model", "unjudged"])


@given(
    name=VERDICTS,
    champion=INSTANTS,
    running=INSTANTS,
    last=INSTANTS,
    today=st.integers(0, 5),
    quota=st.integers(0, 5),
    incident=st.sampled_from(["", "churn/2024-05-08"]),
)
def test_a_retrain_needs_everything_to_speak_for_it(
    name: Any, champion: Any, running: Any, last: Any, today: int, quota: int, incident: str
) -> None:
    """Retrain means drift of one's own, nothing in flight, cooled down, quota left, no training."""
    given_facts = facts(
        verdict=Verdict(name, None, ("why",)),
        trained_as_of=champion,
        in_flight=running,
        last_retrain_at=last,
        retrains_today=today,
        retrains_per_day=quota,
        incident=incident,
    )
    decision = decide_retrain(given_facts, POLICY)
    allowed = (
        name == "drift"
        and not incident
        and running is None
        and (last is None or AS_OF - last >= POLICY.cooldown)
        and (champion is None or champion < AS_OF)
        and today < quota
    )
    assert (decision.answer == "retrain") == allowed
    assert decision.reason
    assert name != "data_loss" or decision.answer == "suppress"


@given(
    loss=st.booleans(),
    version=st.sampled_from(["", "3"]),
    entities=st.tuples(st.integers(0, 60), st.integers(0, 60)),
    drifted=st.integers(0, 20),
)
def test_drift_is_never_concluded_from_what_cannot_carry_it(
    loss: bool, version: str, entities: tuple[int, int], drifted: int
) -> None:
    """Drift needs data that flows, a model, enough entities in both windows and its reason."""
    evidence = DriftEvidence(version, loss, *entities, columns(drifted, 20))
    verdict = judge_drift(evidence, POLICY)
    allowed = not loss and bool(version) and min(entities) >= 30 and drifted >= 2
    assert (verdict.name == "drift") == allowed
    assert verdict.reasons
