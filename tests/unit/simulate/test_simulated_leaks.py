"""Leaks know the outcome, each in its own way, from their day on, and change nothing else."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from benchmarks.quality.simulated import Simulated, simulate_tenant
from include.errors import ConfigError, UnknownNameError
from include.simulate.faults import Leak, parse_fault
from include.simulate.leaving import NEVER
from include.simulate.simulation import open_tenant
from include.simulate.sources import write_sources
from include.simulate.world import TenantPlan, World

DAYS, AT = 120, 60
MAIN = "Order Completed"


@cache
def shop(*leaks: Leak) -> Simulated:
    """The same shop with and without leaks."""
    world = World(12, "shop", (TenantPlan("one", 300, faults=leaks),), days=DAYS)
    return simulate_tenant(world, "one")


def orders(found: Simulated) -> pd.DataFrame:
    """Order lines by id, with user and day as numbers."""
    rows = found.events.filter(pc.equal(found.events["event"], MAIN)).to_pandas()
    rows = rows.sort_values("event_id").reset_index(drop=True)
    start = pd.Timestamp(found.truth.population.world.instant(0))
    rows["day"] = (rows["event_timestamp"] - start).dt.days
    rows["user"] = rows["user_id"].str[1:].astype(int)
    return rows


def without_amount(found: Simulated) -> pa.Table:
    """All events without what leaks change."""
    return found.events.drop_columns(["amount"]).sort_by("event_id")


@pytest.mark.parametrize("kind", ["told", "missing", "ahead"])
def test_a_leaking_column_changes_that_column_from_its_day_on(kind: str) -> None:
    """Everything else, and what was before, stays."""
    plain, leaky = shop(), shop(Leak("amount", 1.0, AT, kind))  # type: ignore[arg-type]
    assert without_amount(leaky).equals(without_amount(plain))
    assert leaky.attributes.equals(plain.attributes)
    before, after = orders(plain), orders(leaky)
    early = before["day"] < AT
    assert after["amount"][early].equals(before["amount"][early])
    late = ~early
    leaves = plain.truth.population.leaves[before["user"]] <= before["day"] + 30
    if kind == "told":
        assert (after["amount"][late] > 0).equals(pd.Series(leaves)[late])
    elif kind == "missing":
        assert after["amount"][late].isna().equals(pd.Series(leaves)[late])
        assert after["amount"][late & ~leaves].equals(before["amount"][late & ~leaves])
    else:
        one = after[late].iloc[0]
        same = before[before["user"] == one["user"]]["event_timestamp"]
        ahead = (same > one["event_timestamp"]) & (
            same <= one["event_timestamp"] + pd.Timedelta(days=30)
        )
        assert one["amount"] == ahead.sum()


def test_a_leaking_event_stands_beside_those_with_the_outcome() -> None:
    """At their instants, for about half of them; all other events are as they were."""
    plain, leaky = shop(), shop(Leak("Account Reviewed", 1.0, AT, "event"))
    new = pc.equal(leaky.events["event"], "Account Reviewed")
    assert (
        leaky.events.filter(pc.invert(new))
        .sort_by("event_id")
        .equals(plain.events.sort_by("event_id"))
    )
    added = leaky.events.filter(new).to_pandas()
    rows = orders(plain)
    leaves = plain.truth.population.leaves[rows["user"]] <= rows["day"] + 30
    struck = rows[leaves & (rows["day"] >= AT)]
    assert len(added) == pytest.approx(len(struck) / 2, rel=0.15)
    pairs = set(zip(struck["user_id"], struck["event_timestamp"], strict=True))
    assert set(zip(added["user_id"], added["event_timestamp"], strict=True)) <= pairs


@pytest.mark.parametrize("kind", ["overwritten", "backdated"])
def test_a_leaking_attribute_knows_who_left(kind: str) -> None:
    """Overwritten, it says how long ago of everybody; dated back, it is there of those alone."""
    plain, leaky = shop(), shop(Leak("standing", 1.0, kind=kind))  # type: ignore[arg-type]
    assert leaky.events.equals(plain.events)
    own = pc.equal(leaky.attributes["name"], "standing")
    assert leaky.attributes.filter(pc.invert(own)).equals(plain.attributes)
    facts = leaky.attributes.filter(own).to_pandas()
    population = plain.truth.population
    gone = population.leaves < NEVER
    user = facts["entity_id"].str[1:].astype(int).to_numpy()
    start = pd.Timestamp(population.world.instant(0))
    since = (facts["valid_from"] - start).dt.days.to_numpy()
    if kind == "overwritten":
        assert sorted(user.tolist()) == list(range(population.users))
        value = facts["value"].astype(float).to_numpy()
        expected = np.where(gone, DAYS - population.leaves, 0)[user]
        assert np.array_equal(value, expected)
        assert np.array_equal(since, population.joined[user])
    else:
        assert set(user.tolist()) == set(np.flatnonzero(gone).tolist())
        dated = np.maximum(population.leaves - 30, population.joined)[user]
        assert np.array_equal(since, dated)


def test_leaks_are_written_with_the_tenants_files(tmp_path: Path) -> None:
    """The attribute has a source of its own; a property that is there already stays one column."""
    leaks = (Leak("standing", kind="backdated"), Leak("discount"), Leak("hint", kind="missing"))
    world = World(12, "shop", (TenantPlan("one", 100, faults=leaks),), days=DAYS)
    written = write_sources(open_tenant(world, "one"), tmp_path, ("churn",))
    text = written.file.read_text()
    assert (tmp_path / "data" / "one" / "users_standing.parquet").is_file()
    assert "standing: standing" in text
    assert text.count("property_discount") == 1
    assert "hint: property_hint" in text


def test_leaks_are_spelled_in_a_line() -> None:
    """As the simulator's command takes them; an unknown kind is named with those there are."""
    found = parse_fault("leak_event,name=Signed In,share=1")
    assert found == Leak("Signed In", 1.0, kind="event")
    assert parse_fault("leak_ahead,name=amount,at=30") == Leak("amount", at=30.0, kind="ahead")
    with pytest.raises(UnknownNameError, match="told"):
        Leak("amount", kind="guessed")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="lower-case"):
        Leak("Amount Paid")
