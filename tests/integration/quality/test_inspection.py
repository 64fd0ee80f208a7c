"""The stage on the real Postgres and a real lake."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from include.quality.needs import DataNeeds
from include.storage.lake import Lake
from include.stores.postgres import checks as check_rows
from include.stores.postgres import incidents as incident_rows
from tests.landings import Shop, week, weeks

pytestmark = pytest.mark.integration

BOUGHT = "Product Purchased"
CHURN = DataNeeds("churn", (BOUGHT,), ("user_id",), ("category",), BOUGHT, (0.5, 100.0))


class Killed(BaseException):
    """The process is gone; nothing after it runs."""


def test_good_rows_are_accepted_and_every_check_is_on_record(shop: Shop) -> None:
    """Clean data passes, and results name suite, check, severity, counts and report."""
    shop.needs = [CHURN]
    checked = shop.run(week(0), 200)
    assert (checked.rows, checked.quarantined, checked.data_loss) == (205, 0, False)
    assert checked.events.rows == 200
    assert checked.attributes.rows == 5
    assert shop.failed(week(0)) == set()
    (inspection,) = shop.stores.checks.inspections(shop.config.ref)
    suites = {result.suite for result in inspection.results}
    assert suites == {"attributes.products", "events.pos", "needs.churn"}
    path = inspection.report_path
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
    stored = shop.set_aside()
    assert [row.reason for row in stored] == [
        "amount.sane",
        "amount.sane",
        "quantity.sane",
        "subject.present",
        "event.length",
        "user_id.length",
        "known_after_it_happened",
        "event_timestamp.sane",
    ]
    assert stored[0].row["amount"] == "nan"
    assert stored[5].row["user_id"].startswith("a\\u0000b")


def test_amounts_are_judged_by_the_tenants_own(shop: Shop) -> None:
    """Totals in dong pass from the first load on; what is far beyond them is set aside."""
    dong = [{"amount": 3e10 + number} for number in range(60)]
    assert shop.run(week(0), dong).quarantined == 0
    assert shop.run(week(1), [*dong[:5], {"amount": 8e9 * 1e9}]).quarantined == 1
    (row,) = shop.set_aside()
    assert (row.reason, row.row["amount"]) == ("amount.sane", 8e18)


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
        (check_rows, "_write_results", 0),
        (incident_rows, "put", 0),
        (check_rows, "_write_rejected", 0),
        (check_rows, "_write_rejected", 1),
    ],
)
def test_killed_anywhere_and_run_again_ends_as_if_never_killed(
    make_shop: Callable[..., Shop],
    monkeypatch: pytest.MonkeyPatch,
    module: Any,
    name: str,
    calls: int,
) -> None:
    """A kill before any of the writes leaves nothing that a rerun does not put right."""
    killed, calm = make_shop(), make_shop()
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
