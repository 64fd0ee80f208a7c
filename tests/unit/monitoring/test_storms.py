from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.monitoring.storms import KIND, Storm, StormFacts, StormPolicy, judge_storm
from include.stores.memory import in_memory
from include.tenants.namespace import TenantRef, global_owner

DAY = datetime(2024, 11, 29, tzinfo=UTC)
WEEK = timedelta(days=7)
POLICY = StormPolicy()
BLACK_FRIDAY = StormFacts(DAY, 40, 100, 8, 1_000)
RUNNING = replace(BLACK_FRIDAY, opened=DAY - WEEK, opened_monitored=100)


@pytest.mark.parametrize(
    ("facts", "answer"),
    [
        (BLACK_FRIDAY, "storm"),
        (replace(BLACK_FRIDAY, breached=2, monitored=2), "calm"),
        (replace(BLACK_FRIDAY, breached=3, monitored=3), "storm"),
        (replace(BLACK_FRIDAY, breached=3, monitored=20), "calm"),
        (replace(BLACK_FRIDAY, breached=0), "calm"),
        (replace(BLACK_FRIDAY, past_breached=350), "calm"),
        (StormFacts(DAY, 3, 7, 0, 0), "storm"),
        (replace(BLACK_FRIDAY, opened=DAY, opened_monitored=50), "storm"),
        (replace(BLACK_FRIDAY, breached=3, opened=DAY, opened_monitored=5), "calm"),
        (RUNNING, "storm"),
        (replace(RUNNING, breached=2), "over"),
        (replace(RUNNING, breached=1, monitored=5), "storm"),
        (replace(RUNNING, breached=0, monitored=50), "over"),
        (replace(RUNNING, opened=DAY - 4 * WEEK), "over"),
    ],
    ids=[
        "40 of 100",
        "two tenants are no crowd",
        "three of three",
        "too small a share",
        "nobody",
        "a third always drift",
        "a young platform",
        "later that day",
        "that day turned out calm",
        "a week later, still",
        "a week later, subsided",
        "a week later, hardly anybody has reported",
        "a week later, half have reported and are calm",
        "what lasts is no storm",
    ],
)
def test_storm_table(facts: StormFacts, answer: str) -> None:
    """A storm is many, far more than usual, a share of the fleet, and passes."""
    found = judge_storm(facts, POLICY)
    assert found.answer == answer, found


@given(
    breached=st.integers(0, 60),
    calm=st.integers(0, 60),
    past=st.tuples(st.integers(0, 200), st.integers(0, 200)),
)
def test_more_breaches_never_calm_a_storm(breached: int, calm: int, past: tuple[int, int]) -> None:
    """Another breach raises no p-value, and a storm stays one with another breach in it."""
    facts = StormFacts(DAY, breached, max(breached + calm, 1), past[0], sum(past))
    more = replace(facts, breached=facts.breached + 1, monitored=facts.monitored + 1)
    before, after = judge_storm(facts, POLICY), judge_storm(more, POLICY)
    assert after.p_value <= before.p_value + 1e-12
    assert 0 < before.base_rate < 1
    assert (before.answer, after.answer) != ("storm", "calm")


def test_chance_makes_no_storm() -> None:
    """With 1 % of windows breaching by chance, a fleet of 200 has no storm in a thousand days."""
    facts = StormFacts(DAY, 0, 200, 24, 2_400)
    storms = [
        n for n in range(12) if judge_storm(replace(facts, breached=n), POLICY).answer != "calm"
    ]
    assert storms == []


def test_tenants_hear_the_incidents_name_and_no_number() -> None:
    """What ends up in a tenant's ledger is the use case and the day."""
    storm = Storm("churn", DAY, 40, 100, 0.008, 1e-30)
    assert storm.name == "churn/2024-11-29"
    assert "40 of 100 tenants" in storm.summary


@pytest.mark.parametrize("over", [None, DAY + WEEK])
def test_a_storm_is_read_as_it_was_kept(over: datetime | None) -> None:
    """Its incident holds all of it."""
    storm = Storm("churn", DAY, 40, 100, 0.008, 1e-30, "subsided" if over else "", over)
    incident = storm.incident()
    assert (incident.kind, incident.as_of, incident.closed_at) == (KIND, DAY, over)
    assert Storm.read(incident) == storm


def test_what_stays_is_no_storm() -> None:
    """After four weeks of the same, retrains go on, and no second incident says otherwise."""
    stores, pool = in_memory(), global_owner("eu")
    told = []
    for number in range(7):
        heard = {
            stores.drift.report_window(
                TenantRef(f"fleet-{member}", "eu", "pool"),
                "churn",
                DAY + number * WEEK,
                breached=member < 10,
                pool=pool,
            )
            for member in range(12)
        }
        told.append(sorted(heard - {""}))
    assert told == [["churn/2024-11-29"]] * 4 + [[]] * 3
    (storm,) = map(Storm.read, stores.incidents.of_kind(pool, KIND, "churn"))
    assert (storm.ended, storm.over_since) == ("lasted", DAY + 4 * WEEK)
