"""What experiments and shadows have shown: who is counted, in which order, by which window."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from include.pipeline.experiment_results import observations, paired_live, reach_of, shadows
from include.registry.outcomes import ArmOutcome, InstantOutcomes, PairOutcome
from include.storage.lake import Lake
from include.stores.memory import in_memory
from include.stores.memory.outcomes import InMemoryOutcomes
from include.tenants.namespace import TenantRef
from tests.trials import CASE, Shop, monday

MONDAY = datetime(2024, 1, 1, tzinfo=UTC)
WEEK = timedelta(days=7)
TENANT = TenantRef("dora", "eu", "pool")


def test_the_shadow_is_compared_on_the_same_entities(tmp_path: Path) -> None:
    """Without any experiment, a challenger that knows more is seen to, each entity once."""
    shop = Shop(Lake(tmp_path), stores=in_memory())
    champion, better = shop.add("fair"), shop.add("good")
    shop.promote(champion, monday(0), challenger=better)
    for number in range(5):
        shop.week(number)
    outcomes = shop.stores.outcomes
    (found,) = paired_live(outcomes, shop.ref, CASE.name)
    assert (found.champion, found.challenger) == (champion, better)
    assert 0 < found.low < found.difference < found.high
    assert found.entities == len(shop.names[: shop.customers * 5 // 2])
    assert (found.intervals, found.last_as_of) == (4, monday(3))
    (early,) = paired_live(outcomes, shop.ref, CASE.name, monday(0))
    assert early.entities == shop.customers
    assert early.high - early.low > found.high - found.low
    assert shadows(outcomes, shop.ref, CASE.name)[0]["difference"] == found.difference


def test_pairs_of_versions_are_compared_apart() -> None:
    """In the order of their names; of instants after the one that is asked about, nothing."""
    outcomes = InMemoryOutcomes()
    pair = (PairOutcome("ann", 0.0, 1.0),)
    for week, names in enumerate((("2", "3"), ("1", "2"), ("2", "3"))):
        kept = InstantOutcomes(MONDAY + week * WEEK, versions=names, pairs=pair)
        outcomes.keep(TENANT, "churn", kept, MONDAY + 9 * WEEK)
    found = paired_live(outcomes, TENANT, "churn")
    assert [(one.champion, one.challenger, one.entities) for one in found] == [
        ("1", "2", 1),
        ("2", "3", 1),  # ann counts once
    ]
    assert [one.champion for one in paired_live(outcomes, TENANT, "churn", MONDAY)] == ["2"]
    assert paired_live(outcomes, TENANT, "demand") == []


def test_observations_are_ordered_by_when_they_were_kept_and_blocked_by_when_they_were_made() -> (
    None
):
    """A week whose days were sent again comes last, in the window of its own time."""
    weeks = (1, 2, 5, 0)
    kept = [
        InstantOutcomes(MONDAY + week * WEEK, 1, (ArmOutcome(f"u{week}", week == 5, 0.5),))
        for week in weeks
    ]
    found = observations(kept, 2 * WEEK)
    assert [one.entity for one in sorted(found, key=lambda one: one.batch)] == [
        f"u{week}" for week in weeks
    ]
    assert {one.entity: int(one.window) for one in found} == {"u0": 0, "u1": 0, "u2": 1, "u5": 2}
    assert [one.entity for one in found if one.challenger] == ["u5"]
    assert observations([], WEEK) == []


@pytest.mark.parametrize(("name", "reach"), [("churn", True), ("withdrawn_case", False)])
def test_the_reach_of_a_use_case_that_is_gone_is_none(name: str, reach: bool) -> None:
    """Its experiments can still be listed."""
    assert (reach_of(name) > timedelta(0)) is reach
