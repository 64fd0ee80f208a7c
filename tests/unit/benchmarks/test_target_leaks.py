"""Planted leaks are suspected before anything is promoted, and honest tenants are let pass."""

from __future__ import annotations

import pytest

from benchmarks.quality.target_leaks import BUSINESS, HONEST, PLANTED, honest, planted

#: Kinds that are planted in CI: each way of leaking once, and each way of finding it.
IN_CI = (
    "a post-outcome amount, churn",
    "null where the outcome comes, fraud",
    "a sum over the label's horizon",
    "an attribute overwritten in place",
    "an attribute dated back, leads",
    "an event that follows the outcome",
)
SEEDS = range(500, 520)


@pytest.mark.parametrize("kind", IN_CI)
def test_a_planted_leak_is_suspected(kind: str) -> None:
    """The very column, attribute or event that was planted."""
    assert planted(kind, 1.0, SEEDS[0])


@pytest.mark.parametrize("name", sorted(BUSINESS))
def test_an_honest_tenant_is_let_pass(name: str) -> None:
    """Whatever its features are strong by."""
    found = honest(name, len(HONEST) * 60)
    assert found is not None
    assert found.rows > 500
    assert found.found == ()


@pytest.mark.soak
@pytest.mark.parametrize("kind", PLANTED)
def test_nearly_every_planted_leak_is_suspected(kind: str) -> None:
    """Of every kind at least 95 % of twenty, so that one may be missed."""
    found = [planted(kind, 1.0, seed) for seed in SEEDS]
    assert sum(map(bool, found)) >= 19


@pytest.mark.soak
def test_hardly_an_honest_tenant_is_suspected() -> None:
    """Of all templates, with drift, delays, repeats, shocks and outages: one of a hundred."""
    looks = [honest(name, seed) for name in BUSINESS for seed in SEEDS]
    there = [one for one in looks if one is not None]
    assert len(there) >= 100
    assert sum(bool(one.found) for one in there) <= len(there) / 100
