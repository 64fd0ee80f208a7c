"""Worlds of tenants: well formed, the same every time, and each tenant on its own."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.quality.simulated import Simulated, simulate_tenant
from include.errors import ConfigError, UnknownNameError
from include.simulate.faults import (
    ColdStart,
    Drift,
    Duplicates,
    Fault,
    FraudPattern,
    Late,
    Leak,
    Shock,
    SimulatedOutage,
    parse_fault,
)
from include.simulate.leaving import hazards_of
from include.simulate.seasons import activity, holidays
from include.simulate.simulation import open_tenant
from include.simulate.world import BUSINESSES, TenantPlan, World
from include.storage.canonical import ATTRIBUTES, EVENTS

KINDS = sorted(BUSINESSES)
FAULTS: tuple[Fault, ...] = (
    Drift("covariate", 20, over=5),
    Drift("concept", 20, 0.5),
    Drift("prior", 20),
    Drift("seasonal", 0, over=7),
    Shock(10),
    Late(),
    Duplicates(),
    SimulatedOutage(12, 2.0),
    SimulatedOutage(22, 1.0, lost=False),
    Leak(),
    ColdStart("users", 25),
    ColdStart("items", 25),
    FraudPattern("card_testing", 0.02),
)


def facts_of(found: Simulated) -> tuple[pa.Table, ...]:
    """All tables of a simulated tenant."""
    return found.events, found.attributes, found.truth.users, found.truth.outcomes


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    business=st.sampled_from(KINDS),
    users=st.sampled_from([1, 20, 60]),
    days=st.integers(1, 45),
    opens=st.integers(0, 40),
    deviation=st.floats(0, 1),
    growth=st.floats(-3, 3),
    extra=st.lists(st.sampled_from(FAULTS), max_size=4, unique=True),
)
def test_every_world_gives_canonical_tables(
    seed: int,
    business: str,
    users: int,
    days: int,
    opens: int,
    deviation: float,
    growth: float,
    extra: list[Fault],
) -> None:
    """Whatever the parameters, rows have the canonical shape and lie within the tenant's time."""
    faults = tuple(f for f in extra if not isinstance(f, ColdStart) or f.at < days)
    plan = TenantPlan("one", users, deviation, opens=min(opens, days - 1), growth=growth)
    world = World(seed, business, (plan,), days=days, faults=faults)
    found = simulate_tenant(world, "one")
    events = found.events
    assert events.schema == EVENTS
    assert found.attributes.schema == ATTRIBUTES
    happened = events["event_timestamp"].to_pylist()
    assert all(world.instant(plan.opens) <= at < world.instant(days) for at in happened)
    created = events["created_timestamp"].to_pylist()
    assert created == sorted(created)
    assert all(known >= at for known, at in zip(created, happened, strict=True))
    distinct = events.group_by("event_id").aggregate([("event_timestamp", "count_distinct")])
    if not any(isinstance(fault, Duplicates) for fault in faults):
        assert len(distinct) == len(events)
    assert pc.all(pc.equal(distinct["event_timestamp_count_distinct"], 1)).as_py() is not False
    known = set(found.truth.users["user_id"].to_pylist())
    assert set(events["user_id"].to_pylist()) <= known
    for text in events["properties"].drop_null().to_pylist()[:50]:
        assert isinstance(json.loads(text), dict)
    items = found.attributes.filter(pc.equal(found.attributes["entity"], "item"))
    shown = set(events["item_id"].drop_null().to_pylist())
    assert shown <= set(items["entity_id"].to_pylist())


@pytest.mark.parametrize("business", KINDS)
def test_the_same_world_is_the_same_bytes(business: str) -> None:
    """Drawn again, whole or a few users at a time, every table is the same; another seed's not."""
    world = World(5, business, (TenantPlan("one", 60, 0.3),), days=40, faults=FAULTS)
    first = simulate_tenant(world, "one")
    for users in (7, 10_000):
        again = simulate_tenant(world, "one", users)
        assert all(a.equals(b) for a, b in zip(facts_of(first), facts_of(again), strict=True))
    other = simulate_tenant(replace(world, seed=6), "one")
    assert not other.events.equals(first.events)


@pytest.mark.parametrize("business", KINDS)
def test_a_tenant_does_not_notice_the_others(business: str) -> None:
    """With neighbours before and after it, a tenant's tables are the same."""
    plan = TenantPlan("one", 30, 0.3)
    alone = simulate_tenant(World(5, business, (plan,), days=40), "one")
    crowd = (TenantPlan("zero", 20, 0.9), plan, TenantPlan("two", 40, faults=(Shock(3),)))
    world = World(5, business, crowd, days=40)
    among = {name: simulate_tenant(world, name) for name in ("zero", "one")}
    assert all(a.equals(b) for a, b in zip(facts_of(alone), facts_of(among["one"]), strict=True))
    assert not among["zero"].events["event_timestamp"].equals(alone.events["event_timestamp"])


def test_more_users_leave_the_others_as_they_are() -> None:
    """What the first users of a tenant do does not depend on how many come after them."""
    few = simulate_tenant(World(5, "shop", (TenantPlan("one", 30),), days=40), "one")
    many = simulate_tenant(World(5, "shop", (TenantPlan("one", 90),), days=40), "one")
    known = few.truth.users["user_id"]
    kept = many.events.filter(pc.is_in(many.events["user_id"], value_set=known.combine_chunks()))
    assert kept.equals(few.events)


def test_tenants_with_no_deviation_share_the_mechanism() -> None:
    """Rates of leaving follow from traits alike at deviation 0, and the less the more of it."""
    agreement = []
    for deviation in (0.0, 0.5, 1.0):
        plans = (TenantPlan("one", 3_000, deviation), TenantPlan("two", 3_000, deviation))
        world = World(5, "shop", plans, days=30)
        one, two = (open_tenant(world, plan.id).population for plan in plans)
        assert not np.array_equal(one.traits, two.traits)
        # what either tenant's mechanism says of tenant one's users
        theirs, own = (
            hazards_of(world, plan, (), one.traits, one.in_b)[0][0] for plan in (plans[1], plans[0])
        )
        agreement.append(np.corrcoef(np.log(theirs), np.log(own))[0, 1])
    assert agreement[0] == pytest.approx(1.0)
    assert agreement[1] == pytest.approx(0.5, abs=0.25)  # √½ of the world's in either
    assert abs(agreement[2]) < 0.5  # nothing of the world's; what they share is chance


def test_black_friday_is_everybodys() -> None:
    """In a shop the day after Thanksgiving is the busiest of the year, at every tenant."""
    friday = max(holidays("shopping", 2024), key=lambda day: holidays("shopping", 2024)[day])
    assert friday.isoformat() == "2024-11-29"
    plans = (TenantPlan("one", 1_500), TenantPlan("two", 1_500, 0.8))
    world = World(2, "shop", plans, start=friday.replace(day=1), days=30)
    for found in (simulate_tenant(world, plan.id) for plan in plans):
        days = pc.strftime(found.events["event_timestamp"], format="%Y-%m-%d")
        counts = {row["values"].as_py(): row["counts"].as_py() for row in days.value_counts()}
        assert max(counts, key=lambda day: counts[day]) == "2024-11-29"


def test_weeks_and_years_repeat() -> None:
    """Activity has the business's weekdays, and away from holidays a mean of about 1."""
    season = BUSINESSES["crm"].season
    factor = activity(season, World(1, "crm").start, 728, ())
    weekdays = factor.reshape(-1, 7).mean(axis=0)
    assert weekdays[5:].max() < 0.35 * weekdays[:5].min()
    assert factor.mean() == pytest.approx(1.0, abs=0.05)


def test_growth_brings_more_and_more_users() -> None:
    """With growth, more users come in the second half than in the first; without, as many."""
    for growth, ratio in ((0.0, 1.0), (2.0, float(np.exp(1.0)))):
        world = World(3, "crm", (TenantPlan("one", 20_000, growth=growth),), days=365)
        joined = open_tenant(world, "one").population.joined
        late, early = (joined >= 183).sum(), (joined < 182).sum()
        assert late / early == pytest.approx(ratio, rel=0.06)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("concept,at=120,size=0.5,over=30", Drift("concept", 120, 0.5, 30)),
        ("late, share=0.1", Late(0.1)),
        ("outage,at=80,lost=false", SimulatedOutage(80, lost=False)),
        ("cold_items,at=9,share=0.3", ColdStart("items", 9, 0.3)),
        ("night,share=0.01,at=5", FraudPattern("night", 0.01, 5)),
        ("leak,name=score_2", Leak("score_2")),
    ],
)
def test_faults_are_spelled_in_a_line(text: str, fault: Fault) -> None:
    """A fault from a line of text is the declaration it names."""
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("storm", "known: card_testing"),
        ("late,size=3", "known: at, delay, share"),
        ("shock", "needs at=DAY"),
        ("late,share=often", "not a number"),
        ("late,share=inf", "not a number"),
        ("late,share=2", "between 0 and 1"),
        ("outage,at=3,lost=maybe", "true or false"),
        ("cold_users,at=1.5", "a whole number"),
        ("leak,name=Bad Name", "lower-case"),
    ],
)
def test_bad_faults_say_what_is_known(text: str, says: str) -> None:
    """A fault that does not exist, or cannot be, is an error that tells what can."""
    with pytest.raises(ConfigError, match=says):
        parse_fault(text)


def test_impossible_worlds_are_refused() -> None:
    """Unknown businesses and tenants, equal ids and times that cannot be are errors."""
    with pytest.raises(UnknownNameError, match="known: crm, jobs"):
        World(1, "circus")
    with pytest.raises(UnknownNameError, match="tenant-1"):
        World(1).plan("nobody")
    with pytest.raises(ConfigError, match="twice: a1"):
        World(1, tenants=(TenantPlan("a1"), TenantPlan("a1")))
    with pytest.raises(ConfigError, match="opens on day 300"):
        World(1, tenants=(TenantPlan("a1", opens=300),))
    with pytest.raises(ConfigError, match="opens on day 500"):
        World(1, faults=(ColdStart("tenant", 500),))
    for change in ({"id": "Bad"}, {"users": 0}, {"deviation": 2}, {"conversion": 1}, {"closes": 0}):
        with pytest.raises(ConfigError, match="tenant plan"):
            TenantPlan(**{"id": "a1", **change})  # type: ignore[arg-type]
