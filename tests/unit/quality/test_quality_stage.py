"""The stage without a server, on a real lake: what it accepts, sets aside, refuses and misses."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from include.errors import IntegrityError, IsolationError, QualityError
from include.handoffs import Interval
from include.quality import great_expectations_adapter, rows
from include.quality.needs import DataNeeds
from include.tenants.config import TenantConfig
from tests.landings import Shop, week, weeks

BOUGHT = "Product Purchased"
CHURN = DataNeeds("churn", (BOUGHT,), ("user_id",), ("category",), BOUGHT, (0.5, 100.0))


def accepted(shop: Shop) -> set[str]:
    """Ids of the events that everything else reads."""
    return set(shop.lake.read(shop.config.ref, "events")["event_id"].to_pylist())


def incidents(shop: Shop) -> list[tuple[str, datetime, datetime | None]]:
    """Kind, instant and end of every incident."""
    return [(one.kind, one.as_of, one.closed_at) for one in shop.incidents()]


def test_an_event_counted_twice_is_accepted_once(shop: Shop) -> None:
    """Of two rows with one id the later one is set aside."""
    checked = shop.run(week(0), [{"event_id": "same"}, {}, {"event_id": "same"}, {}])
    assert checked.quarantined == 1
    assert checked.events.rows == 3


def test_a_failed_check_stops_the_run_and_touches_nothing(shop: Shop) -> None:
    """Severity `fail` leaves the accepted rows as they were, and the error says what to do."""
    shop.run(week(0), 120)
    before = accepted(shop)
    shop.land_items(week(1), ["new"])
    shop.needs = [CHURN]
    with pytest.raises(QualityError) as error:
        shop.run(week(1), [{"user_id": None}] * 120)
    text = str(error.value)
    assert "needs.churn user_id.any" in text
    assert "run the interval again" in text
    assert "20240108T000000-20240115T000000.html" in text
    assert accepted(shop) == before
    assert shop.lake.version(shop.config.ref, "attributes").rows == 5
    assert "needs.churn:user_id.any" in shop.failed(week(1))


def test_a_source_that_is_nearly_all_bad_is_refused(shop: Shop) -> None:
    """A broken mapping stops the run instead of quietly emptying the tables."""
    with pytest.raises(QualityError, match=r"events\.pos mostly_good"):
        shop.run(week(0), [*[{"amount": math.inf}] * 190, *[{}] * 10])
    assert shop.set_aside() == []


def test_a_refused_interval_is_accepted_once_it_is_corrected(shop: Shop) -> None:
    """Landing the interval again and running it again is all it takes."""
    with pytest.raises(QualityError):
        shop.run(week(0), [{"amount": math.inf}] * 200)
    assert shop.run(week(0), 200).events.rows == 200
    assert shop.failed(week(0)) == set()


def test_a_check_that_cannot_be_evaluated_refuses_the_run(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An expectation without its column is a failure, never a silent pass."""
    real = rows.prepared
    monkeypatch.setattr(rows, "prepared", lambda *given: real(*given).drop_columns(["occurrence"]))
    with pytest.raises(QualityError, match=r"event_id\.unique .*error"):
        shop.run(week(0), 50)


def test_rows_that_are_counted_but_not_told_stop_the_run(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No row is accepted that Great Expectations counted and did not point at."""
    monkeypatch.setitem(great_expectations_adapter._RESULT_FORMAT, "result_format", "SUMMARY")
    with pytest.raises(IntegrityError, match="found 1 unexpected rows and told which 0 are"):
        shop.run(week(0), [{"amount": math.inf}, {}])
    assert accepted(shop) == set()


def test_warnings_are_recorded_and_the_run_goes_on(shop: Shop) -> None:
    """Stale, unknown items, missing attributes and odd labels are noted, not refused."""
    shop.needs = [
        DataNeeds("upsell", ("Order Returned",), ("account_id",), ("brand",)),
        DataNeeds("churn", (BOUGHT,), ("user_id",), (), BOUGHT, (100.0, 200.0)),
    ]
    old = {"event_timestamp": week(0).start, "item_id": "unheard-of"}
    checked = shop.run(week(0), [old] * 60)
    failed = shop.failed(week(0))
    assert failed == {
        "events.pos:freshness",
        "events.pos:items_known",
        "needs.upsell:events",
        "needs.upsell:attribute.brand",
        "needs.churn:label",
    }
    assert checked.warnings == len(failed)
    assert checked.events.rows == 60


def test_the_first_run_takes_the_history_along(shop: Shop) -> None:
    """What the first load brought is checked with the first interval, and again on its rerun."""
    shop.land(weeks(0, 10), [*[{}] * 300, {"amount": math.inf}])
    shop.land_items(weeks(0, 10), ["item-0"])
    first = shop.run(week(10), 30)
    assert (first.events.rows, first.quarantined) == (330, 1)
    before = shop.state()
    assert shop.check(week(10)) == first
    assert shop.state() == before


def test_history_waits_for_whichever_run_comes_first(shop: Shop) -> None:
    """After a first run that never finished, the next interval brings the history along."""
    shop.land(weeks(0, 10), 300)
    shop.land(week(10), 30)
    assert shop.run(week(11), 30).events.rows == 360


def test_a_backfill_within_the_history_replaces_its_own_weeks_only(shop: Shop) -> None:
    """Order does not matter: the last landing of each week is what counts, once."""
    shop.land(weeks(0, 10), [*[{}] * 300, {"amount": math.inf}])
    shop.run(week(10), 30)
    history = len(accepted(shop))
    shop.land(week(4), [*[{}] * 7, {"amount": math.inf}])
    checked = shop.check(week(4))
    assert checked.rows == 7
    assert len(accepted(shop)) == history - 30 + 7
    state = shop.state()
    assert len(state["set aside"]) == 2
    shop.check(week(10))
    after = shop.state()
    assert after["events"] == state["events"]
    assert len(after["set aside"]) == 2


def test_rows_that_left_the_landing_leave_the_accepted_too(shop: Shop) -> None:
    """An interval that is landed again with fewer rows ends with fewer rows."""
    shop.run(week(0), [*[{}] * 20, {"amount": math.inf}])
    assert shop.run(week(0), 0).events.rows == 0
    assert shop.set_aside() == []


def test_a_tenant_that_stopped_sending_is_an_incident_and_no_failure(shop: Shop) -> None:
    """The incident opens once, lasts while nothing comes, and closes when data is back."""
    shop.land(weeks(0, 8), 800)
    assert not shop.run(week(8), 100).data_loss
    for silent in (9, 10, 11):
        assert shop.run(week(silent), 0).data_loss
    assert incidents(shop) == [("data_loss", week(9).end, None)]
    assert "events.pos:data_loss" in shop.failed(week(9))
    assert not shop.run(week(12), 95).data_loss
    closed = [("data_loss", week(9).end, week(12).end)]
    assert incidents(shop) == closed
    assert shop.check(week(10)).data_loss
    assert incidents(shop) == closed


def test_a_tenant_that_never_sent_is_no_incident(shop: Shop) -> None:
    """Silence without a past is not a loss, and breaks nothing."""
    shop.land(weeks(0, 8), 0)
    for silent in (8, 9, 10):
        assert not shop.run(week(silent), 0).data_loss
    assert incidents(shop) == []


def test_a_slow_decline_is_a_warning_at_most(shop: Shop) -> None:
    """A shrinking tenant is told apart from one that stopped."""
    shop.land(weeks(0, 8), 1600)
    for number, rows_ in enumerate((160, 130, 100, 80)):
        assert not shop.run(week(8 + number), rows_).data_loss
    assert incidents(shop) == []


def test_one_source_of_two_that_stops_is_an_incident(make_shop: Callable[..., Shop]) -> None:
    """Sources are measured one by one, each by its own past."""
    shop = make_shop("web")
    for source, interval in (("pos", weeks(0, 8)), ("web", weeks(0, 8)), ("pos", week(8))):
        shop.land(interval, 100 * round((interval.end - interval.start).days / 7), source)
    shop.land(week(8), 0, "web")
    assert shop.check(week(8)).data_loss
    (incident,) = shop.incidents()
    assert [one["source"] for one in incident.details["outages"]] == ["web"]


def days(interval: Interval, rows: int, gone: set[int], left: float = 0.0) -> list[dict[str, Any]]:
    """Rows a day, all day long; on days that are gone, only a part of them."""
    found = []
    for day in range((interval.end - interval.start).days):
        count = round(rows * left) if day in gone else rows
        for number in range(count):
            at = interval.start + timedelta(days=day + (number + 0.5) / count)
            found.append({"event_timestamp": at, "created_timestamp": at, "event_id": f"{at}"})
    return found


def outages(shop: Shop) -> list[tuple[str, str, int, int, bool]]:
    """Source, kind, first and last day since the history's start, and whether it recovered."""
    found = []
    for incident in shop.incidents():
        for one in incident.details["outages"]:
            start, until = (
                (datetime.fromisoformat(one[name]) - week(0).start).days if one[name] else -1
                for name in ("start", "until")
            )
            found.append((one["source"], one["kind"], start, until, bool(one["recovered_at"])))
    return found


def test_a_week_cut_short_is_lost_for_its_days_until_they_are_sent_again(shop: Shop) -> None:
    """An outage that leaves 13 to 22 % holds its days; a later delivery of them gives them back."""
    shop.run(weeks(0, 8), days(weeks(0, 8), 40, set()))
    cut = shop.run(week(8), days(week(8), 40, {1, 2, 3, 4, 5}, left=0.18))
    assert cut.data_loss
    assert outages(shop) == [("pos", "partial", 57, 62, False)]
    assert incidents(shop) == [("data_loss", week(8).end, week(8).end)]
    again = days(week(8), 40, {0, 6})
    for number, row in enumerate(again):
        row["created_timestamp"] = week(9).start + timedelta(minutes=number)
        row["event_id"] = f"again/{number}"
    assert not shop.run(week(9), [*days(week(9), 40, set()), *again]).data_loss
    assert outages(shop) == [("pos", "partial", 57, 62, True)]
    assert not shop.check(week(8)).data_loss


def test_an_interval_landed_again_in_full_is_lost_no_more(shop: Shop) -> None:
    """A backfill closes the incident, also where later intervals were delivered already."""
    shop.run(weeks(0, 8), days(weeks(0, 8), 30, set()))
    shop.run(week(8), days(week(8), 30, {2, 3, 4, 5, 6}))
    assert shop.run(week(9), days(week(9), 30, {0, 1})).data_loss
    assert outages(shop) == [("pos", "total", 58, 65, False)]
    assert not shop.run(week(8), days(week(8), 30, set())).data_loss
    assert outages(shop) == [("pos", "total", 63, 65, False)]
    assert not shop.run(week(9), days(week(9), 30, set())).data_loss
    assert outages(shop) == [("pos", "total", 63, 65, True)]


def test_announced_closures_are_no_loss_also_afterwards(shop: Shop) -> None:
    """What the tenant's file says to be closed is not missing, whenever it is written there."""
    shop.run(weeks(0, 8), days(weeks(0, 8), 30, set()))
    assert shop.run(week(8), days(week(8), 30, {2, 3, 4})).data_loss
    closed = {"from": week(8).start.date() + timedelta(days=2), "until": "2024-03-01"}
    shop.config = TenantConfig.model_validate(
        {**shop.config.model_dump(by_alias=True), "closures": [closed]}
    )
    assert not shop.check(week(8)).data_loss
    assert outages(shop) == [("pos", "total", 58, 61, True)]


def test_a_loss_within_a_hole_is_told_as_where_every_week_was_run(
    make_shop: Callable[..., Shop],
) -> None:
    """The incident is of the week that lost its rows; it is over, as rows after it are there."""
    steady, paused = make_shop(), make_shop()
    kept = {8: set[int](), 9: {0, 1, 2, 3, 4, 5, 6}, 10: set[int](), 11: set[int]()}
    for shop in (steady, paused):
        shop.run(weeks(0, 8), days(weeks(0, 8), 30, set()))
    for number, gone in kept.items():
        steady.run(week(number), days(week(number), 30, gone))
        along = week(11) if number < 11 else None
        paused.land(week(number), days(week(number), 30, gone), along_with=along)
    assert not paused.check(week(11)).data_loss
    assert outages(paused) == outages(steady) == [("pos", "total", 63, 70, False)]
    assert incidents(paused) == [("data_loss", week(9).end, week(9).end)]
    assert incidents(steady) == [("data_loss", week(9).end, week(10).end)]
    assert accepted(paused) == accepted(steady)
    before = paused.state()
    paused.check(week(11))
    assert paused.state() == before


def test_late_rows_and_gaps_that_nobody_asked_for_are_no_loss(shop: Shop) -> None:
    """Rows that come two days late are missed after two days only; weeks not run are not missed."""
    shop.land(weeks(0, 8), late(weeks(0, 8)))
    assert not shop.run(week(8), late(week(8))).data_loss
    assert not shop.run(week(11), late(week(11))).data_loss
    assert incidents(shop) == []
    shop.run(week(12), late(week(12)))
    assert shop.run(week(13), []).data_loss
    ((_, _, start, _, _),) = outages(shop)
    assert start == 7 * 13 - 2  # Good Friday, the day before, is nobody's to miss


def late(arrived: Interval) -> list[dict[str, Any]]:
    """Rows that arrive in an interval, two days after they happened."""
    found = days(arrived, 30, set())
    for row in found:
        row["event_timestamp"] -= timedelta(days=2)
    return [row for row in found if row["event_timestamp"] >= week(0).start]


def test_large_slices_are_judged_in_batches(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts of many batches add up to those of one, repeats across batches included."""
    given = [{"event_id": "first"}, *[{}] * 998, {"event_id": "first"}, {"amount": math.inf}]
    shop.land(week(0), given)
    whole = shop.check(week(0))
    before = shop.state()
    real = rows.batches
    monkeypatch.setattr(rows, "batches", lambda found: real(found, size=64))
    assert shop.check(week(0)) == whole
    assert shop.state() == before
    assert whole.quarantined == 2


def test_another_tenants_hand_off_is_refused(make_shop: Callable[..., Shop]) -> None:
    """The stage never works on one tenant's hand-off with another's configuration."""
    mine, other = make_shop(), make_shop()
    mine.land(week(0), 10)
    with pytest.raises(IsolationError, match=mine.config.id):
        other.check(week(0), mine.ingested(week(0)))


def test_an_interval_without_rows_is_as_old_as_its_newest_event(shop: Shop) -> None:
    """Freshness of an empty interval is measured by the newest event before it."""
    shop.run(week(0), 70)
    shop.run(week(2), 0)
    (lag,) = (one for one in shop.results(week(2)) if one.check == "freshness")
    newest = week(0).end - timedelta(days=0.1)
    expected = (week(2).end - newest) / timedelta(days=1)
    assert lag.observed["value"] == pytest.approx(expected)
