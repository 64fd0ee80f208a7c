"""What is read of a tenant: its own rows, as they were pinned."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pytest

from include.errors import IsolationError
from include.features import inputs
from include.features.declarations import (
    USER,
    Aggregation,
    AttributeLookup,
    EventStream,
)
from include.features.engine import required_columns
from include.features.views import FeatureService, FeatureView
from include.handoffs import Interval, TableVersion
from include.storage.canonical import ATTRIBUTES, EVENTS, REPLACED
from include.storage.lake import Lake
from include.tenants.config import TenantConfig

DAY: Final = timedelta(days=1)
START: Final = datetime(2024, 1, 1, tzinfo=UTC)
COUNT: Final = (Aggregation("count", windows=(28 * DAY,)),)
STREAM: Final = EventStream(("Order Completed",))
OWN: Final = FeatureService("own", (FeatureView("mine", USER, STREAM, COUNT),))
GRADED: Final = FeatureService(
    "graded", (FeatureView("grades", USER, attributes=(AttributeLookup("user", "grade"),)),)
)


def tenant(name: str) -> TenantConfig:
    """A tenant's file."""
    mapping = {"event": "x", "event_id": ["id"], "event_timestamp": "at", "user_id": "user"}
    connector = {"type": "file", "path": "x.csv", "format": "csv"}
    return TenantConfig.model_validate(
        {
            "id": name,
            "name": name,
            "region": "eu",
            "schedule": "0 0 * * *",
            "history_from": "2024-01-01",
            "use_cases": {"churn": None},
            "sources": [{"name": "pos", "connector": connector, "events": mapping}],
        }
    )


BIRCH, ALDER = tenant("birch"), tenant("alder")


def sell(lake: Lake, one: TenantConfig, times: int) -> TableVersion:
    """So many sales on the first day."""
    rows: list[dict[str, Any]] = [
        {
            **{"tenant_id": one.id, "source": "pos", "event": "Order Completed"},
            **{"event_id": str(number), "item_id": "tea", "user_id": "u", "month": "2024-01"},
            **{"event_timestamp": START, "created_timestamp": START},
        }
        for number in range(times)
    ]
    batches = pa.Table.from_pylist(rows, schema=EVENTS).to_batches()
    return lake.replace_slice(one.ref, "events", "pos", Interval(START, START + DAY), batches)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """Sales of two."""
    found = Lake(tmp_path)
    sell(found, ALDER, 2)
    sell(found, BIRCH, 3)
    return found


@pytest.mark.parametrize("table", ["events", "attributes"])
def test_a_neighbours_table_is_not_read_for_ones_own(lake: Lake, table: str) -> None:
    """Whichever of the two handoffs is a neighbour's."""
    given = {name: lake.version(ALDER.ref, name) for name in ("events", "attributes")}
    given[table] = lake.version(BIRCH.ref, table)
    with pytest.raises(IsolationError, match=r"^tables of birch were pinned for alder$"):
        inputs.read_pinned(ALDER.ref, "UTC", OWN, **given, known_at=START + DAY, lake=lake)


def test_what_is_read_is_ones_own_as_it_was_pinned(lake: Lake) -> None:
    """Rows of that version, known by then, and the columns that were asked for besides."""
    pinned = lake.version(ALDER.ref, "events")
    sell(lake, ALDER, 5)
    attributes = lake.version(ALDER.ref, "attributes")
    made = inputs.read_pinned(
        *(ALDER.ref, "Europe/Vienna", OWN),
        events=pinned,
        attributes=attributes,
        known_at=START + DAY,
        lake=lake,
        also=("amount", "user_id"),
    )
    assert (made.tenant, made.timezone, made.known_at) == (
        *(ALDER.ref, "Europe/Vienna"),
        START + DAY,
    )
    assert made.versions == (pinned, attributes)
    assert made.events.num_rows == 2
    columns = [*required_columns(OWN).events, "amount", REPLACED]
    assert sorted(made.events.column_names) == sorted(columns)
    assert made.attributes.num_rows == 0
    before = inputs.read_pinned(
        *(ALDER.ref, "UTC", OWN),
        events=pinned,
        attributes=attributes,
        known_at=START - DAY,
        lake=lake,
    )
    assert before.events.num_rows == 0


def test_attributes_are_ones_own_as_they_were_pinned(lake: Lake) -> None:
    """Of that version, known by then, in the columns that views read; none where none does."""
    first = _grade(lake, ALDER, "gold", START)
    _grade(lake, BIRCH, "silver", START)
    _grade(lake, ALDER, "bronze", START + DAY)

    def read(service: FeatureService, known_at: datetime) -> pa.Table:
        return inputs.read_pinned(
            *(ALDER.ref, "UTC", service),
            events=lake.version(ALDER.ref, "events"),
            attributes=first,
            known_at=known_at,
            lake=lake,
        ).attributes

    assert read(GRADED, START + 9 * DAY)["value"].to_pylist() == ["gold"]
    assert tuple(read(GRADED, START).column_names) == required_columns(GRADED).attributes
    assert read(GRADED, START - DAY).num_rows == 0
    assert read(OWN, START + 9 * DAY).num_rows == 0


def _grade(lake: Lake, one: TenantConfig, value: str, at: datetime) -> TableVersion:
    """A user is graded on a day."""
    row = {
        **{"tenant_id": one.id, "source": "crm", "event_id": value, "entity": "user"},
        **{"entity_id": "u", "name": "grade", "value": value, "month": "2024-01"},
        **{"valid_from": at, "created_timestamp": at},
    }
    batches = pa.Table.from_pylist([row], schema=ATTRIBUTES).to_batches()
    return lake.replace_slice(one.ref, "attributes", "crm", Interval(at, at + DAY), batches)
