"""What the port to the online store promises, on its twin in memory and on the real Postgres.

It answers what offline engines answer, by whatever way rows came, and when.
"""

from __future__ import annotations

import dataclasses
import random
import string
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from include.errors import ConfigError, IsolationError, QualityError
from include.features import in_memory
from include.features.declarations import ALL_HISTORY, Aggregation
from include.features.online.limits import MOST_BYTES
from include.features.online.store import OnlineStore
from include.features.spine import Spine
from include.features.views import FeatureService
from include.stores.memory.online import InMemoryOnlineStore
from include.stores.postgres.online import PostgresOnlineStore
from include.tenants.namespace import TenantRef
from tests.online_shop import DAY, SHOP, SPEND, OwnerStore, facts, forget, hour, lines

pytestmark = pytest.mark.integration

ACME = TenantRef("acme", "eu", "pool")
OTHER = TenantRef("other", "eu", "pool")
ANN = {"user_id": ["ann"]}


@pytest.fixture(params=["memory", "postgres"])
def online(request: pytest.FixtureRequest) -> Iterator[OnlineStore]:
    """Each of the two in turn, empty."""
    if request.param == "memory":
        yield InMemoryOnlineStore()
        return
    request.getfixturevalue("database")
    forget(ACME, OTHER)
    yield PostgresOnlineStore()
    forget(ACME, OTHER)


@pytest.fixture
def store(online: OnlineStore) -> OwnerStore:
    """Acme's part of it."""
    return OwnerStore(online, ACME)


def value(store: OwnerStore, feature: str, at: float, user: str = "ann") -> Any:
    """One feature of one user, some hours after the start."""
    found = store.read({"user_id": [user]}, hour(at))
    assert not found.stale
    return found.table[f"spend__{feature}"].to_pylist()[0]


def test_what_happened_a_second_ago_counts(store: OwnerStore) -> None:
    """A streamed event is in the very next answer, not in the one of a moment before it."""
    store.materialize(hour(0))
    second = 1 / 3600
    store.append(lines("a ann tea 5 10"))
    assert value(store, "count_1d", 10 + second) == 1
    assert value(store, "count_1d", 10) == 0
    assert value(store, "sum_amount_all", 10 + second) == 5.0


def test_streamed_and_delivered_is_counted_once(store: OwnerStore) -> None:
    """An event that streamed in counts once before, while and after the lake delivers it."""
    store.materialize(hour(0))
    line = lines("a ann tea 5 10")
    assert store.append(line) == 1
    assert store.append(line) == 0
    store.materialize(hour(12))
    assert value(store, "count_all", 12) == 1
    late = line.set_column(12, "created_timestamp", lines("a ann tea 5 10 20")["created_timestamp"])
    store.materialize(hour(24), late)
    assert value(store, "count_all", 24) == 1


def test_the_lake_may_be_first(store: OwnerStore) -> None:
    """An event whose batch is closed is not taken from the stream any more."""
    store.materialize(hour(12), lines("a ann tea 5 10"))
    assert store.append(lines("a ann tea 5 10", "b ann tea 5 11", "c ann tea 5 13")) == 1
    assert value(store, "count_all", 14) == 2


def test_a_streamed_copy_that_lags_behind_the_lake_is_none(store: OwnerStore) -> None:
    """An event in a batch does not count again where the stream brings it after the watermark."""
    store.materialize(hour(12), lines("a ann tea 5 10", "b ann tea 5 11"))
    copies = lines("a ann tea 5 10 13", "b ann tea 5 11 13", "c ann tea 5 11 13")
    assert store.append(copies) == 1
    assert value(store, "count_all", 14) == 3
    store.materialize(hour(36))
    assert store.append(lines("a ann tea 5 10 37")) == 0
    assert value(store, "count_all", 37) == 3


def test_a_copy_is_known_after_everything_was_built_again(store: OwnerStore) -> None:
    """A rebuild remembers what it delivers, and forgets what is delivered no more."""
    store.materialize(hour(12), lines("a ann tea 5 10", "b ann tea 5 11"))
    store.materialize(hour(13), lines("a ann tea 5 10"), rebuild=True)
    assert store.append(lines("a ann tea 5 10 14", "b ann tea 5 11 14")) == 1
    assert value(store, "count_all", 15) == 2


def test_what_happened_long_ago_counts_from_when_it_is_known(store: OwnerStore) -> None:
    """At once where it streams in, and no second time when the lake has delivered it, too."""
    store.materialize(hour(240), lines("a ann tea 5 10"))
    late = lines("b ann tea 5 11 241", "c ann tea 5 72.1 241")
    assert store.append(late) == 2
    assert store.append(lines("a ann tea 5 10")) == 0
    assert value(store, "count_all", 240.5) == 1
    assert value(store, "count_all", 242) == 3
    store.materialize(hour(260), late)
    assert store.append(late) == 0
    assert value(store, "count_all", 260) == 3


def test_a_copy_of_what_the_lake_delivered_late_is_none(store: OwnerStore) -> None:
    """Nine days after it happened it was delivered, and an hour later the stream brings it, too."""
    late = lines("a ann tea 5 10 239")
    store.materialize(hour(240), late)
    assert value(store, "count_all", 240) == 1
    assert store.append(lines("a ann tea 5 10 240.5")) == 0
    assert value(store, "count_all", 241) == 1
    store.materialize(hour(240 + 6 * 24))
    assert store.append(lines("a ann tea 5 10 385")) == 0
    assert value(store, "count_all", 386) == 1


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (
            "a\0b ann tea 5 13",
            r"event 'a\\x00b' of source 'pos' has the character NUL in 'event_id'",
        ),
        ("a an\0n tea 5 13", "NUL in 'user_id', which Postgres cannot keep; take it out"),
        (f"a ann {'t' * 3_000} 5 13", "has ids of 3,007 bytes together .*hold 2,400; shorten"),
        (f"{'a' * 3_000} ann tea 5 13", "event 'aaa.*…' of source 'pos' has ids of 3,009 bytes"),
    ],
)
def test_a_row_that_postgres_cannot_keep_is_named(
    store: OwnerStore, line: str, complaint: str
) -> None:
    """NUL and ids beyond an index row are refused with the row, the column and the remedy."""
    store.materialize(hour(12))
    with pytest.raises(QualityError, match=complaint):
        store.append(lines("z bob tea 5 13", line))
    assert value(store, "count_all", 14, "bob") == 0


def test_ids_of_almost_any_length_are_kept(store: OwnerStore) -> None:
    """The longest ids that are let through fit the indexes, even if nothing compresses them."""
    rng = random.Random(1)
    left = MOST_BYTES - len("acmepostea") - 1_200
    user, event = (
        "".join(rng.choice(string.ascii_letters + string.digits) for _ in range(length))
        for length in (1_200, left)
    )
    store.materialize(hour(12))
    assert store.append(lines(f"{event} {user} tea 5 13")) == 1
    assert value(store, "count_all", 14, user) == 1
    store.materialize(hour(15), lines(f"{event} {user} tea 5 13"))
    assert value(store, "count_all", 16, user) == 1


def test_a_delivered_entity_or_fact_that_cannot_be_kept_is_named(store: OwnerStore) -> None:
    """A materialization says which row of the lake is in its way, and changes nothing."""
    with pytest.raises(QualityError, match=r"event 'a' of source 'pos' has ids of 3,00\d bytes"):
        store.materialize(hour(12), lines(f"a {'u' * 3_000} tea 5 10"))
    with pytest.raises(QualityError, match=r"fact .* of source 'erp' has the character NUL in"):
        store.materialize(hour(12), attributes=facts("user ann segment go\0ld 9"))
    with pytest.raises(QualityError, match=r"fact .* has ids of .* bytes together"):
        store.materialize(hour(12), attributes=facts(f"user {'u' * 3_000} segment gold 9"))
    assert store.freshness() == []


def test_nul_in_a_delivered_event_harms_nobody(store: OwnerStore) -> None:
    """Where an event's texts go into a batch alone they may be any, and are read by them."""
    store.materialize(hour(12), lines("a\0 an\0n te\0a 5 10"), facts("user ann segment gold 9"))
    assert value(store, "last_item_id_all", 13, "an\0n") == "te\0a"
    assert value(store, "segment", 13, "an\0n") is None
    assert value(store, "count_all", 13) == 0


def test_a_late_event_lands_in_the_past(store: OwnerStore) -> None:
    """An old event that becomes known after a materialization counts where it happened."""
    store.materialize(hour(240), lines("a ann tea 5 230"))
    store.append(lines("b ann ale 7 200 241"))
    assert value(store, "sum_amount_7d", 242) == 12.0
    assert value(store, "last_item_id_all", 242) == "tea"
    store.materialize(hour(260))
    assert value(store, "sum_amount_7d", 260) == 12.0
    store.materialize(hour(369))
    assert value(store, "sum_amount_7d", 369) == 5.0


def test_ties_are_ordered_by_event_id_across_batches(store: OwnerStore) -> None:
    """Of two events of one instant the later id is the last, though it came with the first."""
    store.materialize(hour(12), lines("z ann tea 5 10"))
    store.append(lines("a ann ale 7 10 13"))
    assert value(store, "last_item_id_all", 14) == "tea"
    store.append(lines("zz ann rum 7 10 14"))
    assert value(store, "last_item_id_all", 15) == "rum"


def test_an_event_announced_for_later_counts_from_then_on(store: OwnerStore) -> None:
    """What is known before it happens is in a batch and still in no answer."""
    store.materialize(hour(12), lines("a ann tea 5 20 10"))
    assert value(store, "count_all", 20) == 0
    assert value(store, "count_all", 21) == 1


def test_a_fact_that_streams_in_after_its_event_is_looked_up(store: OwnerStore) -> None:
    """Which of the two is appended first does not matter."""
    store.materialize(hour(0))
    store.append(lines("a ann tea 5 10"))
    assert value(store, "drinks_count_7d", 11) == 0
    store.append(attributes=facts("item tea category drinks 9"))
    assert value(store, "drinks_count_7d", 11) == 1
    store.materialize(hour(12))
    assert value(store, "drinks_count_7d", 12) == 1


def test_a_fact_the_lake_delivers_is_looked_up(store: OwnerStore) -> None:
    """Streamed events that wait for a later batch see the facts that came with an earlier one."""
    store.materialize(hour(0))
    store.append(lines("a ann tea 5 10", "b ann tea 5 14"))
    store.materialize(hour(12), attributes=facts("item tea category drinks 9"))
    assert value(store, "drinks_count_7d", 15) == 2


def test_an_attribute_is_what_is_valid_and_known(store: OwnerStore) -> None:
    """A fact answers from when it is valid and known; the latest wins."""
    store.materialize(hour(0), attributes=facts("user ann segment new -5"))
    store.append(attributes=facts("user ann segment gold 10 12"))
    assert [value(store, "segment", at) for at in (9, 11, 12)] == ["new", "new", "gold"]
    assert value(store, "segment", 12, "bob") is None


def test_a_batch_is_its_rows(store: OwnerStore) -> None:
    """Many entities at once answer as each alone: repeated ones, unknown ones and nulls too."""
    store.materialize(hour(12), lines("a ann tea 5 1", "b bob ale 7 2", "c ann ale 1 3"))
    store.append(lines("d cat tea 5 13"))
    users = ["cat", "ann", None, "nobody", "ann", "bob"]
    together = store.read({"user_id": users}, hour(14)).table.to_pylist()
    assert together == [
        store.read({"user_id": [user]}, hour(14)).table.to_pylist()[0] for user in users
    ]
    offline = in_memory.compute(
        SHOP,
        Spine.at({"user_id": users}, hour(14)),
        lines("a ann tea 5 1", "b bob ale 7 2", "c ann ale 1 3", "d cat tea 5 13"),
        facts(),
        "Europe/Vienna",
    )
    assert together == offline.to_pylist()


def test_past_its_ttl_a_view_is_null_and_says_why(store: OwnerStore) -> None:
    """Two days after the watermark is in time, a moment later is not; others still answer."""
    patient = dataclasses.replace(SPEND, name="patient", ttl=None)
    both = OwnerStore(store.online, ACME, FeatureService("both", (SPEND, patient)), "UTC")
    both.materialize(hour(0), lines("a ann tea 5 -1"))
    assert not both.read(ANN, hour(48)).stale
    found = both.read(ANN, hour(48) + timedelta(microseconds=1))
    assert set(found.stale) == {"spend"}
    assert "longer than its ttl of 2 days" in found.stale["spend"]
    assert found.table["spend__count_all"].to_pylist() == [None]
    assert found.table["patient__count_all"].to_pylist() == [1]
    assert found.table.schema.equals(both.read(ANN, hour(48)).table.schema)


def test_what_was_never_materialized_is_null_and_says_why(store: OwnerStore) -> None:
    """Neither a new view nor one whose meaning changed answers with something else's values."""
    store.materialize(hour(0), lines("a ann tea 5 -1"))
    changed = dataclasses.replace(SPEND, aggregations=(Aggregation("count", windows=(DAY,)),))
    found = OwnerStore(store.online, ACME, FeatureService("changed", (changed,)), "UTC").read(
        ANN, hour(1)
    )
    assert "was not materialized as it is declared now" in found.stale["spend"]
    assert found.table["spend__count_1d"].to_pylist() == [None]


def test_the_past_is_not_the_online_stores(store: OwnerStore) -> None:
    """An instant before the watermark is refused, as the batch knows more than was known then."""
    store.materialize(hour(12), lines("a ann tea 5 10"))
    with pytest.raises(ConfigError, match="cannot be read online at 2024-03-01 11:00 UTC"):
        store.read(ANN, hour(11))


def test_a_service_of_some_of_the_views_is_served(store: OwnerStore) -> None:
    """What was materialized for many services answers each of them."""
    count = dataclasses.replace(
        SPEND, name="orders", aggregations=(Aggregation("count", windows=(ALL_HISTORY,)),)
    )
    OwnerStore(store.online, ACME, FeatureService("all", (SPEND, count)), "UTC").materialize(
        hour(12), lines("a ann tea 5 10")
    )
    found = OwnerStore(store.online, ACME, FeatureService("one", (count,)), "UTC").read(
        ANN, hour(13)
    )
    assert found.table["orders__count_all"].to_pylist() == [1]


def test_freshness_is_recorded_per_view(store: OwnerStore) -> None:
    """Watermark, ttl and source of each view can be asked for."""
    store.materialize(hour(12), source="a test")
    (served,) = store.freshness()
    assert (served.view, served.watermark, served.ttl) == ("spend", hour(12), 2 * DAY)
    assert (served.fingerprint, served.source) == (SPEND.fingerprint, "a test")
    assert store.since() == hour(12)


def test_another_tenant_has_nothing_of_it(store: OwnerStore) -> None:
    """The same entity of another tenant has that tenant's history alone."""
    store.materialize(hour(0))
    store.append(lines("a ann tea 5 1"), facts("user ann segment gold 1"))
    other = OwnerStore(store.online, OTHER)
    assert set(other.read(ANN, hour(2)).stale) == {"spend"}
    other.materialize(hour(0))
    assert (value(other, "count_all", 2), value(other, "segment", 2)) == (0, None)
    assert value(store, "count_all", 2) == 1


def test_another_tenants_rows_are_refused(store: OwnerStore) -> None:
    """Rows that say whose they are go into nobody else's store."""
    with pytest.raises(IsolationError, match="rows of other are not acme's"):
        store.append(lines("a ann tea 5 1", tenant="other"))
    with pytest.raises(IsolationError, match="rows of other are not acme's"):
        store.materialize(hour(1), attributes=facts("user ann segment x 1", tenant="other"))
