"""Skew replay over real rows: silent while all is well, and told by feature and cause if not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from include.errors import IsolationError
from include.features import inputs, stage
from include.features.declarations import USER, Aggregation, EventStream
from include.features.spine import Spine
from include.features.views import FeatureService, FeatureView
from include.handoffs import Interval, Scored
from include.incidents import Incident
from include.monitoring import skew
from include.monitoring.skew_findings import KIND
from include.storage.canonical import EVENTS, TIMESTAMP
from include.storage.postgres import tenant_transaction
from tests.integration.monitoring.conftest import Watched

pytestmark = pytest.mark.integration

START = datetime(2024, 1, 1, tzinfo=UTC)
WEEK = timedelta(days=7)
DAY = timedelta(days=1)
SPEND = FeatureView(
    "spend",
    USER,
    EventStream(("Order Completed",)),
    (
        Aggregation("count", None, (14 * DAY,)),
        Aggregation("sum", "amount", (14 * DAY,)),
        Aggregation("last", "item_id"),
    ),
)
SERVICE = FeatureService("churn", (SPEND,))


@pytest.fixture
def watched(new_tenant: Any) -> Watched:
    """A tenant with eight weeks of daily orders of 150 users."""
    one: Watched = new_tenant()
    for week in range(8):
        deliver(one, week)
    return one


def deliver(one: Watched, week: int, amount: float = 0.1) -> None:
    """A week's orders, replaced as a whole."""
    rows = []
    for day in range(7):
        at = START + week * WEEK + day * DAY
        for user in range(150):
            rows.append(
                {
                    **{"tenant_id": one.config.id, "source": "pos", "event": "Order Completed"},
                    **{"event_id": f"{at:%j}-{user}", "user_id": f"u{user:03}", "amount": amount},
                    **{"item_id": f"i{user % 7}", "event_timestamp": at, "created_timestamp": at},
                    "month": f"{at:%Y-%m}",
                }
            )
    interval = Interval(START + week * WEEK, START + (week + 1) * WEEK)
    batches = pa.Table.from_pylist(rows, schema=EVENTS).to_batches()
    one.lake.replace_slice(one.config.ref, "events", "pos", interval, batches)


def scored(one: Watched, week: int, *, version: str = "1") -> Scored:
    """What features and scoring leave behind after so many weeks."""
    as_of = START + week * WEEK
    ref, lake = one.config.ref, one.lake
    events, attributes = lake.version(ref, "events"), lake.version(ref, "attributes")
    read = inputs.read(
        one.config, SERVICE, events=events, attributes=attributes, known_at=as_of, lake=lake
    )
    users = [f"u{user:03}" for user in range(150)]
    spine = pa.table({"user_id": users, "as_of": pa.array([as_of] * 150, TIMESTAMP)})
    stored = stage.build("churn", SERVICE, spine, read, as_of=as_of, lake=lake)
    return Scored(
        *(one.config.id, "churn", as_of, version, SERVICE.fingerprint),
        *(stored, events, attributes, 150),
    )


def replay(one: Watched, log: Scored, *earlier: Scored, **given: Any) -> Any:
    service = given.pop("service", SERVICE)
    given = {"seed": 5, "lake": one.lake, "findings": one.stores.skew, **given}
    return skew.replay(one.config, service, log, earlier, **given)


def recorded(one: Watched) -> list[tuple[str, str, str]]:
    """Feature, path and cause of everything on record."""
    found = one.stores.skew.all_of(one.config.ref, "churn")
    return [(finding.mismatch.feature, finding.path, finding.cause) for finding in found]


def incidents(one: Watched) -> list[Incident]:
    return one.stores.incidents.of_kind(one.config.ref, KIND, "churn")


def change(one: Watched, log: Scored, column: str, by: Any) -> Scored:
    """The log with another column in its file, as if the model had used that."""
    table = one.lake.get_table(one.config.ref, log.features)
    at = table.column_names.index(column)
    changed = table.set_column(at, column, by(table[column]))
    return replace(log, features=one.lake.put_table(one.config.ref, log.features.path, changed))


def test_what_was_scored_is_what_is_computed_now(watched: Watched) -> None:
    """Later weeks and a rerun change nothing; of earlier logs two are replayed, too."""
    logs = [scored(watched, week) for week in (4, 5, 6, 7)]
    found = replay(watched, logs[-1], *logs[:-1])
    assert (found.rows, found.features, found.mismatched) == (300, 3, ())
    assert len(found.instants) == 3
    assert found.instants[-1] == logs[-1].as_of
    assert replay(watched, logs[-1], *logs[:-1]) == found
    assert recorded(watched) == []
    assert incidents(watched) == []


def test_a_rewritten_past_is_told_from_late_events(watched: Watched) -> None:
    """A week that is delivered anew changes what would be known, and says so until it is scored
    again; a week that follows changes nothing."""
    log = scored(watched, 7)
    deliver(watched, 8)
    assert replay(watched, log).mismatched == ()
    deliver(watched, 6, amount=0.3)
    found = replay(watched, log)
    assert found.mismatched == ("spend__sum_amount_14d",)
    assert recorded(watched) == [("spend__sum_amount_14d", "offline", "past")]
    (incident,) = incidents(watched)
    assert "the past was rewritten" in incident.summary
    assert incident.closed_at is None
    again = scored(watched, 7)
    assert replay(watched, again).mismatched == ()
    assert recorded(watched) == []
    (incident,) = incidents(watched)
    assert incident.closed_at == again.as_of


def test_a_rewritten_past_of_an_earlier_log_is_found_too(watched: Watched) -> None:
    """The incident carries the instant of the vectors that differ."""
    before, log = scored(watched, 6), scored(watched, 8)
    deliver(watched, 5, amount=0.3)
    assert replay(watched, log, before).mismatched == ("spend__sum_amount_14d",)
    assert [one.as_of for one in incidents(watched)] == [before.as_of]


@pytest.mark.parametrize("weeks", [1, 2, 3])
def test_what_retention_erased_is_no_skew(watched: Watched, weeks: int) -> None:
    """A feature that looks back beyond what is kept is not compared with the one of before; a past
    that was rewritten within what is kept is still found, and vectors made since are whole."""
    ref, lake = watched.config.ref, watched.lake
    before, log = scored(watched, 4), scored(watched, 7)
    lake.forget(ref, "events", START + weeks * WEEK)
    assert replay(watched, log, before).mismatched == ()
    assert incidents(watched) == []
    deliver(watched, 3, amount=0.3)
    found = replay(watched, log, before)
    assert found.mismatched == (("spend__sum_amount_14d",) if weeks < 3 else ())
    since = change(
        watched, scored(watched, 8), "spend__last_item_id_all", lambda c: c.take([1] * 150)
    )
    assert replay(watched, since).mismatched == ("spend__last_item_id_all",)


def test_another_result_of_the_same_declaration_is_the_engines(watched: Watched) -> None:
    """A sum that is off by more than a rounding, a count by one, a null for a text: each is found
    with its size and its place in the file."""
    log = scored(watched, 7)
    log = change(watched, log, "spend__sum_amount_14d", lambda c: pc.multiply(c, 1 + 1e-6))
    log = change(watched, log, "spend__count_14d", lambda c: pc.add(c, 1))
    log = change(watched, log, "spend__last_item_id_all", lambda c: pa.nulls(150, pa.string()))
    found = replay(watched, log)
    names = ("spend__count_14d", "spend__last_item_id_all", "spend__sum_amount_14d")
    assert found.mismatched == names
    assert recorded(watched) == [(name, "offline", "engine") for name in names]
    differs = [one.mismatch for one in watched.stores.skew.all_of(watched.config.ref, "churn")]
    assert all(one.mismatched == one.compared == 100 for one in differs)
    assert differs[2].difference == pytest.approx(1e-6, rel=1e-3)
    assert differs[1].difference is None


def test_a_rounding_is_no_skew(watched: Watched) -> None:
    """Sums may be added up in another order."""
    log = scored(watched, 7)
    log = change(watched, log, "spend__sum_amount_14d", lambda c: pc.multiply(c, 1 + 1e-11))
    assert replay(watched, log).mismatched == ()


def test_a_changed_declaration_is_the_cause_where_it_changed(watched: Watched) -> None:
    """Vectors of another fingerprint are compared, and a feature that came or went is named."""
    stream = EventStream(("Order Completed", "Order Refunded"))
    other = (*SPEND.aggregations[:2], Aggregation("mean", "amount"))
    changed = FeatureService("churn", (replace(SPEND, stream=stream, aggregations=other),))
    found = replay(watched, scored(watched, 7), service=changed)
    assert found.mismatched == ("spend__last_item_id_all", "spend__mean_amount_all")
    assert {cause for _, _, cause in recorded(watched)} == {"definition"}


def test_logs_that_cannot_be_replayed_are_left_out(watched: Watched) -> None:
    """Of an earlier log whose file is gone, of other declarations, or that no model used."""
    gone, other, unused = (scored(watched, week) for week in (4, 5, 6))
    watched.lake.file_path(watched.config.ref, gone.features.path).unlink()
    other = replace(other, feature_fingerprint="0" * 16)
    log = scored(watched, 7)
    found = replay(watched, log, gone, other, replace(unused, version=""))
    assert found.instants == (log.as_of,)
    nothing = replay(watched, replace(log, version=""))
    assert (nothing.rows, nothing.instants) == (0, ())


def test_versions_that_are_gone_leave_the_cause_open(watched: Watched) -> None:
    """Where the rows that were read then cannot be read again, past and engine look alike."""
    log = change(watched, scored(watched, 7), "spend__count_14d", lambda c: pc.add(c, 1))
    log = replace(log, events=replace(log.events, version=77))
    assert replay(watched, log).mismatched == ("spend__count_14d",)
    assert recorded(watched) == [("spend__count_14d", "offline", "unknown")]


def test_the_online_store_is_compared_where_it_answers(watched: Watched) -> None:
    """Only the views it served count; what differs there is the store's."""
    log = scored(watched, 7)

    def store(spine: Spine, as_of: datetime) -> tuple[pa.Table, tuple[str, ...]]:
        vectors = watched.lake.get_table(watched.config.ref, log.features)
        answer = vectors.filter(pc.is_in(vectors["user_id"], spine.table["user_id"]))
        at = answer.column_names.index("spend__count_14d")
        wrong = pc.add(answer["spend__count_14d"], 1)
        return answer.set_column(at, "spend__count_14d", wrong), served

    served: tuple[str, ...] = ()
    assert replay(watched, log, online=store).online_rows == 0
    served = ("spend",)
    found = replay(watched, log, online=store)
    assert (found.online_rows, found.mismatched) == (100, ("spend__count_14d",))
    assert recorded(watched) == [("spend__count_14d", "online", "online")]


def test_tenants_are_replayed_apart(watched: Watched, new_tenant: Any) -> None:
    """One tenant's log is refused for another, and its findings are invisible to it."""
    other: Watched = new_tenant()
    log = change(watched, scored(watched, 7), "spend__count_14d", lambda c: pc.add(c, 1))
    replay(watched, log)
    with pytest.raises(IsolationError, match="cannot be replayed"):
        replay(other, log)
    with tenant_transaction(other.config.ref) as connection:
        assert connection.execute("SELECT 1 FROM feature_skew").fetchall() == []
