"""Weeks that nobody ran and sources that were renamed, with the command and the real Postgres."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date, timedelta

import pytest
from generated import Shop
from installation import Installation, installed
from light_commands import ran
from three_weeks import WEEKS, load

from include import use_cases, wiring
from include.handoffs import Hole
from include.pipeline import in_process
from include.storage.lake import Lake
from include.stores.postgres import in_postgres
from include.tenants.config import TenantConfig
from include.tenants.loader import find_tenant

pytestmark = pytest.mark.integration

STEADY = Shop("steady-shop", customers=60, first=date(2024, 5, 1))
PAUSED = Shop("paused-shop", customers=60, first=date(2024, 5, 1), isolation="silo", region="us")
BEFORE = WEEKS[0] - timedelta(days=7)


@pytest.fixture(scope="module")
def here() -> Iterator[Installation]:
    """Two shops that sell the same; one of them was not run for two weeks."""
    with installed() as found:
        found.open(STEADY, PAUSED)
        for week in (BEFORE, *WEEKS):
            load(found, STEADY, week)
        load(found, PAUSED, BEFORE)
        yield found


def tenant(here: Installation, shop: Shop) -> TenantConfig:
    """The shop's tenant, as its file is now."""
    return find_tenant(here.tenants, shop.id, use_cases.names())


def sold(here: Installation, shop: Shop) -> list[tuple[str, ...]]:
    """Accepted events, every row counted, without what names the shop."""
    rows = Lake(here.state.lake).dataset(tenant(here, shop).ref, "events").to_table().to_pylist()
    return sorted(
        (row["event_id"].replace(shop.id, ""), str(row["event_timestamp"]), str(row["amount"]))
        for row in rows
    )


def test_a_pause_is_made_up_for_by_the_next_run(
    here: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`tenantry run` loads what nobody ran, says so, and all is as where every week was run."""
    told: list[str] = []
    shop = tenant(here, PAUSED)
    done = in_process.run(
        shop, WEEKS[2], "churn", wiring.connect_from_environment, progress=told.append
    )
    (ingested,) = (one["handoff"] for one in done if one["stage"] == "ingestion")
    holes = [(one["source"], one["start"], one["end"]) for one in ingested["holes"]]
    weeks = [(BEFORE, WEEKS[0]), (WEEKS[0], WEEKS[1])]
    assert holes == [
        (source, start.isoformat(), end.isoformat())
        for source in ("orders", "products")
        for start, end in weeks
    ]
    stretch = Hole("orders", BEFORE, WEEKS[1])
    assert f"loaded first, as no run had: {stretch}" in told[0]
    assert sold(here, PAUSED) == sold(here, STEADY)
    stores = in_postgres()
    for week in WEEKS[:2]:
        assert week in {one.interval_end for one in stores.checks.summaries(shop.ref)}
    again = in_process.run(shop, WEEKS[2], "churn", wiring.connect_from_environment)
    assert again[0]["handoff"] == ingested


@pytest.fixture
def rewritten(here: Installation) -> Iterator[Callable[[Shop, str], None]]:
    """Gives the first source of a shop's file another head; the file is put back afterwards."""
    files = {shop: here.tenants / f"{shop.id}.yaml" for shop in (STEADY, PAUSED)}
    texts = {shop: file.read_text() for shop, file in files.items()}

    def rewrite(shop: Shop, head: str) -> None:
        files[shop].write_text(texts[shop].replace("- name: orders", f"- {head}"))

    yield rewrite
    for shop, file in files.items():
        file.write_text(texts[shop])


def test_a_source_that_is_gone_is_told_of_before_and_counts_no_more(
    here: Installation, rewritten: Callable[[Shop, str], None]
) -> None:
    """`tenants check` says what will happen and what to write if it was renamed; it is good."""
    before = sold(here, STEADY)
    rewritten(STEADY, "name: tills")
    home = {"TENANTRY_HOME": str(here.state.home)}
    done = ran("tenants", "check", "--json", **home)
    assert done.code == 0, done.errors
    ((name, (line,)),) = json.loads(done.output)["notices"].items()
    assert name == STEADY.id
    assert f"source 'orders', of which {len(before):,} rows are stored" in line
    assert "`formerly: [orders]`" in line
    assert line in " ".join(ran("tenants", "check", **home).output.split())
    load(here, STEADY, WEEKS[2])
    assert sold(here, STEADY) == before
    assert set(Lake(here.state.lake).sources(tenant(here, STEADY).ref, "events")) == {"tills"}
    assert json.loads(ran("tenants", "check", "--json", **home).output)["notices"] == {}


def test_a_declared_rename_reads_nothing_twice(
    here: Installation, rewritten: Callable[[Shop, str], None]
) -> None:
    """Slices, landed and accepted rows bear the new name, and nobody has to be told anything."""
    before = sold(here, PAUSED)
    slices = in_postgres().slices.recorded(tenant(here, PAUSED).ref)
    rewritten(PAUSED, "name: tills\n    formerly: [orders]")
    done = ran("tenants", "check", "--json", TENANTRY_HOME=str(here.state.home))
    assert PAUSED.id not in json.loads(done.output)["notices"]
    load(here, PAUSED, WEEKS[2])
    ref, lake = tenant(here, PAUSED).ref, Lake(here.state.lake)
    assert sold(here, PAUSED) == before
    assert set(lake.sources(ref, "events")) == set(lake.sources(ref, "landing_events")) == {"tills"}
    assert [(one.interval, one.rows) for one in in_postgres().slices.recorded(ref)] == [
        (one.interval, one.rows)
        for one in sorted(slices, key=lambda one: (one.source != "products", one.interval.start))
    ]
