"""Who is pooled with whom, and what is kept of it."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pytest

from include.errors import ConfigError, IntegrityError, IsolationError
from include.features import inputs
from include.features.declarations import (
    ITEM,
    USER,
    Aggregation,
    AttributeLookup,
    EventStream,
)
from include.features.engine import required_columns
from include.features.views import FeatureService, FeatureView
from include.handoffs import Interval, TableVersion
from include.storage.canonical import ATTRIBUTES, EVENTS
from include.storage.lake import Lake
from include.tenants.config import TenantConfig
from include.tenants.namespace import global_owner

DAY: Final = timedelta(days=1)
START: Final = datetime(2024, 1, 1, tzinfo=UTC)
COUNT: Final = (Aggregation("count", windows=(28 * DAY,)),)
STREAM: Final = EventStream(("Order Completed",))
SHARED: Final = FeatureService("asked", (FeatureView("all", ITEM, STREAM, COUNT, scope="shared"),))
OWN: Final = FeatureService("own", (FeatureView("mine", USER, STREAM, COUNT),))
GRADED: Final = FeatureService(
    "graded", (FeatureView("grades", USER, attributes=(AttributeLookup("user", "grade"),)),)
)


def tenant(name: str, *, region: str = "eu", consent: bool = True) -> TenantConfig:
    """A tenant's file."""
    mapping = {"event": "x", "event_id": ["id"], "event_timestamp": "at", "user_id": "user"}
    connector = {"type": "file", "path": "x.csv", "format": "csv"}
    return TenantConfig.model_validate(
        {
            "id": name,
            "name": name,
            "region": region,
            "schedule": "0 0 * * *",
            "history_from": "2024-01-01",
            "pooling": {"consent": consent},
            "use_cases": {"churn": None},
            "sources": [{"name": "pos", "connector": connector, "events": mapping}],
        }
    )


BIRCH, ALDER = tenant("birch"), tenant("alder")
REFUSES, ELSEWHERE = tenant("cedar", consent=False), tenant("larch", region="us")


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
    """Sales of two that consent."""
    found = Lake(tmp_path)
    sell(found, ALDER, 2)
    sell(found, BIRCH, 3)
    return found


def test_members_are_who_consented_in_the_region_by_id() -> None:
    """Whoever asks: also one that refuses sees what the others give, and is none of them."""
    fleet = [BIRCH, REFUSES, ELSEWHERE, ALDER]
    for one in (ALDER, BIRCH, REFUSES):
        assert inputs.pool_members(one, fleet) == [ALDER, BIRCH]
    assert inputs.pool_members(ELSEWHERE, fleet) == [ELSEWHERE]


def test_a_list_says_whose_tables_in_which_version(lake: Lake) -> None:
    """And lies in the platform's folder of the region, under its own digest."""
    pool = inputs.record_pool([ALDER, BIRCH], SHARED, lake)
    home = lake.file_path(global_owner("eu"), f"pools/{pool}.json")
    content = home.read_bytes()
    assert hashlib.sha256(content).hexdigest() == pool
    assert json.loads(content) == [
        {"tenant": "alder", "region": "eu", "version": 1, "rows": 2},
        {"tenant": "birch", "region": "eu", "version": 1, "rows": 3},
    ]
    assert inputs.pool_tenants(pool, "eu", lake) == ["alder", "birch"]
    assert inputs.pool_tables(pool, "eu", lake) == [(ALDER.ref, 1), (BIRCH.ref, 1)]
    for one in (ALDER, BIRCH):
        assert not lake.file_path(one.ref, "pools").exists()


def test_nothing_is_pooled_for_a_service_of_ones_own(lake: Lake) -> None:
    """No list is made, whoever the members are said to be."""
    assert inputs.record_pool([ALDER, REFUSES], OWN, lake) == ""
    assert not lake.file_path(global_owner("eu"), "pools").exists()


def test_a_list_of_nobody_is_kept_nowhere(lake: Lake) -> None:
    """And is read as nobody's tables."""
    pool = inputs.record_pool([], SHARED, lake)
    assert pool
    assert inputs.pool_tables(pool, "eu", lake) == []
    assert inputs.pool_tables("", "eu", lake) == []


@pytest.mark.parametrize("settle", [False, True])
def test_who_did_not_consent_is_refused_before_anything_is_read(lake: Lake, settle: bool) -> None:
    """The error says who; no list is written."""
    with pytest.raises(IsolationError, match=r"^cedar did not consent to pooling$"):
        inputs.settled_members([ALDER, REFUSES], lake) if settle else inputs.record_pool(
            [ALDER, REFUSES], SHARED, lake
        )
    assert not lake.file_path(global_owner("eu"), "pools").exists()
    assert not lake.file_path(global_owner("eu"), "members").exists()


def test_members_of_two_regions_are_refused(lake: Lake) -> None:
    """Rows never leave their region."""
    with pytest.raises(IsolationError, match="one region only"):
        inputs.record_pool([ALDER, ELSEWHERE], SHARED, lake)


def test_a_list_that_was_changed_is_not_read(lake: Lake) -> None:
    """Its name is its digest."""
    pool = inputs.record_pool([ALDER, BIRCH], SHARED, lake)
    lake.put(global_owner("eu"), f"pools/{pool}.json", b"[]")
    with pytest.raises(IntegrityError, match="not what was recorded"):
        inputs.pool_tables(pool, "eu", lake)


@pytest.mark.parametrize("error", [FileNotFoundError("alder"), ValueError("alder"), OSError()])
def test_whatever_a_neighbours_table_raises_names_nobody(error: Exception) -> None:
    """Neither in the message nor in what is shown beside it."""
    told = pytest.raises(IntegrityError, match="pinned for shared views")
    with told as found, inputs.without_names():
        raise error
    assert "alder" not in str(found.value)
    assert found.value.__suppress_context__


def test_a_mistake_of_ones_own_is_told_as_it_is() -> None:
    """It is no table of a neighbour's."""
    with pytest.raises(ConfigError, match="mine"), inputs.without_names():
        raise ConfigError("mine")


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
    assert sorted(made.events.column_names) == sorted([*required_columns(OWN).events, "amount"])
    assert made.attributes.num_rows == 0
    assert (made.pool, made.shared) == ("", None)
    before = inputs.read_pinned(
        *(ALDER.ref, "UTC", OWN),
        events=pinned,
        attributes=attributes,
        known_at=START - DAY,
        lake=lake,
    )
    assert before.events.num_rows == 0


def test_shared_views_see_the_pool_that_was_pinned(lake: Lake) -> None:
    """All members' rows as of then, whoever asks."""
    pool = inputs.record_pool([ALDER, BIRCH], SHARED, lake)
    sell(lake, BIRCH, 9)
    made = inputs.read_pinned(
        *(REFUSES.ref, "UTC", SHARED),
        events=lake.version(REFUSES.ref, "events"),
        attributes=lake.version(REFUSES.ref, "attributes"),
        known_at=START + DAY,
        lake=lake,
        pool=pool,
    )
    assert made.pool == pool
    assert made.shared is not None
    assert sorted(made.shared["tenant_id"].to_pylist()) == ["alder"] * 2 + ["birch"] * 3
    assert tuple(made.shared.column_names) == required_columns(SHARED).shared
    before = inputs.read_pinned(
        *(REFUSES.ref, "UTC", SHARED),
        events=lake.version(REFUSES.ref, "events"),
        attributes=lake.version(REFUSES.ref, "attributes"),
        known_at=START - DAY,
        lake=lake,
        pool=pool,
    )
    assert before.shared is not None
    assert before.shared.num_rows == 0


def test_whoever_shares_no_view_is_shown_no_pool(lake: Lake) -> None:
    """Also where one was pinned."""
    made = inputs.read_pinned(
        *(ALDER.ref, "UTC", OWN),
        events=lake.version(ALDER.ref, "events"),
        attributes=lake.version(ALDER.ref, "attributes"),
        known_at=START + DAY,
        lake=lake,
        pool=inputs.record_pool([ALDER, BIRCH], SHARED, lake),
    )
    assert made.shared is None


def test_a_pool_may_have_one_member(lake: Lake) -> None:
    """Whether that is enough to be told of anything is the view's to say."""
    pool = inputs.record_pool([ALDER], SHARED, lake)
    assert inputs.pool_tenants(pool, "eu", lake) == ["alder"]


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
