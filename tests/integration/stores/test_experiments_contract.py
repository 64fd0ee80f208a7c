"""What the port to experiments promises, on its twin in memory and on the real Postgres."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.registry.experiments import Ending, Experiment, Experiments
from include.registry.policy import Policy
from include.storage import audit
from include.stores.memory.experiments import InMemoryExperiments
from include.stores.postgres.experiments import PostgresExperiments
from include.tenants.namespace import TenantRef
from tests.unused import unused

pytestmark = pytest.mark.integration

JANUARY = datetime(2017, 1, 1, tzinfo=UTC)
WEEK = timedelta(days=7)


@pytest.fixture(params=["memory", "postgres"])
def experiments(request: pytest.FixtureRequest) -> Experiments:
    """Each of the two in turn."""
    if request.param == "memory":
        return InMemoryExperiments()
    request.getfixturevalue("database")
    return PostgresExperiments()


@pytest.fixture
def tenant() -> TenantRef:
    """A tenant that no other test has used."""
    return TenantRef(unused("nora"), "eu", "pool")


def trial(tenant: TenantRef, number: int = 1, **changes: Any) -> Experiment:
    """An experiment of January, or what `changes` make of it."""
    policy = Policy(share=0.25, alpha=0.1, most=500)
    named = ("1", "2", "d" * 64, policy, JANUARY, ("to see",), "ada")
    return replace(Experiment(tenant.id, "churn", number, *named), **changes)


def ending(**changes: Any) -> Ending:
    """One that was stopped after a week."""
    figures = {"difference": 0.1, "low": float("nan"), "champion_entities": 7}
    return replace(
        Ending(JANUARY + WEEK, "stopped", ("enough", "really"), figures, "bob"), **changes
    )


def test_an_experiment_comes_back_as_it_was_added(
    experiments: Experiments, tenant: TenantRef
) -> None:
    """With its policy and reasons, and without an end."""
    added = experiments.add(tenant, trial(tenant))
    assert added == trial(tenant)
    assert added.recorded_at is not None
    assert experiments.history(tenant, "churn") == [added]
    assert experiments.history(tenant, "demand") == []


def test_an_experiment_is_added_once(experiments: Experiments, tenant: TenantRef) -> None:
    """Whoever adds another of its number learns of the one that stands."""
    first = experiments.add(tenant, trial(tenant))
    assert experiments.add(tenant, trial(tenant, challenger="3")) == first
    second = experiments.add(tenant, trial(tenant, 2, challenger="3"))
    assert experiments.history(tenant, "churn") == [first, second]


def test_an_experiment_ends_once(experiments: Experiments, tenant: TenantRef) -> None:
    """The first end stands, with what was known then; what is not a number is null."""
    first, second = (experiments.add(tenant, trial(tenant, number)) for number in (1, 2))
    ended = experiments.end(tenant, first, ending())
    assert ended.ending is not None
    assert ended.ending == ending(figures={**ending().figures, "low": None})
    assert ended.ending.recorded_at is not None
    assert experiments.end(tenant, first, ending(verdict="promote")) == ended
    assert experiments.history(tenant, "churn") == [ended, second]
    assert replace(ended, ending=None) == first


def test_tenants_have_their_own_experiments(experiments: Experiments, tenant: TenantRef) -> None:
    """One is invisible to every other tenant."""
    experiments.add(tenant, trial(tenant))
    other = TenantRef(f"{tenant.id}-b", "eu", "pool")
    assert experiments.history(other, "churn") == []


def test_each_row_is_entered_in_the_audit_chain(database: Any, tenant: TenantRef) -> None:
    """A start and an end, once each however often they are written."""
    experiments = PostgresExperiments()
    for _ in range(2):
        experiments.end(tenant, experiments.add(tenant, trial(tenant)), ending())
    checked = audit.verify(tenant)
    assert checked.findings == ()
    assert [entry.action for entry in audit.entries(tenant)] == ["experiment"] * 2
