"""A sale that is corrected, from the source to whatever reads accepted events."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from include.features import inputs
from include.features.declarations import Aggregation
from include.features.services import CHURN_FEATURES
from include.features.spine import Spine
from include.handoffs import Checked
from include.pipeline import translate
from include.quality import arrivals, landing
from include.quality.inspection import check
from include.storage.canonical import TIMESTAMP
from include.stores import Stores
from include.stores.memory import in_memory
from include.use_cases import get
from include.use_cases.spines import event_columns, labels, scoring_spine
from tests.shops import HISTORY_START, WEEK, Shop, Shops, grant, week

CHURN, DEMAND = get("churn"), get("demand")
DAY = timedelta(days=1)
#: Weeks 0 to 5. Order b is Bob's from the third week on; order c becomes cheaper, and dearer again.
LOG = """id,at,user,item,quantity,amount,changed
a,2024-01-02,ann,tea,1,10,2024-01-02
b,2024-01-03,ann,tea,2,20,2024-01-03
c,2024-01-09,bob,ale,1,30,2024-01-09
b,2024-01-03,bob,ale,2,20,2024-01-16
c,2024-01-09,bob,ale,1,5,2024-01-17
c,2024-01-09,bob,ale,1,30,2024-01-31
"""
AMOUNTS = {0: {"ann": 30.0}, 1: {"ann": 30.0, "bob": 30.0}, 2: {"ann": 10.0, "bob": 25.0}}
AMOUNTS |= {3: AMOUNTS[2], 4: {"ann": 10.0, "bob": 50.0}, 5: {"ann": 10.0, "bob": 50.0}}


def no_database(connection_id: str) -> AbstractContextManager[psycopg.Connection[Any]]:
    """These shops have files only."""
    raise AssertionError(connection_id)


@pytest.fixture
def stores() -> Stores:
    """Stores in memory."""
    return in_memory()


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stores: Stores) -> Shop:
    """A shop that applies the corrections of a change log."""
    grant(monkeypatch, roots=[str(tmp_path)])
    mapping = {"item_id": "item", "arrival": {"column": "changed"}}
    made = Shops(tmp_path, stores.slices, no_database).text(LOG, **mapping)
    applied = made.config.sources[0].model_copy(update={"corrections": "apply"})
    made.config = made.config.model_copy(update={"sources": (applied,)})
    return made


def run(shop: Shop, stores: Stores, number: int) -> Checked:
    """Ingestion and quality of a week."""
    return check(
        shop.config,
        shop.ingest(number),
        (),
        delivered=translate.delivered(stores.slices.recorded(shop.config.ref)),
        lake=shop.lake,
        checks=stores.checks,
        incidents=stores.incidents,
    )


def read(shop: Shop, done: Checked, at: datetime) -> inputs.Inputs:
    """What spines, labels and features of churn read as of an instant."""
    return inputs.read(
        shop.config,
        CHURN_FEATURES,
        events=done.events,
        attributes=done.attributes,
        known_at=at,
        lake=shop.lake,
        also=event_columns(CHURN),
    )


def test_every_version_is_accepted_and_an_instant_sees_one(shop: Shop, stores: Stores) -> None:
    """Features of the past are what they were, and each week's are those of its own knowledge."""
    spend = next(view for view in CHURN_FEATURES.views if view.name == "spend")
    column = spend.column(Aggregation("sum", "amount", (90 * DAY,)).feature(90 * DAY))
    done = [run(shop, stores, number) for number in range(6)]
    assert [one.rows for one in done] == [2, 2 + 1, 2, 0, 1, 0]  # with the week before, once
    assert {one.quarantined for one in done} == {0}
    everything = read(shop, done[-1], HISTORY_START + 6 * WEEK)
    for number, amounts in AMOUNTS.items():
        at = HISTORY_START + (number + 1) * WEEK
        asked = Spine.at({"user_id": sorted(amounts)}, at)
        for rows in (read(shop, done[number], at), read(shop, done[-1], at), everything):
            found = rows.compute(CHURN_FEATURES, asked)[column].to_pylist()
            assert found == [amounts[name] for name in sorted(amounts)]


def test_spines_and_labels_see_what_was_known(shop: Shop, stores: Stores) -> None:
    """Who is active, and what became of whom, follows the correction from its arrival on."""
    done = [run(shop, stores, number) for number in range(6)][-1]
    rows = read(shop, done, HISTORY_START + 6 * WEEK)
    first = HISTORY_START + WEEK
    assert scoring_spine(CHURN, rows.events, first)["user_id"].to_pylist() == ["ann"]
    spine = pa.table(
        {
            "item_id": pa.array(["tea", "ale"]),
            "as_of": pa.array([HISTORY_START] * 2, TIMESTAMP),
        }
    )
    for weeks, sold in ((1, [3.0, 0.0]), (2, [3.0, 0.0]), (3, [1.0, 2.0])):
        known_until = HISTORY_START + weeks * WEEK
        assert labels(DEMAND, rows.events, spine, known_until).to_pylist() == sold


def test_volume_counts_a_sale_once(shop: Shop, stores: Stores) -> None:
    """A correction is no second row of its day, so that no outage is covered and none is made."""
    for number in range(6):
        run(shop, stores, number)
    delivered = translate.delivered(stores.slices.recorded(shop.config.ref))["pos"]
    with landing.open_landing(shop.config, shop.lake) as landed:
        series = arrivals.series_of(shop.config, "pos", week(5), delivered, landed)
    assert series.rows.sum() == 3


def test_a_rerun_of_any_week_changes_nothing(shop: Shop, stores: Stores) -> None:
    """Neither the landing table nor what was accepted gets a new version."""
    done = [run(shop, stores, number) for number in range(6)]
    again = [run(shop, stores, number) for number in (3, 0, 4, 1)]
    assert {(one.events, one.attributes) for one in again} == {
        (done[-1].events, done[-1].attributes)
    }
