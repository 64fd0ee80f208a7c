"""The promotions ledger on the real Postgres."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from include.registry import ledger
from include.registry.ledger import Promotion
from include.tenants.namespace import TenantRef

pytestmark = pytest.mark.integration

NUMBERS: Iterator[int] = count()
JANUARY = datetime(2017, 1, 1, tzinfo=UTC)


@pytest.fixture
def tenant(database: Any) -> TenantRef:
    """A tenant that no other test has used."""
    return TenantRef(f"emma-{next(NUMBERS)}", "eu", "pool")


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


def test_a_decision_is_written_once(tenant: TenantRef) -> None:
    """The first decision of a training stands, and comes back to whoever writes another."""
    first = ledger.record(tenant, promotion(tenant, "1"))
    assert ledger.record(tenant, promotion(tenant, "2", promoted=False)) == first
    assert ledger.history(tenant, "churn") == [first]
    assert first.version == "1"
    assert first.decided_at is not None


def test_a_decision_comes_back_as_written(tenant: TenantRef) -> None:
    """Reasons and evidence are kept; what is not a number is null."""
    written = promotion(tenant, "1")
    found = ledger.record(tenant, written)
    assert found == replace(written, evidence={**written.evidence, "undefined": None})
    assert ledger.find(tenant, "churn", JANUARY, "scheduled") == found
    assert ledger.find(tenant, "churn", JANUARY, "drift") is None


def test_the_last_promotion_up_to_an_instant_serves_at_it(tenant: TenantRef) -> None:
    """Later promotions, kept incumbents and other use cases do not count."""
    day = timedelta(days=1)
    for written in (
        promotion(tenant, "2", as_of=JANUARY + 10 * day),
        promotion(tenant, "1"),
        promotion(tenant, "1", as_of=JANUARY + 5 * day, promoted=False),
        promotion(tenant, "9", use_case="recommendation", as_of=JANUARY + 2 * day),
        promotion(tenant, "3", as_of=JANUARY + 10 * day, trigger="drift"),
    ):
        ledger.record(tenant, written)
    served = [
        found and found.version
        for days in (-1, 0, 9, 10, 99)
        for found in [ledger.champion_at(tenant, "churn", JANUARY + days * day)]
    ]
    assert served == [None, "1", "1", "3", "3"]
    assert ledger.champion_at(tenant, "churn") == ledger.history(tenant, "churn")[-1]


def test_tenants_have_their_own_ledgers(tenant: TenantRef) -> None:
    """A decision is invisible to every other tenant."""
    ledger.record(tenant, promotion(tenant, "1"))
    other = TenantRef(f"{tenant.id}-b", "eu", "pool")
    assert ledger.history(other, "churn") == []
    assert ledger.champion_at(other, "churn") is None
    assert ledger.find(other, "churn", JANUARY, "scheduled") is None


def test_decisions_about_one_use_case_take_turns(tenant: TenantRef) -> None:
    """Nobody else decides while somebody does."""
    inside: list[int] = []
    most: list[int] = []

    def decide(number: int) -> None:
        with ledger.exclusive(tenant, "churn"):
            inside.append(number)
            ledger.history(tenant, "churn")
            most.append(len(inside))
            inside.remove(number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(decide, range(8)))
    assert most == [1] * 8
