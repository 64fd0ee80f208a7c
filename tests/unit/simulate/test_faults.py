"""Faults on demand: each does what it says from its day on, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import cache

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from numpy.typing import NDArray

from benchmarks.quality.oracle import leaving_probability, there
from benchmarks.quality.simulated import Simulated, simulate_tenant
from include.simulate.businesses.crm import opening_chance
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
)
from include.simulate.leaving import NEVER
from include.simulate.world import TenantPlan, World

DAYS, AT = 100, 60
DELIVERED = ("created_timestamp", "month")


@cache
def tenant(business: str, *faults: Fault, users: int = 800) -> Simulated:
    """The same tenant with and without faults."""
    world = World(33, business, (TenantPlan("one", users),), days=DAYS, faults=faults)
    return simulate_tenant(world, "one")


def by_id(events: pa.Table, *without: str) -> pa.Table:
    """Events in the order of their ids, without some columns."""
    return events.drop_columns(list(without)).sort_by("event_id")


def before(found: Simulated, day: int = AT) -> pa.Table:
    """What happened before the day, in the order of ids."""
    until = found.truth.population.world.instant(day)
    events = found.events
    return by_id(events.filter(pc.less(events["event_timestamp"], pa.scalar(until))))


def column(found: Simulated, name: str, event: str, late: bool) -> NDArray[np.float64]:
    """Numbers of one event's column or property, since the day or before it."""
    rows = found.events.filter(pc.equal(found.events["event"], event)).to_pandas()
    since = pd.Timestamp(found.truth.population.world.instant(AT))
    rows = rows[(rows["event_timestamp"] >= since) == late]
    if name in rows:
        return rows[name].to_numpy(dtype=float)
    return rows["properties"].str.extract(rf'"{name}": ([\d.]+)')[0].to_numpy(dtype=float)


def test_late_events_are_those_that_happen_anyway() -> None:
    """A share of the events from the day on arrives later, exponentially; all else is the same."""
    plain, late = tenant("shop"), tenant("shop", Late(0.2, 4.0, AT))
    assert by_id(late.events, *DELIVERED).equals(by_id(plain.events, *DELIVERED))
    assert before(late).equals(before(plain))
    delay = pc.subtract(late.events["created_timestamp"], late.events["event_timestamp"])
    days = delay.cast(pa.int64()).to_numpy() / 86_400e6
    since = late.events["event_timestamp"].to_pandas() >= pd.Timestamp(
        late.truth.population.world.instant(AT)
    )
    assert (days[since] > 0).mean() == pytest.approx(0.2, abs=0.02)
    assert days[days > 0].mean() == pytest.approx(4.0, rel=0.1)


def test_duplicates_are_the_same_events_again() -> None:
    """A share of the events comes twice with the same content; the first ones are all there."""
    plain, twice = tenant("shop"), tenant("shop", Duplicates(0.1, AT))
    once = twice.events.to_pandas().drop_duplicates("event_id")
    first = by_id(plain.events).to_pandas()
    pd.testing.assert_frame_equal(once.sort_values("event_id", ignore_index=True), first)
    again = twice.events.to_pandas()
    repeats = again[again.duplicated("event_id")]
    happened = plain.events["event_timestamp"].to_pandas()
    since = (happened >= pd.Timestamp(plain.truth.population.world.instant(AT))).sum()
    assert len(repeats) / since == pytest.approx(0.1, rel=0.15)
    originals = once.set_index("event_id").loc[repeats["event_id"]]
    wait = repeats["created_timestamp"].to_numpy() - originals["created_timestamp"].to_numpy()
    assert wait.min() > np.timedelta64(0, "s")
    same = [name for name in again.columns if name not in ("event_id", *DELIVERED)]
    pd.testing.assert_frame_equal(
        repeats[same].reset_index(drop=True), originals[same].reset_index(drop=True)
    )


def test_an_outage_loses_what_would_have_arrived_in_it() -> None:
    """Exactly the events that would have become known in the outage are missing."""
    plain, broken = tenant("shop"), tenant("shop", SimulatedOutage(AT, 3.0))
    world = plain.truth.population.world
    created = plain.events["created_timestamp"]
    inside = pc.and_(
        pc.greater_equal(created, pa.scalar(world.instant(AT))),
        pc.less(created, pa.scalar(world.instant(AT + 3))),
    )
    assert pc.sum(inside).as_py() > 100
    assert broken.events.equals(plain.events.filter(pc.invert(inside)).combine_chunks())


def test_an_outage_that_loses_nothing_delivers_in_the_hour_after() -> None:
    """All events are there; those of the outage become known in the hour after it."""
    plain, broken = tenant("shop"), tenant("shop", SimulatedOutage(AT, 3.0, lost=False))
    assert by_id(broken.events, *DELIVERED).equals(by_id(plain.events, *DELIVERED))
    ends = plain.truth.population.world.instant(AT + 3)
    rows = broken.events.to_pandas()
    held = rows[rows["created_timestamp"] != rows["event_timestamp"]]
    assert len(held) > 100
    assert (held["event_timestamp"] >= ends - timedelta(days=3)).all()
    assert held["created_timestamp"].between(ends, ends + timedelta(hours=1)).all()


@pytest.mark.parametrize(
    ("business", "main"),
    [
        ("shop", "Order Completed"),
        ("payments", "Payment Made"),
        ("crm", "Page Viewed"),
        ("jobs", "Job Viewed"),
    ],
)
def test_a_leak_knows_the_label_and_changes_nothing_else(business: str, main: str) -> None:
    """The property agrees with what will be in its share of the cases, from its day on."""
    plain, leaky = tenant(business), tenant(business, Leak("hint", 0.9, AT))
    assert by_id(leaky.events, "properties").equals(by_id(plain.events, "properties"))
    assert before(leaky).equals(before(plain))
    rows = leaky.events.filter(pc.equal(leaky.events["event"], main)).to_pandas()
    world = leaky.truth.population.world
    rows = rows[rows["event_timestamp"] >= pd.Timestamp(world.instant(AT))]
    told = rows["properties"].str.extract(r'"hint": ([01])')[0].astype(int).to_numpy() == 1
    user = rows["user_id"].str[1:].astype(int).to_numpy()
    day = (rows["event_timestamp"] - pd.Timestamp(world.instant(0))).dt.days.to_numpy()
    truth = leaky.truth
    if business == "shop":
        label = truth.population.leaves[user] <= day + 30
    elif business == "crm":
        label = truth.users["converts"].to_numpy(zero_copy_only=False)[user]
    else:
        label = truth.outcomes.to_pandas().set_index("event_id")["outcome"][rows["event_id"]]
    label = np.asarray(label)
    for value in (True, False):
        assert (told == label)[label == value].mean() == pytest.approx(0.9, abs=0.1)


def test_a_shock_is_activity_for_a_while() -> None:
    """In the shock's days there is as many times as much; before them nothing is different."""
    plain, shaken = tenant("shop"), tenant("shop", Shock(AT, 10, 3.0))
    assert before(shaken).equals(before(plain))
    world = plain.truth.population.world

    def within(found: Simulated) -> int:
        at = found.events["event_timestamp"].to_pandas()
        return int(at.between(world.instant(AT), world.instant(AT + 10)).sum())

    assert within(shaken) / within(plain) == pytest.approx(3.0, rel=0.1)
    assert np.array_equal(shaken.truth.population.leaves, plain.truth.population.leaves)


def test_new_users_come_in_one_day_and_the_others_do_not_notice() -> None:
    """The share of new users joins on the day; without their rows, the events are as before."""
    plain, cold = tenant("shop"), tenant("shop", ColdStart("users", AT, 0.5))
    users = cold.truth.users
    assert len(users) == 1_200
    joined = users["joined_at"].to_pandas()[800:]
    assert (joined == pd.Timestamp(plain.truth.population.world.instant(AT))).all()
    old = pc.is_in(cold.events["user_id"], value_set=users["user_id"][:800].combine_chunks())
    assert by_id(cold.events.filter(old)).equals(by_id(plain.events))


def test_new_items_are_taken_from_their_day_on() -> None:
    """The items are there from the day on, and with them only what is chosen is different."""
    plain, cold = tenant("shop"), tenant("shop", ColdStart("items", AT, 0.25))
    assert before(cold).equals(before(plain))
    items = cold.truth.items.to_pandas()
    new = set(items[items["released_day"] == AT]["item_id"])
    assert len(new) == 60
    ordered = cold.events.filter(pc.equal(cold.events["event"], "Order Completed")).to_pandas()
    late = ordered["event_timestamp"] >= pd.Timestamp(plain.truth.population.world.instant(AT))
    assert not ordered[~late]["item_id"].isin(new).any()
    assert ordered[late]["item_id"].isin(new).mean() > 0.05
    assert cold.truth.demand()[:AT].sum() == pytest.approx(plain.truth.demand()[:AT].sum())


def test_a_new_tenant_has_no_past() -> None:
    """A tenant that starts cold has neither events nor users nor facts before its day."""
    cold = tenant("shop", ColdStart("tenant", AT))
    first = cold.truth.population.world.instant(AT)
    for instant in (
        pc.min(cold.events["event_timestamp"]),
        pc.min(cold.truth.users["joined_at"]),
        pc.min(cold.attributes["valid_from"]),
    ):
        assert instant.as_py() >= first
    assert len(cold.events) > 1_000


@pytest.mark.parametrize("kind", ["covariate", "concept", "prior"])
@pytest.mark.parametrize("business", ["shop", "media", "crm", "payments", "learning", "jobs"])
def test_before_its_day_no_drift_is_to_be_seen(business: str, kind: str) -> None:
    """What happened before the onset is the same with and without the drift."""
    fault = Drift(kind, AT, 0.8, over=10)  # type: ignore[arg-type]
    plain, drifted = tenant(business, users=150), tenant(business, fault, users=150)
    assert before(drifted).equals(before(plain))
    assert not drifted.events.equals(plain.events) or kind == "concept"


@pytest.mark.parametrize(
    ("business", "name", "event"),
    [
        ("shop", "amount", "Order Completed"),
        ("payments", "amount", "Payment Made"),
        ("learning", "minutes", "Lesson Completed"),
    ],
)
def test_covariate_drift_moves_measures_and_no_label(business: str, name: str, event: str) -> None:
    """Measures grow by the factor; who was there leaves when they would have left."""
    plain, drifted = tenant(business), tenant(business, Drift("covariate", AT, 1.0))
    ratio = np.nanmedian(column(drifted, name, event, late=True)) / np.nanmedian(
        column(plain, name, event, late=True)
    )
    assert ratio == pytest.approx(np.exp(0.5), rel=0.15)
    was_there = plain.truth.population.joined < AT
    left = (plain.truth.population.leaves, drifted.truth.population.leaves)
    assert np.array_equal(left[0][was_there], left[1][was_there])


def test_prior_drift_multiplies_the_rate_of_leaving() -> None:
    """From the day on everybody's rate is exp(size) times as high, in the same order."""
    plain, drifted = (
        tenant("shop", users=3_000),
        tenant("shop", Drift("prior", AT, 1.0), users=3_000),
    )

    def rate(found: Simulated) -> NDArray[np.float64]:
        return -np.log1p(-leaving_probability(found.truth, AT, 20))

    assert rate(drifted) / rate(plain) == pytest.approx(np.e)
    left = [
        (there(one.truth, AT) & (one.truth.population.leaves <= AT + 20)).sum()
        for one in (plain, drifted)
    ]
    assert left[1] / left[0] == pytest.approx(np.e, rel=0.25)


def test_concept_drift_makes_others_leave() -> None:
    """As many leave as before, but who they are follows another mechanism from the day on."""
    plain, drifted = tenant("shop"), tenant("shop", Drift("concept", AT, 1.0))

    def log_rate(found: Simulated, day: int) -> NDArray[np.float64]:
        return np.log(-np.log1p(-leaving_probability(found.truth, day, 1)))

    assert np.allclose(log_rate(drifted, AT - 1), log_rate(plain, AT - 1))
    assert abs(np.corrcoef(log_rate(drifted, AT), log_rate(plain, AT))[0, 1]) < 0.5
    assert log_rate(drifted, AT).mean() == pytest.approx(log_rate(plain, AT).mean(), abs=0.3)


def test_a_gradual_drift_is_half_there_in_the_middle() -> None:
    """The rate of leaving climbs day by day while a gradual prior drift comes."""
    plain, drifted = tenant("shop"), tenant("shop", Drift("prior", AT, 1.0, over=20))
    for day, expected in ((AT - 1, 0.0), (AT + 9, 0.5), (AT + 25, 1.0)):
        rates = [-np.log1p(-leaving_probability(one.truth, day, 1)) for one in (drifted, plain)]
        assert np.log(rates[0] / rates[1]) == pytest.approx(expected, abs=1e-9)


def test_a_season_is_no_drift() -> None:
    """Activity swings and returns, and neither measures nor who leaves when are touched."""
    fault = Drift("seasonal", 0, 1.0, over=20)
    plain, seasonal = tenant("shop"), tenant("shop", fault)
    assert np.array_equal(plain.truth.population.leaves, seasonal.truth.population.leaves)
    assert np.array_equal(plain.truth.population.traits, seasonal.truth.population.traits)
    clock = [np.diff(one.truth.population.clock) for one in (plain, seasonal)]
    factor = np.log(clock[1] / clock[0])
    assert factor == pytest.approx(0.5 * np.cos(2 * np.pi * np.arange(DAYS) / 20))


@pytest.mark.parametrize(("kind", "change"), [("prior", 1.0), ("concept", 0.0)])
def test_leads_drift_by_the_day_they_come(kind: str, change: float) -> None:
    """Prior drift multiplies the odds of leads from its day on; concept drift reorders them."""
    plain = tenant("crm", users=3_000)
    drifted = tenant("crm", Drift(kind, AT, 1.0), users=3_000)  # type: ignore[arg-type]
    late = plain.truth.population.joined >= AT
    odds = [
        np.log(p / (1 - p))
        for p in (one.truth.population.conversion for one in (plain, drifted))
        if p is not None
    ]
    assert np.array_equal(odds[0][~late], odds[1][~late])
    assert (odds[1] - odds[0])[late].mean() == pytest.approx(change, abs=0.3)
    same = np.corrcoef(odds[0][late], odds[1][late])[0, 1]
    assert same > 0.999 if kind == "prior" else abs(same) < 0.5


def test_fraud_patterns_look_as_they_should() -> None:
    """Testing is tiny and fast, takeovers are large and abroad, night frauds huge and at night;
    honest payments are those of a tenant without any fraud."""
    faults = tuple(FraudPattern(kind, 0.02) for kind in ("card_testing", "takeover", "night"))
    found = tenant("payments", *faults, users=2_000)
    honest = tenant("payments", FraudPattern("night", 0.0), users=2_000)
    assert not pc.any(honest.truth.outcomes["outcome"]).as_py()
    rows = found.events.filter(pc.equal(found.events["event"], "Payment Made")).to_pandas()
    rows = rows.merge(found.truth.outcomes.to_pandas(), on="event_id")
    known = rows[~rows["outcome"]].sort_values("event_id", ignore_index=True)
    made = by_id(honest.events.filter(pc.equal(honest.events["event"], "Payment Made")))
    assert known[made.column_names].equals(made.to_pandas()[made.column_names])
    rows["country"] = rows["properties"].str.extract(r'"country": "(\w+)"')[0]
    facts = found.attributes.to_pandas()
    home = facts[facts["name"] == "country"].set_index("entity_id")["value"]
    rows["abroad"] = rows["country"].to_numpy() != home[rows["user_id"]].to_numpy()
    usual = known.groupby("user_id")["amount"].median()
    rows["times"] = rows["amount"] / rows["user_id"].map(usual)
    testing, takeover, night = (
        rows[rows["pattern"] == kind] for kind in ("card_testing", "takeover", "night")
    )
    assert testing["amount"].max() <= 3.01
    span = testing.groupby("user_id")["event_timestamp"].agg(lambda at: at.max() - at.min())
    assert span.median() < pd.Timedelta(minutes=30)
    assert takeover["abroad"].all()
    assert takeover["times"].median() > 2.5
    assert night["event_timestamp"].dt.hour.isin([1, 2, 3]).all()
    assert night["times"].median() > 5
    assert rows[rows["pattern"].isna()]["abroad"].mean() < 0.04
    for kind in (testing, takeover, night):
        assert len(kind) / len(rows) == pytest.approx(0.02, rel=0.35)


def test_fraud_patterns_keep_to_their_time() -> None:
    """A pattern that begins and ends strikes in between only."""
    found = tenant("payments", FraudPattern("night", 0.05, 30, 50))
    frauds = found.truth.outcomes.filter(found.truth.outcomes["outcome"])["event_id"]
    rows = found.events.filter(
        pc.is_in(found.events["event_id"], value_set=frauds.combine_chunks())
    )
    world = found.truth.population.world
    assert len(rows) > 50
    assert pc.min(rows["event_timestamp"]).as_py() >= world.instant(30)
    assert pc.max(rows["event_timestamp"]).as_py() < world.instant(50)


def test_a_fault_of_one_tenant_is_not_its_neighbours() -> None:
    """A fault on a plan befalls that tenant only, one of the world all alike."""
    plans = (TenantPlan("one", 60), TenantPlan("two", 60))
    world = World(4, "shop", plans, days=40)
    hit = replace(world, tenants=(replace(plans[0], faults=(Shock(20),)), plans[1]))
    shared = replace(world, faults=(Shock(20),))
    plain = {name: simulate_tenant(world, name).events for name in ("one", "two")}
    assert not simulate_tenant(hit, "one").events.equals(plain["one"])
    assert simulate_tenant(hit, "two").events.equals(plain["two"])
    assert simulate_tenant(shared, "one").events.equals(simulate_tenant(hit, "one").events)
    assert not simulate_tenant(shared, "two").events.equals(plain["two"])


def test_a_tenant_that_closes_sends_nothing_more() -> None:
    """Events end with the tenant; who would leave later is there at the end."""
    plan = TenantPlan("one", 200, closes=50)
    found = simulate_tenant(World(4, "crm", (plan,), days=DAYS), "one")
    world = found.truth.population.world
    assert pc.max(found.events["event_timestamp"]).as_py() < world.instant(50)
    leaves = found.truth.population.leaves
    assert ((leaves <= 50) | (leaves == NEVER)).all()
    users = np.arange(found.truth.population.users)
    best = opening_chance(found.truth.population, users, found.truth.population.hour + 0.5)
    far = opening_chance(found.truth.population, users, found.truth.population.hour + 8.5)
    assert (best > 4 * far).all()
