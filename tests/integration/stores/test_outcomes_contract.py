"""What the port to outcomes promises, on its twin in memory and on the real Postgres."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from include.registry.outcomes import ArmOutcome, InstantOutcomes, Outcomes, PairOutcome
from include.stores.memory.outcomes import InMemoryOutcomes
from include.stores.postgres.outcomes import PostgresOutcomes
from include.tenants.namespace import TenantRef
from tests.unused import unused

pytestmark = pytest.mark.integration

JANUARY = datetime(2017, 1, 1, tzinfo=UTC)
WEEK = timedelta(days=7)
ANN, BOB = ArmOutcome("ann", False, 0.25), ArmOutcome("bob", True, 1.0)
PAIRS = (PairOutcome("ann", 0.25, 0.5), PairOutcome("cat", 0.0, 1.0))
FIRST = InstantOutcomes(JANUARY, 1, (ANN, BOB), ("1", "2"), PAIRS)


@pytest.fixture(params=["memory", "postgres"])
def outcomes(request: pytest.FixtureRequest) -> Outcomes:
    """Each of the two in turn."""
    if request.param == "memory":
        return InMemoryOutcomes()
    request.getfixturevalue("database")
    return PostgresOutcomes()


@pytest.fixture
def tenant() -> TenantRef:
    """A tenant that no other test has used."""
    return TenantRef(unused("olga"), "eu", "pool")


def test_an_instant_is_kept_once(outcomes: Outcomes, tenant: TenantRef) -> None:
    """What was known of it first stands, and whoever comes later is told."""
    assert outcomes.measured(tenant, "churn") == []
    assert outcomes.keep(tenant, "churn", FIRST, JANUARY + WEEK)
    again = InstantOutcomes(JANUARY, 1, (ArmOutcome("dan", True, 0.0),))
    assert not outcomes.keep(tenant, "churn", again, JANUARY + WEEK)
    assert outcomes.measured(tenant, "churn") == [JANUARY]
    assert outcomes.of_experiment(tenant, "churn", 1) == [InstantOutcomes(JANUARY, 1, (ANN, BOB))]
    expected = InstantOutcomes(JANUARY, versions=("1", "2"), pairs=PAIRS)
    assert outcomes.of_pairs(tenant, "churn") == [expected]


def test_of_instants_kept_at_once_one_stands(outcomes: Outcomes, tenant: TenantRef) -> None:
    """One of those who keep it is told so."""
    with ThreadPoolExecutor(4) as pool:
        kept = list(pool.map(lambda _: outcomes.keep(tenant, "churn", FIRST, JANUARY), range(8)))
    assert sorted(kept) == [False] * 7 + [True]
    assert len(outcomes.of_pairs(tenant, "churn")) == 1


def test_that_nothing_was_known_is_kept(outcomes: Outcomes, tenant: TenantRef) -> None:
    """Such an instant is measured, and says nothing."""
    assert outcomes.keep(tenant, "churn", InstantOutcomes(JANUARY, 1), JANUARY + WEEK)
    assert outcomes.measured(tenant, "churn") == [JANUARY]
    assert outcomes.of_experiment(tenant, "churn", 1) == []
    assert outcomes.of_pairs(tenant, "churn") == []


def test_an_entity_counts_once_by_what_was_kept_first(
    outcomes: Outcomes, tenant: TenantRef
) -> None:
    """In an experiment, and of a pair of versions; in others it counts again."""
    earlier = JANUARY - WEEK  # kept later: its days were sent again
    outcomes.keep(tenant, "churn", FIRST, JANUARY + WEEK)
    eve = ArmOutcome("eve", False, 0.75)
    later = InstantOutcomes(earlier, 1, (eve, ANN), ("1", "2"), (PairOutcome("ann", 1.0, 1.0),))
    outcomes.keep(tenant, "churn", later, JANUARY + 2 * WEEK)
    other = InstantOutcomes(JANUARY + WEEK, 2, (ANN,), ("1", "3"), PAIRS)
    outcomes.keep(tenant, "churn", other, JANUARY + 2 * WEEK)
    assert outcomes.measured(tenant, "churn") == [JANUARY, earlier, JANUARY + WEEK]
    assert outcomes.of_experiment(tenant, "churn", 1) == [
        InstantOutcomes(JANUARY, 1, (ANN, BOB)),
        InstantOutcomes(earlier, 1, (eve,)),
    ]
    assert outcomes.of_experiment(tenant, "churn", 2) == [
        InstantOutcomes(JANUARY + WEEK, 2, (ANN,))
    ]
    assert [(one.as_of, one.versions) for one in outcomes.of_pairs(tenant, "churn")] == [
        (JANUARY, ("1", "2")),
        (JANUARY + WEEK, ("1", "3")),
    ]


def test_tenants_and_use_cases_have_their_own_outcomes(
    outcomes: Outcomes, tenant: TenantRef
) -> None:
    """What is kept of one is measured of no other."""
    outcomes.keep(tenant, "churn", FIRST, JANUARY + WEEK)
    other = TenantRef(f"{tenant.id}-b", "eu", "pool")
    for scope in ((other, "churn"), (tenant, "demand")):
        assert outcomes.measured(*scope) == []
        assert outcomes.of_experiment(*scope, 1) == []
        assert outcomes.of_pairs(*scope) == []


def test_both_answer_alike_whatever_was_kept(database: Any, tenant: TenantRef) -> None:
    """Outcomes drawn at random: the twin says of them what Postgres says."""
    twins: tuple[Outcomes, ...] = (InMemoryOutcomes(), PostgresOutcomes())
    draw = Random(7)
    names = [f"user-{n}" for n in range(30)]
    for _ in range(40):
        arms = [ArmOutcome(n, draw.random() < 0.5, draw.random()) for n in draw.sample(names, 5)]
        pairs = [PairOutcome(n, draw.random(), draw.random()) for n in draw.sample(names, 5)]
        experiment = draw.choice((None, 1, 2))
        versions = draw.choice((("1", "2"), ("2", "10"), ("", "")))
        written = InstantOutcomes(
            JANUARY + draw.randrange(25) * WEEK,
            experiment,
            () if experiment is None else tuple(arms),
            versions,
            tuple(pairs) if versions[0] else (),
        )
        first, second = (twin.keep(tenant, "churn", written, JANUARY) for twin in twins)
        assert first == second
    for question in (
        lambda twin: twin.measured(tenant, "churn"),
        lambda twin: twin.of_experiment(tenant, "churn", 1),
        lambda twin: twin.of_experiment(tenant, "churn", 2),
        lambda twin: twin.of_pairs(tenant, "churn"),
    ):
        assert question(twins[0]) == question(twins[1])
