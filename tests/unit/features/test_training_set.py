"""Training sets: types survive, and the recipe gives the same bytes again or says why not."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from include.errors import ConfigError
from include.features import inputs
from include.features.declarations import (
    USER,
    Aggregation,
    AttributeLookup,
    EventStream,
)
from include.features.inputs import Inputs
from include.features.reach import retention_problems
from include.features.training_set import TrainingSet, build, digest
from include.features.views import FeatureService, FeatureView
from include.handoffs import Interval, pack, unpack
from include.storage.canonical import ATTRIBUTES, EVENTS, TIMESTAMP
from include.storage.lake import Lake
from include.tenants.config import TenantConfig

NOW = datetime(2024, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ORDERS = EventStream(("Order Completed",), lookups=(AttributeLookup("item", "category"),))
SPEND = FeatureView(
    "spend",
    USER,
    ORDERS,
    (
        Aggregation("count", None, (30 * DAY,)),
        Aggregation("sum", "amount", (30 * DAY,)),
        Aggregation("mean", "amount", (30 * DAY,)),
        Aggregation("last", "item_id"),
    ),
    attributes=(AttributeLookup("user", "plan"),),
)
PLAIN = FeatureService("plain", (SPEND,))


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(tmp_path)


def tenant(**more: Any) -> TenantConfig:
    """A tenant's file."""
    mapping = {"event": "x", "event_id": ["id"], "event_timestamp": "at", "user_id": "user"}
    connector = {"type": "file", "path": "x.csv", "format": "csv"}
    return TenantConfig.model_validate(
        {
            "id": "acme",
            "name": "acme",
            "region": "eu",
            "schedule": "0 4 * * 1",
            "history_from": "2024-01-01",
            "sources": [{"name": "pos", "connector": connector, "events": mapping}],
            "use_cases": {"churn": {}},
            **more,
        }
    )


def fill(lake: Lake, one: TenantConfig, *, until: datetime = NOW, amount: float = 2.0) -> None:
    """Two users' daily orders; `b` buys nothing that has a category and has no plan."""
    ref, whole = one.ref, Interval(datetime(2024, 1, 1, tzinfo=UTC), NOW + 60 * DAY)
    rows, at = [], datetime(2024, 2, 1, tzinfo=UTC)
    while at < until:
        for user, item in (("a", "tea"), ("b", "pen")):
            rows.append(
                {
                    **{"tenant_id": ref.id, "source": "pos", "event_id": f"{user}{at}"},
                    **{"event": "Order Completed", "user_id": user, "item_id": item},
                    **{"amount": amount, "event_timestamp": at, "created_timestamp": at},
                    "month": f"{at:%Y-%m}",
                }
            )
        at += DAY
    events = pa.Table.from_pylist(rows, schema=EVENTS)
    lake.replace_slice(ref, "events", "pos", whole, events.to_batches())
    first = datetime(2024, 1, 2, tzinfo=UTC)
    facts = [
        {
            **{"tenant_id": ref.id, "source": "pos", "event_id": name, "entity": kind},
            **{"entity_id": entity, "name": name, "value": value, "valid_from": first},
            **{"created_timestamp": first, "month": "2024-01"},
        }
        for kind, entity, name, value in (
            ("item", "tea", "category", "food"),
            ("user", "a", "plan", "gold"),
        )
    ]
    table = pa.Table.from_pylist(facts, schema=ATTRIBUTES)
    lake.replace_slice(ref, "attributes", "pos", whole, table.to_batches())


def spine(*users: str) -> pa.Table:
    """Users as of now."""
    instants = pa.array([NOW] * len(users), TIMESTAMP)
    return pa.table({"user_id": pa.array(users, pa.string()), "as_of": instants})


def read(lake: Lake, one: TenantConfig, service: FeatureService) -> Inputs:
    """The newest versions, as known now."""
    return inputs.read(
        one,
        service,
        events=lake.version(one.ref, "events"),
        attributes=lake.version(one.ref, "attributes"),
        known_at=NOW,
        lake=lake,
    )


def made(lake: Lake, one: TenantConfig, service: FeatureService = PLAIN) -> TrainingSet:
    """Of three users, one of whom nobody knows."""
    return build(service, spine("a", "b", "stranger"), read(lake, one, service))


def test_types_survive(lake: Lake) -> None:
    """Counts stay integers, an absent mean is null and an absent sum is zero, a text that is not
    known is the category `unknown`; service and recipe travel with the table."""
    fill(lake, tenant())
    found = made(lake, tenant())
    table = found.to_arrow()
    assert table["spend__count_30d"].type == pa.int64()
    assert not table.schema.field("spend__count_30d").nullable
    assert table["spend__count_30d"].to_pylist() == [29, 29, 0]
    assert table["spend__sum_amount_30d"].to_pylist() == [58.0, 58.0, 0.0]
    assert table["spend__mean_amount_30d"].to_pylist() == [2.0, 2.0, None]
    assert table["spend__plan"].to_pylist() == ["gold", "unknown", "unknown"]
    assert table["spend__plan"].combine_chunks().dictionary.to_pylist() == ["gold", "unknown"]
    assert table["spend__plan"].null_count == 0
    metadata = table.schema.metadata
    assert metadata[b"feature_fingerprint"].decode() == PLAIN.fingerprint
    assert unpack(json.loads(metadata[b"recipe"])) == found.recipe


def test_a_frame_has_the_same_types(lake: Lake) -> None:
    """pandas gets int64, floats, categories and the fingerprint."""
    fill(lake, tenant())
    frame = made(lake, tenant()).to_pandas()
    assert frame["spend__count_30d"].dtype == "int64"
    assert frame["spend__mean_amount_30d"].isna().tolist() == [False, False, True]
    assert isinstance(frame["spend__last_item_id_all"].dtype, pd.CategoricalDtype)
    assert frame["spend__last_item_id_all"].tolist() == ["tea", "pen", "unknown"]
    assert "unknown" in frame["spend__last_item_id_all"].cat.categories
    assert frame["user_id"].tolist() == ["a", "b", "stranger"]
    assert frame.attrs["feature_fingerprint"] == PLAIN.fingerprint


def test_a_recipe_gives_the_same_bytes_after_the_tables_have_changed(lake: Lake) -> None:
    """Later events, and a past that was delivered anew, are in later versions."""
    one = tenant()
    fill(lake, one)
    before = made(lake, one)
    fill(lake, one, until=NOW + 20 * DAY, amount=3.0)
    assert made(lake, one).digest != before.digest
    kept = unpack(json.loads(json.dumps(pack(before.recipe))))
    pinned = inputs.read_pinned(
        one.ref,
        kept.timezone,
        PLAIN,
        events=kept.events,
        attributes=kept.attributes,
        known_at=kept.known_at,
        lake=lake,
    )
    again = build(PLAIN, spine("a", "b", "stranger"), pinned)
    assert again == before
    assert again.table.equals(before.table, check_metadata=True)


def test_a_window_longer_than_the_tenant_keeps_its_events_is_refused(lake: Lake) -> None:
    """The message names view, window, tenant, what is kept and what to do."""
    one = tenant(retention={"events": "P14D"})
    fill(lake, one)
    told = r"tenant acme: view 'spend' .* looks back 30d, .*retention\.events.* 14d; .*shorten"
    with pytest.raises(ConfigError, match=told):
        read(lake, one, PLAIN)
    assert retention_problems(tenant(retention={"events": "P30D"}), PLAIN) == []


def test_equal_tables_have_one_digest_however_they_are_laid_out() -> None:
    """Chunks, offsets and what lies under a null make no difference; a null, a type and a name
    do."""
    table = pa.table({"x": [1, None, 3], "y": ["a", None, ""]})
    padded = pa.concat_tables([pa.table({"x": [9], "y": ["z"]}), table]).slice(1)
    hidden = pa.table(
        {"x": pa.array([1, 2, 3], mask=[False, True, False]), "y": table["y"]}  # type: ignore[arg-type]
    )
    assert digest(padded) == digest(hidden) == digest(table)
    others = [
        pa.table({"x": [1, 0, 3], "y": ["a", None, ""]}),
        pa.table({"x": [1, None, 3], "y": ["a", "", ""]}),
        pa.table({"x": [1.0, None, 3.0], "y": ["a", None, ""]}),
        pa.table({"z": [1, None, 3], "y": ["a", None, ""]}),
        pa.table({"x": [1, None, 3], "y": ["", None, "a"]}),
    ]
    assert len({digest(one) for one in [table, *others]}) == 6
