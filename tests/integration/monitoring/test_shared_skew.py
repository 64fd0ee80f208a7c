"""Skew replay of shared views: neighbours that load later are nobody's skew."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from include.features import inputs, stage
from include.features.declarations import ITEM, Aggregation, EventStream
from include.features.views import FeatureService, FeatureView
from include.handoffs import Interval, Scored
from include.monitoring import skew
from include.storage.canonical import EVENTS, TIMESTAMP
from tests.integration.monitoring.conftest import Watched

pytestmark = pytest.mark.integration

START = datetime(2024, 1, 1, tzinfo=UTC)
WEEK = timedelta(days=7)
COUNT = Aggregation("count", None, (WEEK,))
ORDERS = EventStream(("Order Completed",))
SERVICE = FeatureService(
    "churn",
    (
        FeatureView("own", ITEM, ORDERS, (COUNT,)),
        FeatureView("crowd", ITEM, ORDERS, (COUNT,), scope="shared", minimum_tenants=2),
    ),
)
ITEMS = [f"i{number}" for number in range(20)]


def deliver(one: Watched, lines: int) -> None:
    """So many lines of each item, all that a tenant has of the first week."""
    rows = [
        {
            **{"tenant_id": one.config.id, "source": "pos", "event": "Order Completed"},
            **{"event_id": f"{item}-{number}", "item_id": item, "month": "2024-01"},
            **{"event_timestamp": START, "created_timestamp": START},
        }
        for item in ITEMS
        for number in range(lines)
    ]
    batches = pa.Table.from_pylist(rows, schema=EVENTS).to_batches()
    interval = Interval(START, START + WEEK)
    one.lake.replace_slice(one.config.ref, "events", "pos", interval, batches)


def pool(fleet: list[Watched]) -> str:
    """The newest tables of them all."""
    return inputs.record_pool([one.config for one in fleet], SERVICE, fleet[0].lake)


def scored(one: Watched, pinned: str) -> Scored:
    """What features and scoring leave behind after the first week."""
    as_of, ref, lake = START + WEEK, one.config.ref, one.lake
    events, attributes = lake.version(ref, "events"), lake.version(ref, "attributes")
    read = inputs.read(
        one.config,
        SERVICE,
        events=events,
        attributes=attributes,
        known_at=as_of,
        lake=lake,
        pool=pinned,
    )
    spine = pa.table({"item_id": ITEMS, "as_of": pa.array([as_of] * len(ITEMS), TIMESTAMP)})
    stored = stage.build("churn", SERVICE, spine, read, as_of=as_of, lake=lake)
    return Scored(
        *(one.config.id, "churn", as_of, "1", SERVICE.fingerprint),
        *(stored, events, attributes, len(ITEMS)),
        pool=pinned,
    )


def causes(one: Watched, log: Scored, now: str) -> dict[str, str]:
    """Feature → cause of everything a replay records."""
    given: dict[str, Any] = {"seed": 5, "lake": one.lake, "findings": one.stores.skew}
    skew.replay(one.config, SERVICE, log, (), pool=now, **given)
    found = one.stores.skew.all_of(one.config.ref, "churn")
    return {finding.mismatch.feature: finding.cause for finding in found}


@pytest.fixture
def fleet(new_tenant: Any) -> list[Watched]:
    """Two tenants of one lake with a line of each item in the first week."""
    found: list[Watched] = [new_tenant(pooling={"consent": True}) for _ in range(2)]
    for member in found:
        deliver(member, 1)
    return found


def test_what_a_neighbour_loads_later_is_no_skew(fleet: list[Watched]) -> None:
    """The tenant's own past, rewritten, still is, in its own views."""
    one, two = fleet
    log = scored(one, pool(fleet))
    deliver(two, 3)
    assert causes(one, log, pool(fleet)) == {}
    deliver(one, 2)
    assert causes(one, log, pool(fleet)) == {"own__count_7d": "past"}


def test_a_shared_feature_the_engine_gives_otherwise_is_skew(fleet: list[Watched]) -> None:
    """Whatever the neighbours have loaded since: the pinned pool tells the two apart."""
    one, two = fleet
    log = scored(one, pool(fleet))
    table = one.lake.get_table(one.config.ref, log.features)
    at = table.column_names.index("crowd__count_7d")
    wrong = table.set_column(at, "crowd__count_7d", pc.add(table["crowd__count_7d"], 7))
    log = replace(log, features=one.lake.put_table(one.config.ref, log.features.path, wrong))
    deliver(two, 3)
    assert causes(one, log, pool(fleet)) == {"crowd__count_7d": "engine"}
