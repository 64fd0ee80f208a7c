"""The stage on the real Postgres and a real lake."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.errors import IntegrityError, IsolationError, QualityError
from include.handoffs import Interval
from include.quality import DataNeeds, check, great_expectations_adapter, results, rows
from include.storage.lake import Lake
from include.tenants.config import TenantConfig
from tests.integration.quality.conftest import Shop, week, weeks

pytestmark = pytest.mark.integration

BOUGHT = "Product Purchased"
CHURN = DataNeeds("churn", (BOUGHT,), ("user_id",), ("category",), BOUGHT, (0.5, 100.0))


class Killed(BaseException):
    """The process is gone; nothing after it runs."""


def accepted(shop: Shop) -> set[str]:
    """Ids of the events that everything else reads."""
    return set(shop.lake.read(shop.config.ref, "events")["event_id"].to_pylist())


def incidents(shop: Shop) -> list[tuple[str, datetime, datetime | None]]:
    """Kind, instant and end of every incident."""
    found = shop.query("SELECT kind, as_of, closed_at FROM incidents ORDER BY as_of")
    return [(row["kind"], row["as_of"], row["closed_at"]) for row in found]


def test_good_rows_are_accepted_and_every_check_is_on_record(shop: Shop) -> None:
    """Clean data passes, and results name suite, check, severity, counts and report."""
    shop.needs = [CHURN]
    checked = shop.run(week(0), 200)
    assert (checked.rows, checked.quarantined, checked.data_loss) == (205, 0, False)
    assert checked.events.rows == 200
    assert checked.attributes.rows == 5
    assert shop.failed(week(0)) == set()
    found = shop.query("SELECT DISTINCT suite FROM quality_results ORDER BY 1")
    assert [row["suite"] for row in found] == ["attributes.products", "events.pos", "needs.churn"]
    (path,) = {r["report_path"] for r in shop.query("SELECT * FROM quality_results")}
    assert path == "reports/quality/2024-01-08/20240101T000000-20240108T000000.html"
    assert b"205 rows accepted" in shop.lake.file_path(shop.config.ref, path).read_bytes()


def test_bad_rows_are_set_aside_and_good_siblings_go_on(shop: Shop) -> None:
    """Hostile values end in quarantine with reason and row; markup in an id harms nobody."""
    hostile: list[dict[str, Any]] = [
        {"amount": math.nan},
        {"amount": math.inf},
        {"quantity": -1e300},
        {"user_id": None, "item_id": None},
        {"event": "x" * 10_000},
        {"user_id": "a\x00b" * 500},
        {"event_timestamp": datetime(9999, 12, 31, tzinfo=UTC)},
        {"event_timestamp": datetime(1, 1, 1, tzinfo=UTC)},
    ]
    odd = [{"user_id": "<img src=x onerror=alert(1)>"}, {"user_id": "'; DROP TABLE events; --"}]
    checked = shop.run(week(0), [*hostile, *odd, *[{}] * 90])
    assert checked.quarantined == len(hostile)
    assert checked.events.rows == 92
    stored = shop.query("SELECT * FROM quarantine ORDER BY row_number")
    assert [row["reason"] for row in stored] == [
        "amount.sane",
        "amount.sane",
        "quantity.sane",
        "subject.present",
        "event.length",
        "user_id.length",
        "known_after_it_happened",
        "event_timestamp.sane",
    ]
    assert stored[0]["row"]["amount"] == "nan"
    assert stored[0]["stage"] == "quality"
    assert stored[5]["row"]["user_id"].startswith("a\\u0000b")


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
    assert shop.query("SELECT * FROM quarantine") == []


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


def test_a_rerun_changes_nothing(shop: Shop) -> None:
    """Same rows, same table versions, same records, same report, byte for byte."""
    shop.land(week(0), [*[{}] * 50, {"amount": math.inf}])
    first = shop.check(week(0))
    before = shop.state()
    assert shop.check(week(0)) == first
    assert shop.state() == before


@pytest.mark.parametrize(
    ("module", "name", "calls"),
    [
        (Lake, "put", 0),
        (Lake, "replace_slice", 0),
        (Lake, "replace_slice", 1),
        (results, "write_results", 0),
        (results, "write_incident", 0),
        (results, "write_set_aside", 0),
        (results, "write_set_aside", 1),
    ],
)
def test_killed_anywhere_and_run_again_ends_as_if_never_killed(
    new_shop: Callable[..., Shop],
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    name: str,
    calls: int,
) -> None:
    """A kill before any of the writes leaves nothing that a rerun does not put right."""
    killed, calm = new_shop(), new_shop()
    bad = [{"amount": math.inf}]
    for shop in (killed, calm):
        shop.run(weeks(0, 6), 600)
        shop.land(week(6), [*bad, {}])
    real, left = getattr(module, name), [calls]

    def dying(*args: Any, **kwargs: Any) -> Any:
        if not left[0]:
            raise Killed
        left[0] -= 1
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, dying)
        with pytest.raises(Killed):
            killed.check(week(6))
    killed.check(week(6))
    calm.check(week(6))
    assert _anonymous(killed) == _anonymous(calm)


def _anonymous(shop: Shop) -> str:
    return repr(shop.state()).replace(shop.config.id, "shop")


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
    assert len(state["quarantine"]) == 2
    shop.check(week(10))
    after = shop.state()
    assert after["events"] == state["events"]
    assert len(after["quarantine"]) == 2


def test_rows_that_left_the_landing_leave_the_accepted_too(shop: Shop) -> None:
    """An interval that is landed again with fewer rows ends with fewer rows."""
    shop.run(week(0), [*[{}] * 20, {"amount": math.inf}])
    assert shop.run(week(0), 0).events.rows == 0
    assert shop.query("SELECT * FROM quarantine") == []


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


def test_one_source_of_two_that_stops_is_an_incident(new_shop: Callable[..., Shop]) -> None:
    """Sources are measured one by one, each by its own past."""
    shop = new_shop("web")
    for source, interval in (("pos", weeks(0, 8)), ("web", weeks(0, 8)), ("pos", week(8))):
        shop.land(interval, 100 * round((interval.end - interval.start).days / 7), source)
    shop.land(week(8), 0, "web")
    assert shop.check(week(8)).data_loss
    (incident,) = shop.query("SELECT * FROM incidents")
    assert [one["source"] for one in incident["details"]["outages"]] == ["web"]


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
    for row in shop.query("SELECT details FROM incidents ORDER BY as_of"):
        for one in row["details"]["outages"]:
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


def test_another_tenants_hand_off_is_refused(new_shop: Callable[..., Shop]) -> None:
    """The stage never works on one tenant's hand-off with another's configuration."""
    mine, other = new_shop(), new_shop()
    mine.land(week(0), 10)
    with pytest.raises(IsolationError, match=mine.config.id):
        check(other.config, mine.ingested(week(0)), [], lake=other.lake)


def test_an_interval_without_rows_is_as_old_as_its_newest_event(shop: Shop) -> None:
    """Freshness of an empty interval is measured by the newest event before it."""
    shop.run(week(0), 70)
    shop.run(week(2), 0)
    (lag,) = shop.query(
        "SELECT observed FROM quality_results WHERE check_name = 'freshness' "
        f"AND interval_start = '{week(2).start.isoformat()}'"
    )
    newest = week(0).end - timedelta(days=0.1)
    expected = (week(2).end - newest) / timedelta(days=1)
    assert lag["observed"]["value"] == pytest.approx(expected)
