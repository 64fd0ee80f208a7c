"""What the port to promotions promises, on its twin in memory and on the real Postgres."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from include.registry.promotions import Promotion, Promotions
from include.stores.memory.promotions import InMemoryPromotions
from include.stores.postgres.promotions import PostgresPromotions
from include.tenants.namespace import TenantRef
from tests.unused import unused

pytestmark = pytest.mark.integration

JANUARY = datetime(2017, 1, 1, tzinfo=UTC)


@pytest.fixture(params=["memory", "postgres"])
def promotions(request: pytest.FixtureRequest) -> Promotions:
    """Each of the two in turn."""
    if request.param == "memory":
        return InMemoryPromotions()
    request.getfixturevalue("database")
    return PostgresPromotions()


@pytest.fixture
def tenant() -> TenantRef:
    """A tenant that no other test has used."""
    return TenantRef(unused("emma"), "eu", "pool")


def promotion(tenant: TenantRef, version: str, **changes: Any) -> Promotion:
    """A promotion of January, or what `changes` make of it."""
    first = Promotion(
        tenant=tenant.id,
        use_case="churn",
        as_of=JANUARY,
        trigger="scheduled",
        promoted=True,
        version=version,
        rung="own",
        digest="d" * 64,
        incumbent_version="",
        reasons=("It is better.", "No gate fails."),
        evidence={"metric": "auc", "low": 0.01, "undefined": float("nan")},
    )
    return replace(first, **changes)


def test_a_decision_is_written_once(promotions: Promotions, tenant: TenantRef) -> None:
    """The first decision of a training stands, and comes back to whoever writes another."""
    first = promotions.record(tenant, promotion(tenant, "1"))
    assert promotions.record(tenant, promotion(tenant, "2", promoted=False)) == first
    assert promotions.history(tenant, "churn") == [first]
    assert first.version == "1"
    assert first.decided_at is not None


def test_of_decisions_written_at_once_one_stands(promotions: Promotions, tenant: TenantRef) -> None:
    """Whoever writes learns of the same one."""
    written = [promotion(tenant, str(number)) for number in range(8)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda one: promotions.record(tenant, one), written))
    assert promotions.history(tenant, "churn") == [found[0]]
    assert all(one == found[0] for one in found)


def test_a_decision_comes_back_as_written(promotions: Promotions, tenant: TenantRef) -> None:
    """Reasons and evidence are kept; what is not a number is null."""
    written = promotion(tenant, "1")
    found = promotions.record(tenant, written)
    assert found == replace(written, evidence={**written.evidence, "undefined": None})
    assert promotions.find(tenant, "churn", JANUARY, "scheduled") == found
    assert promotions.find(tenant, "churn", JANUARY, "drift") is None


def test_the_last_promotion_up_to_an_instant_serves_at_it(
    promotions: Promotions, tenant: TenantRef
) -> None:
    """Later promotions, kept incumbents and other use cases do not count."""
    day = timedelta(days=1)
    for written in (
        promotion(tenant, "2", as_of=JANUARY + 10 * day),
        promotion(tenant, "1"),
        promotion(tenant, "1", as_of=JANUARY + 5 * day, promoted=False),
        promotion(tenant, "9", use_case="recommendation", as_of=JANUARY + 2 * day),
        promotion(tenant, "3", as_of=JANUARY + 10 * day, trigger="drift"),
    ):
        promotions.record(tenant, written)
    served = [
        found and found.version
        for days in (-1, 0, 9, 10, 99)
        for found in [promotions.champion_at(tenant, "churn", JANUARY + days * day)]
    ]
    assert served == [None, "1", "1", "3", "3"]
    assert promotions.champion_at(tenant, "churn") == promotions.history(tenant, "churn")[-1]


def test_tenants_have_their_own_ledgers(promotions: Promotions, tenant: TenantRef) -> None:
    """A decision is invisible to every other tenant."""
    promotions.record(tenant, promotion(tenant, "1"))
    other = TenantRef(f"{tenant.id}-b", "eu", "pool")
    assert promotions.history(other, "churn") == []
    assert promotions.champion_at(other, "churn") is None
    assert promotions.find(other, "churn", JANUARY, "scheduled") is None


def test_decisions_about_one_use_case_take_turns(promotions: Promotions, tenant: TenantRef) -> None:
    """Nobody else decides while somebody does."""
    inside: list[int] = []
    most: list[int] = []

    def decide(number: int) -> None:
        with promotions.exclusive(tenant, "churn"):
            inside.append(number)
            promotions.history(tenant, "churn")
            most.append(len(inside))
            inside.remove(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(decide, range(8)))
    assert most == [1] * 8


def test_what_consent_was_withdrawn_to_serves_at_no_instant(
    promotions: Promotions, tenant: TenantRef
) -> None:
    """Neither then nor now, and it challenges nobody; a version rolled back from served then."""
    day = timedelta(days=1)
    for written in (
        promotion(tenant, "1", evidence={"challenger": "4"}),
        promotion(tenant, "2", as_of=JANUARY + day, evidence={"challenger": "5"}),
        promotion(tenant, "1", as_of=JANUARY + 2 * day, trigger="rollback-1", withdrawn=("2",)),
        promotion(
            tenant,
            "1",
            as_of=JANUARY + 3 * day,
            trigger="consent-1",
            promoted=False,
            withdrawn=("1", "5"),
        ),
    ):
        promotions.record(tenant, written)
    assert promotions.gone(tenant, "churn") == {"1", "5"}
    served = [promotions.champion_at(tenant, "churn", JANUARY + n * day) for n in range(4)]
    assert [one and one.version for one in served] == [None, "2", None, None]
    assert promotions.challenger(tenant, "churn") == "4"
    assert promotions.challenger(tenant, "demand") == ""


def test_an_outline_is_the_history_without_its_evidence(
    promotions: Promotions, tenant: TenantRef
) -> None:
    """Everything else is there, in the same order."""
    for number, trigger in enumerate(("scheduled", "drift", "manual")):
        written = promotion(tenant, str(number), as_of=JANUARY, trigger=trigger)
        promotions.record(tenant, written)
    history = promotions.history(tenant, "churn")
    assert promotions.outline(tenant, "churn") == [replace(one, evidence={}) for one in history]
    assert [one.trigger for one in history] == ["scheduled", "drift", "manual"]


def test_both_answer_alike_whatever_was_decided(database: Any, tenant: TenantRef) -> None:
    """Decisions drawn at random: the twin says of them what Postgres says."""
    twins: tuple[Promotions, ...] = (InMemoryPromotions(), PostgresPromotions())
    draw = Random(7)
    instants = [JANUARY + timedelta(days=n) for n in range(5)]
    for number in range(60):
        kind = draw.choice(("scheduled", "drift", f"rollback-{number}", f"consent-{number}"))
        written = promotion(
            tenant,
            draw.choice("12345678") if draw.random() < 0.9 else "",
            as_of=draw.choice(instants),
            trigger=kind,
            promoted=draw.random() < 0.6,
            evidence={"challenger": draw.choice(("", *"12345678"))},
            withdrawn=tuple(draw.sample("12345678", k=draw.choice((0, 0, 0, 1)))),
        )
        first, second = (twin.record(tenant, written) for twin in twins)
        assert first == second
        for question in (
            *(lambda twin, at=at: twin.champion_at(tenant, "churn", at) for at in instants),
            lambda twin: twin.champion_at(tenant, "churn"),
            lambda twin: twin.gone(tenant, "churn"),
            lambda twin: twin.history(tenant, "churn"),
            lambda twin: twin.outline(tenant, "churn"),
            lambda twin: twin.challenger(tenant, "churn"),
        ):
            answers = [question(twin) for twin in twins]
            assert answers[0] == answers[1]
