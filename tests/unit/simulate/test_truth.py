"""The truth about a tenant is found again in its data, within what chance allows."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from benchmarks.quality.oracle import (
    absence_probability,
    affinity,
    expected_events,
    leaving_probability,
    there,
)
from benchmarks.quality.simulated import Simulated, simulate_tenant
from include.errors import ConfigError
from include.simulate.leaving import NEVER
from include.simulate.world import TenantPlan, World

DAYS = 150


@cache
def tenant(business: str, users: int = 1_500, **changes: float) -> Simulated:
    """A tenant of that business with a deviation of its own."""
    plan = TenantPlan("one", users, 0.3, **changes)  # type: ignore[arg-type]
    return simulate_tenant(World(21, business, (plan,), days=DAYS), "one")


def frame(found: Simulated, *events: str) -> pd.DataFrame:
    """Events of these names with their day and their user's row."""
    table = found.events.filter(pc.is_in(found.events["event"], value_set=pc.pa.array(events)))
    rows = table.to_pandas()
    first = pd.Timestamp(found.truth.population.world.instant(0))
    rows["day"] = (rows["event_timestamp"] - first).dt.days
    rows["user"] = rows["user_id"].str[1:].astype(int)
    rows["hour"] = rows["event_timestamp"].dt.hour
    return rows


def calibrated(
    chance: NDArray[np.float64], happened: NDArray[np.bool_], groups: int = 10, errors: float = 4.0
) -> None:
    """In every group of like chances, as many happened as the chances say."""
    for group in np.array_split(np.argsort(chance, kind="stable"), groups):
        expected, spread = chance[group].sum(), np.sqrt((chance[group] * (1 - chance[group])).sum())
        assert abs(happened[group].sum() - expected) < errors * spread + 0.5


@pytest.mark.parametrize(
    ("business", "main"),
    [("shop", "Order Completed"), ("learning", "Lesson Completed"), ("payments", "Payment Made")],
)
def test_users_are_absent_as_often_as_the_truth_says(business: str, main: str) -> None:
    """Among users who are still there, absences in the next 30 days come as often as told."""
    found = tenant(business)
    truth, day, horizon = found.truth, 90, 30
    rows = frame(found, main)
    if business == "payments":  # frauds happen to users, whether they come or not
        frauds = truth.outcomes.filter(truth.outcomes["outcome"])["event_id"].to_pylist()
        rows = rows[~rows["event_id"].isin(frauds)]
    came = rows[(rows["day"] >= day) & (rows["day"] < day + horizon)]["user"].unique()
    absent = ~np.isin(np.arange(truth.population.users), came)
    chance, present = absence_probability(truth, day, horizon), there(truth, day)
    calibrated(chance[present], absent[present])
    gone = truth.population.leaves <= day
    assert (chance[gone] == 1).all()
    assert absent[gone].all()
    assert np.isnan(chance[truth.population.joined >= day]).all()


def test_users_leave_as_often_as_the_truth_says() -> None:
    """The chance to leave within a horizon is kept in every tenth of it, and no event follows."""
    found = tenant("shop")
    truth = found.truth
    present = there(truth, 60)
    left = truth.population.leaves <= 60 + 45
    calibrated(leaving_probability(truth, 60, 45)[present], left[present])
    rows = frame(found, "Order Completed", "Product Viewed")
    assert (rows["day"] < truth.population.leaves[rows["user"]]).all()
    assert (rows["day"] >= truth.population.joined[rows["user"]]).all()
    with pytest.raises(ConfigError, match="from day 150 on"):
        leaving_probability(truth, 140, 11)


@pytest.mark.parametrize(
    ("business", "main"),
    [
        ("shop", ("Order Completed",)),
        ("media", ("Content Played", "Content Skipped")),
        ("learning", ("Lesson Completed",)),
        ("jobs", ("Job Viewed",)),
        ("crm", ("Page Viewed",)),
    ],
)
def test_users_are_as_active_as_their_pace(business: str, main: tuple[str, ...]) -> None:
    """Events of the next month are Poisson-like around each tenth's expected number."""
    found = tenant(business)
    rows = frame(found, *main)
    if business == "shop":
        rows = rows.drop_duplicates("group_id")
    part = rows[(rows["day"] >= 60) & (rows["day"] < 90)]
    counts = np.bincount(part["user"], minlength=found.truth.population.users)
    expected = expected_events(found.truth, 60, 90)
    assert (counts[expected == 0] == 0).all()
    for tenth in np.array_split(np.argsort(expected, kind="stable"), 10):
        spread = np.sqrt(4 * expected[tenth].sum() + 1)  # visits come with several events
        assert abs(counts[tenth].sum() - expected[tenth].sum()) < 4 * spread


def test_a_shops_demand_is_its_rate_of_pieces() -> None:
    """Pieces ordered of each item in a month, and of all items on each day, follow the rates."""
    found = tenant("shop")
    demand, items = found.truth.demand(), found.truth.items_known
    rows = frame(found, "Order Completed")
    place = dict(zip(found.truth.items["item_id"].to_pylist(), range(len(items)), strict=True))
    rows["place"] = rows["item_id"].map(place)
    by_day = rows.groupby("day")["quantity"].sum().reindex(range(DAYS), fill_value=0).to_numpy()
    daily = demand.sum(axis=1)
    assert (np.abs(by_day - daily) < 4.5 * np.sqrt(5 * daily)).all()  # baskets hold several
    part = rows[(rows["day"] >= 90) & (rows["day"] < 120)]
    sold = part.groupby("place")["quantity"].sum().reindex(range(len(items)), fill_value=0)
    expected = demand[90:120].sum(axis=0)
    error = (sold.to_numpy() - expected) / np.sqrt(1.6 * expected + 0.5)
    assert error.std() == pytest.approx(1.0, abs=0.25)
    assert np.corrcoef(sold.to_numpy(), expected)[0, 1] > 0.95


def test_companions_are_bought_together() -> None:
    """A basket with an item holds its companion more often than other baskets do, as told."""
    found = tenant("shop")
    rows = frame(found, "Order Completed")
    items = found.truth.items.to_pandas().set_index("item_id")
    baskets = rows.groupby("group_id")["item_id"].agg(set)
    best = rows["item_id"].value_counts().index
    best = best[~best.isin(items["companion"])]  # an item that was brought along brings nothing
    pairs = [(i, items.loc[i, "companion"]) for i in best if items.loc[i, "companion"]][:5]
    for item, companion in pairs:
        having = baskets[baskets.map(lambda one, item=item: item in one)]
        share = having.map(lambda one, other=companion: other in one).mean()
        assert 0.3 < share < 0.6
        assert share > 3 * baskets.map(lambda one, other=companion: other in one).mean()


def test_shop_users_buy_what_they_have_an_affinity_for() -> None:
    """Own lines go to items as often as the affinity says, and to each user's top ones most."""
    found = tenant("shop")
    truth = found.truth
    users = np.flatnonzero(there(truth, 90) & (truth.population.leaves == NEVER))[:400]
    liking = affinity(truth, users, 100)
    assert liking.sum(axis=1) == pytest.approx(1.0)
    rows = frame(found, "Order Completed")
    place = dict(zip(truth.items["item_id"].to_pylist(), range(liking.shape[1]), strict=True))
    rows = rows[(rows["day"] >= 80) & (rows["day"] < 120) & rows["user"].isin(users)]
    at = (np.searchsorted(users, rows["user"]), rows["item_id"].map(place).to_numpy())
    top = liking >= np.partition(liking, -10, axis=1)[:, -10:-9]
    expected = (liking * top).sum(axis=1)[at[0]].mean()
    found_share = top[at].mean()  # companions, about one line in eight, are of no taste
    assert 0.8 * expected < found_share < 1.02 * expected
    assert expected > 0.4


@pytest.mark.parametrize("business", ["media", "jobs"])
def test_outcomes_of_single_events_keep_to_their_chances(business: str) -> None:
    """Skips and applications come as often as each event's own probability says."""
    outcomes = tenant(business).truth.outcomes
    chance = outcomes["probability"].to_numpy()
    happened = outcomes["outcome"].to_numpy(zero_copy_only=False)
    calibrated(chance, happened, groups=20)
    assert roc_auc_score(happened, chance) > 0.7


def test_media_users_skip_what_they_do_not_care_for() -> None:
    """What the affinity says of a user and item is the rate at which it is played."""
    found = tenant("media")
    rows = frame(found, "Content Played", "Content Skipped")
    items = found.truth.items["item_id"].to_pylist()
    place = dict(zip(items, range(len(items)), strict=True))
    users, at = np.unique(rows["user"], return_inverse=True)
    liking = affinity(found.truth, users[:500], 100)
    known = at < 500
    chance = liking[at[known], rows["item_id"].map(place).to_numpy()[known]]
    calibrated(chance, (rows["event"] == "Content Played").to_numpy()[known], groups=20)


def test_leads_convert_as_often_as_the_truth_says() -> None:
    """Conversions keep to their chances, their mean is the plan's, and deals are those won."""
    found = tenant("crm", 4_000, conversion=0.25)
    users = found.truth.users.to_pandas()
    calibrated(users["conversion_probability"].to_numpy(), users["converts"].to_numpy())
    assert users["conversion_probability"].mean() == pytest.approx(0.25, rel=0.1)
    deals = frame(found, "Deal Won")
    assert set(deals["user_id"]) == set(users[users["converted_at"].notna()]["user_id"])
    trials = frame(found, "Trial Started")
    early = users["joined_at"] < users["joined_at"].max() - pd.Timedelta(days=60)
    tried = users["user_id"].isin(trials["user_id"])
    assert tried[users["converts"] & early].mean() == pytest.approx(0.8, abs=0.1)
    assert tried[~users["converts"] & early].mean() < 0.2


def test_mails_are_opened_near_the_best_hour() -> None:
    """A mail within an hour of the best one is opened several times as often as one far off."""
    found = tenant("crm", 4_000, conversion=0.25)
    sent, opened = frame(found, "Email Delivered"), frame(found, "Email Opened")
    best = found.truth.users["best_hour"].to_numpy()[sent["user"]]
    apart = np.abs(sent["hour"].to_numpy() - best)
    read = sent["group_id"].isin(opened["group_id"]).to_numpy()
    assert read[apart <= 1].mean() > 3 * read[apart >= 5].mean()


def test_frauds_are_as_many_as_their_patterns_say() -> None:
    """Each pattern has its share of the payments, and disputes are mostly of frauds."""
    found = tenant("payments", 4_000)
    outcomes = found.truth.outcomes.to_pandas()
    shares = outcomes["pattern"].value_counts() / len(outcomes)
    assert shares["card_testing"] == pytest.approx(0.006, rel=0.25)
    assert shares["takeover"] == pytest.approx(0.003, rel=0.25)
    assert shares["night"] == pytest.approx(0.002, rel=0.25)
    assert (outcomes["pattern"].notna() == outcomes["outcome"]).all()
    payments = frame(found, "Payment Made").merge(outcomes, on="event_id")
    assert len(payments) == len(outcomes)
    disputed = frame(found, "Payment Disputed")
    assert disputed["group_id"].is_unique
    fraud = payments.set_index("group_id")["outcome"]
    assert fraud[disputed["group_id"]].mean() > 0.85
    early = payments[(payments["day"] < 60) & payments["outcome"]]
    noticed = early["group_id"].isin(disputed["group_id"])
    chance = np.full(len(early), 0.85)
    calibrated(chance, noticed.to_numpy(), groups=1)


def test_a_groups_effect_is_the_one_asked_for() -> None:
    """Group membership is known, and shifts the log rate of leaving by the effect and no more."""
    plain, uneven = tenant("shop", 1_500), tenant("shop", 1_500, group_effect=0.7)
    chances = [one.truth.users["leaving_per_day"].to_numpy() for one in (plain, uneven)]
    rates = [np.log(-np.log1p(-chance)) for chance in chances]
    in_b = plain.truth.population.in_b
    assert in_b.mean() == pytest.approx(0.3, abs=0.03)
    assert (rates[1] - rates[0])[~in_b] == pytest.approx(0.0)
    assert (rates[1] - rates[0])[in_b] == pytest.approx(0.7)
    facts = uneven.attributes.to_pandas()
    group = facts[facts["name"] == "group"].set_index("entity_id")["value"]
    users = uneven.truth.users.to_pandas()
    assert (group[users["user_id"]].to_numpy() == users["group"]).all()


def test_biased_exposure_hides_jobs_whatever_their_merit() -> None:
    """With a bias, jobs of group b are shown much less, and applied for as often once seen."""

    def seen(found: Simulated) -> tuple[float, float]:
        in_b = found.truth.items.to_pandas().set_index("item_id")["group"] == "b"
        views = frame(found, "Job Viewed").merge(
            found.truth.outcomes.to_pandas(), on="event_id", validate="1:1"
        )
        of_b = in_b[views["item_id"]].to_numpy()
        return of_b.mean(), views["outcome"][of_b].mean() - views["probability"][of_b].mean()

    fair, excess = seen(tenant("jobs"))
    hidden, still = seen(tenant("jobs", exposure_bias=1.5))
    assert hidden < 0.45 * fair
    assert abs(excess) < 0.01
    assert abs(still) < 0.02


def test_truths_of_other_businesses_are_refused() -> None:
    """A tenant without items has no affinities, and only a shop has a demand."""
    with pytest.raises(ConfigError, match="has no demand"):
        tenant("media").truth.demand()
    with pytest.raises(ConfigError, match="has no items"):
        affinity(tenant("payments", 4_000).truth, np.arange(2), 10)
