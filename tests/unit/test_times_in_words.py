"""Whatever tells a day or an instant in words tells it in the tenant's time zone."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

import include
from include.handoffs import Interval, LostDays
from include.incidents import Incident
from include.monitoring.decisions import (
    Calibration,
    DriftEvidence,
    Performance,
    RetrainFacts,
    Verdict,
    decide_retrain,
    judge_drift,
)
from include.monitoring.gate import WindowComparison
from include.monitoring.retrain_effect import RetrainEffect
from include.monitoring.skew_findings import Mismatch, SkewFinding
from include.monitoring.storms import Storm
from include.monitoring.verdict_page import VerdictSubject, head
from include.pages import render
from include.quality import report
from include.quality.losses import Loss
from include.quality.volume import Volume, decide_incidents
from include.registry import model_card
from include.registry.decay import RollbackFacts, decide_rollback
from include.registry.decline import Window
from include.registry.lifecycle import facts_of, stage_of
from include.registry.promotions import Promotion
from include.registry.two_way import Swing
from include.training.due import TrainingState, is_due
from include.use_cases.drift_policy import DriftPolicy
from include.use_cases.losses import told, withheld
from include.wall_clock import localised

#: Midnight of 3 June in each of the zones: the day before in UTC, or the same day.
MIDNIGHTS: Final = {
    "Pacific/Kiritimati": (datetime(2024, 6, 2, 10, tzinfo=UTC), "UTC+14"),
    "Asia/Kolkata": (datetime(2024, 6, 2, 18, 30, tzinfo=UTC), "IST"),
    "America/New_York": (datetime(2024, 6, 3, 4, tzinfo=UTC), "EDT"),
    "UTC": (datetime(2024, 6, 3, tzinfo=UTC), "UTC"),
}
DAY: Final = timedelta(days=1)
STILL: Final = Swing(variance=0.0004, freedom=500.0)
Words = Callable[[datetime, str], str]


def a_state(at: datetime, timezone: str) -> TrainingState:
    """Trained at an instant."""
    return TrainingState(at, 28 * DAY, True, "", "", 10_000, 300, 0, 4, timezone=timezone)


def a_promotion(at: datetime) -> Promotion:
    """A version that serves from an instant on."""
    return Promotion(
        "acme", "churn", at, "scheduled", True, "1", "own", "d" * 64, "", ("because",), {}
    )


def due(at: datetime, zone: str) -> str:
    """The answer to whether training is due."""
    return is_due(a_state(at, zone), at + DAY).reason


def later(at: datetime, zone: str) -> str:
    """The same where a later one was decided."""
    return is_due(a_state(at, zone), at - DAY).reason


def last_trained(at: datetime, zone: str) -> str:
    """The same where it is due by now."""
    return is_due(a_state(at, zone), at + 30 * DAY).reason


def retrained(at: datetime, zone: str) -> str:
    """Why no retrain is made in the cooldown."""
    drift = Verdict("drift", 0.9, ("spend drifted",))
    facts = RetrainFacts(at + DAY, drift, None, None, at, 0, 4, timezone=zone)
    return decide_retrain(facts, DriftPolicy(cooldown=14 * DAY)).reason


def in_flight(at: datetime, zone: str) -> str:
    """The same while one runs."""
    drift = Verdict("drift", 0.9, ("spend drifted",))
    facts = RetrainFacts(at + DAY, drift, None, at, None, 0, 4, timezone=zone)
    return decide_retrain(facts, DriftPolicy()).reason


def fallen(at: datetime, zone: str) -> str:
    """A verdict by a live metric and by calibration."""
    before = [Window(0.60, 0.04)]
    performance = Performance(
        *("auc", 0.86, 0.82, 0.90, 0.60, 0.04, at), before=before, swing=STILL
    )
    shifted = Calibration(
        0.1, 0.05, 0.9, 0.15, 0.4, 0.2, at, swing=STILL, before=[Window(0.9, 0.15)]
    )
    evidence = DriftEvidence(
        "3", False, 100, 100, performance=performance, calibration=shifted, timezone=zone
    )
    reasons = judge_drift(evidence, DriftPolicy()).reasons
    assert len(reasons) == 2
    return "; ".join(reasons)


def rolled_back(at: datetime, zone: str) -> str:
    """Whether an own model goes back."""
    facts = RollbackFacts("3", "own", "auc", 0.8, 0.82, 0.02, None, 500, at, timezone=zone)
    return decide_rollback(facts).reason


def serves(at: datetime, zone: str) -> str:
    """Since when a version serves."""
    return " ".join(stage_of(facts_of([a_promotion(at)], zone)).reasons)


def lost(at: datetime, zone: str) -> str:
    """Lost days, as notes and reasons tell them."""
    days = LostDays("pos", at, at + timedelta(hours=1))
    return told([days], zone) + withheld({"x": days}, "it", zone)["x"]


def an_outage(at: datetime, zone: str) -> str:
    """The incident of a source that stopped."""
    volume = Volume(0, 100.0, (Loss(at, at + DAY, 0, 100.0),), at - 30 * DAY, at + DAY)
    (found,) = decide_incidents(Interval(at, at + DAY), {"pos": volume}, [], zone)
    return found.summary


def an_effect(at: datetime, zone: str) -> str:
    """What a retrain did."""
    effect = RetrainEffect("helped", "same labels", "auc", 0.1, 0.05, 0.15, at, 30)
    return effect.told(zone)


def skewed(at: datetime, zone: str) -> str:
    """A feature that differs from what was logged."""
    mismatch = Mismatch("spend", 10, 1, 0, None)
    return SkewFinding("churn", at, "offline", mismatch, "definition", "1").told(zone)


def a_quality_report(at: datetime, zone: str) -> str:
    """The page about an interval that begins at an instant."""
    page = report.render("Acme", Interval(at, at + DAY), "fine", [], {}, zone, {})
    return page.decode()


def a_drift_page(at: datetime, zone: str) -> str:
    """The head of the page about a window that begins at an instant."""
    about = VerdictSubject("acme", "churn", "1", at, at + timedelta(hours=1), zone)
    calm = WindowComparison((), None, {}, 10, 10)
    return head(about, Verdict("stable", 0.0, ("calm",)), calm, DriftPolicy(), {})


def a_card(at: datetime, zone: str) -> str:
    """A version's card."""
    document = {
        "tenant": "acme",
        "use_case": "churn",
        "version": "1",
        "rung": "own",
        "name": "lightgbm",
        "as_of": at.isoformat(),
        "key": "k",
        "parent_version": "",
        "feature_fingerprint": "f",
        "parameters": {},
        "judged": {},
        "lineage": {
            "windows": {"training": [at.isoformat()], "holdout": [at.isoformat()]},
            "timezone": zone,
        },
        "served": [{"since": at.isoformat(), "until": None, "actor": "system"}],
        "decisions": [
            {"as_of": at.isoformat(), "trigger": "manual", "actor": "ann", "reasons": ["so"]}
        ],
    }
    assert model_card.page(document) == model_card.page(document, zone)
    return model_card.page(document)


def a_table(at: datetime, zone: str) -> str:
    """A row of a page inside Airflow."""
    row = localised({"as_of": at, "nested": {"since": at}}, zone)
    return render("history.html.jinja", title="t", reports=[row], use_cases={})


WORDS: Final = (
    *(due, later, last_trained, retrained, in_flight, fallen, rolled_back, serves, lost, an_outage),
    *(an_effect, skewed, a_quality_report, a_drift_page, a_card, a_table),
)
#: Those that tell the time of day, too.
TO_THE_MINUTE: Final = (lost, an_outage, a_quality_report, a_drift_page, a_card, a_table)


@pytest.mark.parametrize("zone", MIDNIGHTS)
@pytest.mark.parametrize("words", WORDS, ids=lambda words: words.__name__)
def test_the_day_is_the_tenants(words: Words, zone: str) -> None:
    """Midnight of 3 June is told as that day, and as no other, wherever the tenant is."""
    at, name = MIDNIGHTS[zone]
    told_words = words(at, zone)
    assert "2024-06-03" in told_words
    assert "2024-06-02" not in told_words
    if words in TO_THE_MINUTE:
        assert f"2024-06-03 00:00 {name}" in told_words


def test_a_storm_is_of_the_platform_and_says_so() -> None:
    """Tenants of several zones drift in it: its day is one of UTC."""
    storm = Storm("churn", datetime(2024, 6, 2, tzinfo=UTC), 4, 5, 0.01, 1e-6)
    assert "on 2024-06-02 (UTC)" in storm.summary
    assert isinstance(storm.incident(), Incident)
    assert replace(storm, breached=5).summary != storm.summary


#: Where a day is part of a name and told to nobody, or stands beside the word UTC: how often.
NAMES: Final = {
    "quality/inspection.py": 3,  # the path of a report
    "runtime/demo.py": 1,  # the id of a run
    "runtime/supervisor.py": 1,  # ends in Z
    "monitoring/storms.py": 2,  # the name of a storm, and its day with "(UTC)"
    "monitoring/judgement.py": 2,  # the path of a report
    "training/dataset.py": 1,  # the path of a spine
    "training/stage.py": 1,  # the path of a training
    "pipeline/removal.py": 1,  # in the audit chain, which is as it was written
    "features/stage.py": 1,  # the path of features
    "registry/mlflow_registry.py": 1,  # the name of a run in MLflow
    "ingestion/mapping.py": 1,  # an id of a row
    "wall_clock.py": 2,
}


def test_days_are_put_into_words_in_one_place() -> None:
    """Everything else that formats a day by itself is listed here, with what it is."""
    root = Path(include.__file__).parent
    found = {}
    for path in [*root.rglob("*.py"), *root.rglob("*.jinja"), *root.parent.glob("plugins/**/*.py")]:
        count = len(re.findall(r"%Y-?%m-?%d", path.read_text(encoding="utf-8")))
        if count and "simulate" not in path.parts:
            found[path.relative_to(root).as_posix()] = count
    assert found == NAMES
